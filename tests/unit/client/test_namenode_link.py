"""Calls to NameNodes: who is asked, what is repeated, what is not."""

import pytest

from dfs.base.clock import ManualClock
from dfs.base.entropy import Random
from dfs.base.errors import (
    NamenodeUnreachable,
    NotLoggedIn,
    Overloaded,
    PathExists,
    PathNotFound,
    PlacementRefused,
    Regressed,
    SafeMode,
    SessionExpired,
    StaleEpoch,
    Stopping,
    Throttled,
)
from dfs.client import DfsClient
from dfs.client.namenode_link import NamenodeLink
from dfs.settings.sections import ClientConfig
from dfs.wire import routes
from dfs.wire.files_api import PathsRequest
from tests.fake_catalog import FakeCatalog

NOWHERE = "http://127.0.0.1:1"


def test_call_tries_the_next_namenode_when_one_does_not_answer(catalog, connect_to) -> None:
    assert connect_to(NOWHERE, catalog).exists("/data")


def test_call_begins_with_the_namenode_that_answered_last(catalog, connect_to) -> None:
    clock = ManualClock()
    client = connect_to(NOWHERE, catalog, clock=clock)
    client.exists("/data")
    assert client.link.by_lead == (catalog.url, NOWHERE)
    client.exists("/data")
    assert clock.monotonic_s() == 0, "a fail-over to a live NameNode waits for nothing"


@pytest.mark.parametrize(
    "error",
    [StaleEpoch("old"), Overloaded("busy"), Stopping("draining"), SafeMode("just started")],
)
def test_call_is_repeated_when_a_later_moment_may_help(catalog, client: DfsClient, error) -> None:
    catalog.refusals["stat"] = [error, error]
    assert client.exists("/data")
    assert catalog.requests["stat"] == 3


@pytest.mark.parametrize(
    "error", [PathExists("there"), PlacementRefused("no room"), Regressed("an old copy")]
)
def test_call_is_not_repeated_when_it_would_be_refused_again(catalog, client, error) -> None:
    catalog.refusals["stat"] = [error]
    with pytest.raises(type(error)):
        client.stat("/data")
    assert catalog.requests["stat"] == 1


def test_call_gives_up_in_time_and_names_every_namenode(connect_to) -> None:
    clock = ManualClock()
    client = connect_to(NOWHERE, "http://127.0.0.1:2", clock=clock)
    with pytest.raises(NamenodeUnreachable) as caught:
        client.stat("/data")
    assert "127.0.0.1:1" in caught.value.message
    assert "127.0.0.1:2" in caught.value.message
    assert clock.monotonic_s() == pytest.approx(5)


def test_call_of_a_transfer_under_way_insists_longer(connect_to) -> None:
    clock = ManualClock()
    client = connect_to(NOWHERE, clock=clock)
    with pytest.raises(NamenodeUnreachable):
        client.locate("/data", insist=True)
    assert clock.monotonic_s() == pytest.approx(9)


def test_call_asks_once_when_told_to_give_up_at_once(catalog, connect_to) -> None:
    clock = ManualClock()
    client = connect_to(catalog, clock=clock, give_up_s=0.0)
    catalog.refusals["stat"] = [Stopping("draining")]
    with pytest.raises(Stopping):
        client.stat("/data")
    assert clock.monotonic_s() == 0


def test_call_gives_up_sooner_when_the_caller_has_less_patience(connect_to) -> None:
    clock = ManualClock()
    client = connect_to(NOWHERE, clock=clock)
    with pytest.raises(NamenodeUnreachable):
        client.link.call(routes.STAT, PathsRequest(paths=["/data"]), patience_max_s=1.0)
    assert clock.monotonic_s() == pytest.approx(1)


def test_change_whose_answer_was_lost_is_made_once(catalog: FakeCatalog, client) -> None:
    catalog.answers_lost["mkdir"] = 1
    assert client.mkdir("/data/once").path == "/data/once"
    assert catalog.requests["mkdir"] == 2


def test_throttled_call_waits_as_long_as_it_was_told_and_asks_once_more(
    catalog, connect_to
) -> None:
    clock = ManualClock()
    client = connect_to(catalog, clock=clock)
    catalog.refusals["login"] = [Throttled("slowly", details={"retry_after_s": 4})]
    client.login("ada", "secret")
    assert clock.monotonic_s() == 4
    catalog.refusals["login"] = [Throttled("slowly", details={"retry_after_s": 1})] * 2
    with pytest.raises(Throttled):
        client.login("ada", "secret")


def test_throttled_call_does_not_wait_for_minutes(catalog, connect_to) -> None:
    clock = ManualClock()
    client = connect_to(catalog, clock=clock)
    catalog.refusals["login"] = [Throttled("slowly", details={"retry_after_s": 900})]
    with pytest.raises(Throttled):
        client.login("ada", "secret")
    assert clock.monotonic_s() == 0


def test_call_without_a_session_is_refused_before_it_is_sent(catalog, connect_to) -> None:
    client = connect_to(catalog, token="")
    with pytest.raises(NotLoggedIn):
        client.stat("/data")
    assert not catalog.requests


def test_call_with_a_dead_session_is_not_repeated(catalog, connect_to) -> None:
    client = connect_to(catalog, token="dfs_other")
    with pytest.raises(SessionExpired):
        client.stat("/data")
    assert catalog.requests["stat"] == 1


def test_link_learns_the_other_namenodes(catalog, client: DfsClient) -> None:
    catalog.other_namenodes = ["http://10.0.0.2:9870/"]
    client.link.cluster()
    client.link.cluster()
    assert client.link.namenodes == (catalog.url, "http://10.0.0.2:9870")
    assert catalog.requests["cluster"] == 1


def test_outage_is_said_once_when_it_begins_and_once_when_it_ends(catalog) -> None:
    said: list[str] = []
    link = NamenodeLink(
        (catalog.url,),
        config=ClientConfig(),
        clock=ManualClock(),
        rng=Random(1),
        token="dfs_session",
        notice=said.append,
    )
    catalog.refusals["stat"] = [Stopping("the NameNode is draining")] * 3
    client = DfsClient(link, config=client_config())
    assert client.exists("/data")
    assert said == [
        "the NameNode is draining; trying again for 30s",
        "the NameNode answers again",
    ]
    assert client.exists("/data")
    assert len(said) == 2
    link.close()


def client_config():
    from dfs.settings.sections import Config

    return Config()


def test_listing_crosses_pages(catalog, client: DfsClient, monkeypatch) -> None:
    names = [f"/data/d{n:04d}" for n in range(2_345)]
    client.mkdir_all(names)
    assert [status.path for status in client.listdir("/data")] == names
    assert [status.path for status in client.walk("/data")] == names
    assert catalog.requests["list"] == 3


def test_missing_path_is_false_and_other_refusals_are_raised(catalog, client) -> None:
    assert not client.exists("/data/none")
    with pytest.raises(PathNotFound):
        client.stat("/data/none")
    catalog.refusals["stat"] = [PlacementRefused("x")]
    with pytest.raises(PlacementRefused):
        client.exists("/data")
