"""Who may do what, at a terminal: sessions, passwords, other people's files, the sticky /tmp."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.cluster_rig import running_cluster
from tests.e2e.refusal_rig import Ran, User, admin_of, password_of

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    root = tmp_path_factory.mktemp("accounts")
    with running_cluster(root / "c", datanodes=1) as cluster:
        yield admin_of(cluster, root / "here")


@pytest.fixture(scope="module")
def ada(admin: User) -> User:
    made = admin.other("ada")
    made("put", "-", "secret", stdin="mine").done()
    made("chmod", "600", "secret").done()
    made("put", "-", "/tmp/adas", stdin="mine").done()
    return made


@pytest.fixture(scope="module")
def eve(admin: User) -> User:
    return admin.other("eve")


def log_in(user: User, name: str, password: str, *flags: str) -> Ran:
    return user("login", name, "--password-stdin", *flags, stdin=password)


def test_wrong_password_and_unknown_name_are_refused_alike(admin: User, ada: User) -> None:
    nobody = admin.other("nobody", without_session=True)
    wrong = log_in(nobody, "ada", "not-her-long-password\n").refused(4, "wrong name or password")
    unknown = log_in(nobody, "nobody", password_of("nobody")).refused(4)
    assert wrong.err == unknown.err
    nobody("ls", "/").refused(4, "not logged in", "dfs login")


@pytest.mark.parametrize("token", ["dfs_forged", "x", "two words", "a\nb", "\u00fc"])
def test_token_that_is_none_is_refused(ada: User, token: str) -> None:
    ada("ls", "/", DFS_TOKEN=token).refused(4, "hint:")


def test_session_that_is_over_is_refused(admin: User, ada: User) -> None:
    guest = admin.other("guest")
    (kept,) = json.loads((guest.here / "guest.json").read_text()).values()
    guest("logout").done()
    guest("ls", "/", DFS_TOKEN=kept["token"]).refused(4, "the session is over", "dfs login")


def test_bound_session_is_refused_from_another_address(admin: User, ada: User) -> None:
    bound = admin.other("bound", without_session=True)
    log_in(bound, "ada", password_of("ada"), "--bind-address").done()
    (kept,) = json.loads((bound.here / "bound.json").read_text()).values()
    place = urlsplit(bound.variables["DFS_NAMENODE"])
    answers = []
    for address in ("127.0.0.1", "127.0.0.2"):
        line = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=10, source_address=(address, 0)
        )
        headers = {"Authorization": f"Bearer {kept['token']}"}
        line.request("POST", "/v1/fs/stat", b'{"paths":["/"]}', headers)
        answer = line.getresponse()
        answers.append((answer.status, b"session_expired" in answer.read()))
        line.close()
    assert answers == [(200, False), (401, True)]


def test_one_time_password_opens_nothing_but_its_own_change(admin: User) -> None:
    added = json.loads(admin.admin("users", "add", "new", "--json").done().out)
    password = f"{added['one_time_password']}\n"
    new = admin.other("new", without_session=True)
    log_in(new, "new", password).done()
    new("ls", "/").refused(4, "must be replaced", "dfs passwd")
    new("put", "-", "x", stdin="x").refused(4, "must be replaced")
    new("passwd", "--password-stdin", stdin=password + "short\n").refused(2, "12 characters")
    new("passwd", "--password-stdin", stdin=password + password_of("new")).done()
    new("ls", "/").done()
    log_in(new, "new", password).refused(4)


def test_file_of_another_user_is_refused_by_every_verb(ada: User, eve: User) -> None:
    path = "/user/ada/secret"
    eve("cat", path).refused(4, "eve has no read permission")
    eve("get", path, "got").refused(4)
    assert not (eve.here / "got").exists()
    eve("put", "-f", "-", path, stdin="hers").refused(4)
    eve("rm", path).refused(4)
    eve("mv", path, "/user/eve/x").refused(4)
    eve("cp", path, "/user/eve/x").refused(4)
    eve("chmod", "644", path).refused(4, "owner")
    assert ada("cat", "secret").done().out == "mine"


def test_sticky_tmp_lets_only_owners_remove(ada: User, eve: User) -> None:
    eve("put", "-", "/tmp/eves", stdin="e").done()
    for words in (("rm", "/tmp/adas"), ("mv", "/tmp/adas", "/tmp/x")):
        eve(*words).refused(4, "may not remove entries of /tmp")
    eve("put", "-f", "-", "/tmp/adas", stdin="e").refused(4)
    assert ada("cat", "/tmp/adas").done().out == "mine"
    eve("rm", "/tmp/eves").done()


def test_verbs_of_administrators_are_refused_to_others(ada: User) -> None:
    for words in (("join-token",), ("audit",), ("users", "add", "x")):
        ada.admin(*words).refused(4, "is for administrators")
