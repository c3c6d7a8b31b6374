"""What one command learns of the cluster's NameNodes serves the next; stale answers are told of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.errors import NotLeader, PathNotFound
from dfs.client import connect
from dfs.client.credentials import Credential, CredentialsFile
from dfs.settings.sections import ClientConfig, Config
from dfs.wire import routes
from dfs.wire.http_link import STALE_HEADER, HttpLink
from dfs.wire.shapes import Done, NameRequest, Nothing
from tests.route_server import Headed, RouteServer
from tests.unit.client.led_namenodes import LedNamenode

BEHIND = "answered by a standby ({}), 3 records and 0.4 s behind"


@pytest.fixture
def pair() -> Iterator[tuple[LedNamenode, LedNamenode]]:
    """The first leads; both know of each other."""
    first, second = LedNamenode(), LedNamenode()
    first.leads, second.leader = True, first.url
    first.others, second.others = [second.url], [first.url]
    yield first, second
    first.close()
    second.close()


def _environment(tmp_path: Path, *namenodes: LedNamenode) -> dict[str, str]:
    folder = tmp_path / ".config" / "dfs"
    CredentialsFile(folder / "credentials.json").keep(
        tuple(each.url for each in namenodes), Credential("ada", "dfs_a")
    )
    return {"HOME": str(tmp_path), "DFS_NAMENODE": namenodes[0].url}


def _config() -> Config:
    return Config(client=ClientConfig(give_up_s=0.0, timeout_s=5.0))


def test_command_finds_the_cluster_though_the_namenode_it_was_told_of_is_dead(
    pair, tmp_path: Path
) -> None:
    first, second = pair
    environment = _environment(tmp_path, second)
    with connect(environment=environment) as told_by_the_second:
        assert told_by_the_second.user == "ada"
    second.close()
    with connect(environment=environment) as client:
        assert client.user == "ada"
    assert first.requests["whoami"] == 2


def test_session_is_good_at_each_namenode_that_was_learnt(pair, tmp_path: Path) -> None:
    first, second = pair
    environment = _environment(tmp_path, second)
    with connect(environment=environment) as client:
        assert client.user == "ada"
    with connect(first.url, environment=environment) as client:
        assert client.link.token == "dfs_a"


def test_next_command_begins_with_who_led_last(pair, tmp_path: Path) -> None:
    first, second = pair
    environment = _environment(tmp_path, second)
    for _ in range(3):
        with connect(environment=environment) as client:
            assert client.user == "ada"
    assert second.requests["whoami"] == 1


def test_command_that_learns_nothing_leaves_the_file_alone(pair, tmp_path: Path) -> None:
    first, _second = pair
    environment = _environment(tmp_path, first)
    file = tmp_path / ".config" / "dfs" / "credentials.json"
    before = file.stat().st_mtime_ns, file.stat().st_ino
    with connect(environment=environment) as client:
        assert client.user == "ada"
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


# --- stale --------------------------------------------------------------------------------------


def test_stale_answer_is_told_of_once(pair) -> None:
    first, second = pair
    first.leads, second.stale = False, "3 412"
    said: list[str] = []
    urls = [first.url, second.url]
    with connect(
        urls, token="dfs_a", notice=said.append, stale_ok=True, config=_config()
    ) as client:
        assert client.user == client.user == "ada"
    assert said == [BEHIND.format(second.url)]


def test_leader_answers_first_where_stale_answers_are_welcome(pair) -> None:
    first, second = pair
    second.stale = "3 412"
    said: list[str] = []
    urls = [first.url, second.url]
    with connect(urls, token="dfs_a", notice=said.append, stale_ok=True) as client:
        assert client.user == "ada"
    assert not said
    assert not second.requests


def test_standby_answers_soon_while_the_leader_hangs(pair, monkeypatch) -> None:
    from dfs.client import following

    monkeypatch.setattr(following, "LOOK_AFTER_S", 0.1)
    first, second = pair
    first.freeze()
    second.stale = "0 100"
    said: list[str] = []
    with connect(
        [first.url, second.url], token="dfs_a", notice=said.append, stale_ok=True
    ) as client:
        assert client.user == "ada"
    assert len(said) == 1


def test_nothing_stale_is_believed_that_nobody_welcomed(pair) -> None:
    first, second = pair
    first.leads, second.stale = False, "3 412"
    with (
        connect([second.url], token="dfs_a", config=_config()) as client,
        pytest.raises(NotLeader),
    ):
        client.whoami()


def test_change_is_never_made_by_a_standby(pair) -> None:
    _first, second = pair
    second.stale = "3 412"
    with connect([second.url], token="dfs_a", stale_ok=True, config=_config()) as client:
        client.link.call(routes.REMOVE_USER, NameRequest(name="bob"))
    assert second.ids == pair[0].ids, "it led on to the leader, which did it"


def test_stale_answer_that_was_not_asked_for_is_refused() -> None:
    server = RouteServer(lambda *_: Headed(Done(), {STALE_HEADER: "1 2"}))
    with pytest.raises(NotLeader, match="standby"):
        HttpLink(timeout_s=5).call(server.url, routes.SAFETY, Nothing())
    server.close()


def test_stale_refusal_is_told_of_as_well() -> None:
    server = RouteServer(lambda *_: Headed(PathNotFound("no such file"), {STALE_HEADER: "7 2500"}))
    heard: list[tuple[int, float]] = []
    with pytest.raises(PathNotFound):
        HttpLink(timeout_s=5).call(
            server.url, routes.SAFETY, Nothing(), hear_stale=lambda *old: heard.append(old)
        )
    assert heard == [(7, 2.5)]
    server.close()
