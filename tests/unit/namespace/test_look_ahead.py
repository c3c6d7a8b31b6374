"""A path is looked up in one question; what comes of it is what step by step would give."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from dfs.base.errors import DfsError
from dfs.base.records import Principal
from dfs.namespace.inode_rows import ALONG_MAX
from dfs.namespace.resolve import Resolver
from tests.namespace_rig import ADMIN, NamespaceRig, user

BOB = user(7)
DEEP = "".join(f"/level-{number}" for number in range(2 * ALONG_MAX + 3))
PATHS = [
    "/",
    "/open",
    "/open/file",
    "/open/file/below",
    "/open/file/below/and/deeper",
    "/open/missing",
    "/open/missing/below",
    "/missing/a/b/c",
    "/closed",
    "/closed/in",
    "/closed/in/deeper/still",
    "/closed/missing",
    "/gone",
    "/gone/in",
    "/again/in",
    DEEP,
    f"{DEEP}/missing",
    f"{DEEP}/missing/below",
    DEEP.rpartition("/")[0],
    "not/absolute",
    "/..",
]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespaceRig]:
    made = NamespaceRig(tmp_path_factory.mktemp("look-ahead"))
    made.mkdir("/open")
    made.put("/open/file", b"x")
    made.mkdir("/closed/in/deeper", parents=True)
    made.mkdir("/shut", mode=0o700)
    made.mkdir("/shut/in")
    made.mkdir("/gone/in", parents=True)
    made.remove("/gone", recursive=True)
    made.mkdir("/again")
    made.remove("/again", recursive=True)
    made.mkdir("/again/in", parents=True)
    made.mkdir(DEEP, parents=True)
    yield made
    made.close()


def _outcome(resolver: Resolver, path: str) -> object:
    try:
        return resolver.place(path)
    except DfsError as exc:
        return type(exc), exc.message


def _step_by_step(connection: Connection, who: Principal) -> Resolver:
    known = Resolver(connection, who)
    known.directory(())  # something is known: nothing is looked up ahead
    return known


@pytest.mark.parametrize("who", [ADMIN, BOB], ids=["admin", "bob"])
@pytest.mark.parametrize("path", [*PATHS, "/shut", "/shut/in", "/shut/in/x", "/shut/missing/x"])
def test_place_is_the_same_as_step_by_step(rig: NamespaceRig, who: Principal, path: str) -> None:
    with rig.reader.view() as connection:
        expected = _outcome(_step_by_step(connection, who), path)
        assert _outcome(Resolver(connection, who), path) == expected


@pytest.mark.parametrize("path", ["/open/file/below", "/missing/a/b/c", "/shut/in"])
def test_resolver_that_refused_one_path_finds_the_next(rig: NamespaceRig, path: str) -> None:
    with rig.reader.view() as connection:
        resolver = Resolver(connection, BOB)
        _outcome(resolver, path)
        assert resolver.place("/open/file").inode.size_bytes == 1


def test_path_of_many_steps_is_one_statement(rig: NamespaceRig) -> None:
    asked: list[str] = []
    with rig.reader.view() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_trace_callback(asked.append)
        Resolver(connection, ADMIN).place("/closed/in/deeper")
        raw.set_trace_callback(None)
    assert len(asked) == 1
