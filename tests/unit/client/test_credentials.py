"""Where logins are kept, and that connecting finds them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.base.errors import LocalIoError
from dfs.client import connect
from dfs.client.credentials import (
    Credential,
    CredentialsFile,
    default_file,
    default_state_folder,
)

URLS = ("http://one:9870", "http://two:9870")


def test_credential_is_found_at_each_namenode_and_only_there(tmp_path: Path) -> None:
    file = CredentialsFile(tmp_path / "deep" / "credentials.json")
    assert file.find(URLS) is None
    file.keep(URLS, Credential("ada", "dfs_a", 5))
    found = file.find(("http://two:9870",))
    assert found is not None
    assert found.token == "dfs_a"
    assert file.find(("http://three:9870",)) is None


def test_credentials_are_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    CredentialsFile(path).keep(URLS, Credential("ada", "dfs_a", 5))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["credentials.json"]


def test_forgetting_leaves_other_clusters(tmp_path: Path) -> None:
    file = CredentialsFile(tmp_path / "c.json")
    file.keep(URLS, Credential("ada", "dfs_a"))
    file.keep(("http://else",), Credential("bob", "dfs_b"))
    file.forget(URLS)
    assert file.find(URLS) is None
    assert file.find(("http://else",)) is not None


def test_session_stands_under_each_namenode_that_was_learnt(tmp_path: Path) -> None:
    file = CredentialsFile(tmp_path / "c.json")
    file.keep(URLS[:1], Credential("ada", "dfs_a"))
    file.keep(("http://else",), Credential("bob", "dfs_b"))
    file.remember("dfs_a", URLS[::-1])
    for url in URLS:
        found = file.find((url,))
        assert found is not None
        assert (found.token, found.namenodes) == ("dfs_a", URLS[::-1])
    other = file.find(("http://else",))
    assert other is not None
    assert not other.namenodes


def test_addresses_of_a_session_that_is_not_kept_are_not_either(tmp_path: Path) -> None:
    file = CredentialsFile(tmp_path / "deep" / "c.json")
    file.remember("dfs_a", URLS)
    file.forget(URLS)
    assert not list(tmp_path.iterdir()), "and no folder is made for nothing"


def test_commands_that_learn_at_once_lose_no_login(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    CredentialsFile(path).keep(URLS, Credential("ada", "dfs_a"))

    def work(number: int) -> None:
        file = CredentialsFile(path)
        file.keep((f"http://c{number}",), Credential("bob", f"dfs_{number}"))
        file.remember("dfs_a", [*URLS, f"http://nn{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    held = CredentialsFile(path)
    assert all(held.find((f"http://c{n}",)) for n in range(24))
    assert all(held.find((f"http://nn{n}",)) for n in range(24))


def test_file_of_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"http://one:9870": {"user": "ada", "token": "dfs_a", "expires_ms": 5}}')
    assert CredentialsFile(path).find(URLS) == Credential("ada", "dfs_a", 5)


def test_credential_does_not_show_its_token() -> None:
    assert "dfs_a" not in repr(Credential("ada", "dfs_a"))


def test_spoilt_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("{")
    with pytest.raises(LocalIoError, match=r"c\.json"):
        CredentialsFile(path).find(URLS)


def test_usual_places_follow_the_xdg_rules() -> None:
    assert default_file({"HOME": "/h"}) == Path("/h/.config/dfs/credentials.json")
    assert default_file({"HOME": "/h", "XDG_CONFIG_HOME": "rel"}).is_relative_to("/h/.config")
    assert default_state_folder({"HOME": "/h", "XDG_STATE_HOME": "/s"}) == Path("/s/dfs")


def test_login_is_kept_and_the_next_client_uses_it(catalog, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "DFS_NAMENODE": catalog.url}
    with connect(environment=environment) as first:
        first.login("ada", "secret")
    with connect(environment=environment) as second:
        assert second.user == "ada"
        second.logout()
    with connect(environment=environment) as third:
        assert third.link.token == ""


def test_token_of_the_environment_wins_over_the_kept_one(catalog, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "DFS_NAMENODE": catalog.url, "DFS_TOKEN": "dfs_env"}
    with connect(environment=environment) as found:
        assert found.link.token == "dfs_env"
    with connect(environment=environment, token="dfs_arg") as found:
        assert found.link.token == "dfs_arg"


def test_importing_the_library_loads_nothing_heavy() -> None:
    script = (
        "import sys, dfs.client\n"
        "heavy = {'grpc', 'google.protobuf', 'rich', 'fsspec', 'sqlalchemy', 'flask'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
