"""No request reads a whole table: what SQLite would do for every statement of a long story.

The statements are caught as they reach SQLite, from the writer's connection and from readers', and
each is explained.  The tables are empty of statistics, as they are in life.
"""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from dfs.wire.data_api import (
    AllocateItem,
    AllocateRequest,
    CompleteItem,
    CompleteRequest,
    CreateRequest,
    LeaseItem,
    LeasesRequest,
    NewFile,
)
from dfs.wire.files_api import (
    ChmodRequest,
    ListRequest,
    MkdirRequest,
    PathsRequest,
    SetrepRequest,
    TouchRequest,
    TrashRequest,
)
from tests.namespace_rig import ADMIN, NamespaceRig

GROWING = frozenset(
    [
        "inode",
        "dirent",
        "extent",
        "block",
        "replica",
        "lease",
        "journal",
        "retry_cache",
        "gc_queue",
        "stray",
        "session",
    ]
)
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_SCAN = re.compile(r"^SCAN (?:TABLE )?\"?(\w+)\"?")


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _caught(rig: NamespaceRig, story: Callable[[NamespaceRig], None]) -> list[str]:
    """Every statement of the story, once."""
    said: list[str] = []
    rig.change(lambda txn: _raw(txn.connection).set_trace_callback(said.append))
    rig.look(lambda connection: _raw(connection).set_trace_callback(said.append))
    story(rig)
    rig.change(lambda txn: _raw(txn.connection).set_trace_callback(None))
    rig.look(lambda connection: _raw(connection).set_trace_callback(None))
    return [one for one in dict.fromkeys(said) if _STATEMENT.match(one)]


def _scans(rig: NamespaceRig, statement: str) -> list[str]:
    """The growing tables that it would walk from end to end."""

    def explain(connection: Connection) -> list[str]:
        plan = _raw(connection).execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        return [step[3] for step in plan]

    found = (_SCAN.match(step) for step in rig.look(explain))
    return [walk.group(1) for walk in found if walk and walk.group(1) in GROWING]


def _many_files(rig: NamespaceRig) -> None:
    """Batches, so that lists of keys have several."""
    files = [NewFile(path=f"/d/many-{at}", size_bytes=4) for at in range(3)]
    made = rig.change(lambda txn: rig.space.writing.create(txn, ADMIN, CreateRequest(files=files)))
    opened = [one.value for one in made.outcomes if one.value is not None]
    items = [
        CompleteItem(inode=one.inode, lease=one.lease, blocks=[rig.written(one.blocks[0], b"abcd")])
        for one in opened
    ]
    body = CompleteRequest(items=items)
    rig.change(lambda txn: rig.space.completing.complete(txn, ADMIN, body))


def _open_writes(rig: NamespaceRig) -> None:
    """A write that asks for more, is kept alive, and given up."""
    opened = rig.create("/d/open")
    lease = LeasesRequest(items=[LeaseItem(inode=opened.inode, lease=opened.lease)])
    more = AllocateRequest(items=[AllocateItem(inode=opened.inode, lease=opened.lease, number=1)])
    rig.change(lambda txn: rig.space.writing.allocate(txn, ADMIN, more))
    rig.change(lambda txn: rig.space.completing.renew(txn, ADMIN, lease))
    rig.change(lambda txn: rig.space.completing.abandon(txn, ADMIN, lease))


def _story(rig: NamespaceRig) -> None:
    rig.mkdir("/d/deep/er", parents=True)
    rig.put("/d/file", b"abcd")
    rig.put("/d/file", b"efgh", overwrite=True)
    rig.put("/d/empty")
    _many_files(rig)
    _open_writes(rig)
    rig.move("/d/file", "/d/deep/moved")
    rig.copy("/d/deep/moved", "/d/copied")
    changes = rig.space.changes
    paths = ["/d/deep/moved", "/d/copied"]
    rig.change(lambda t: changes.chmod(t, ADMIN, ChmodRequest(paths=paths, mode=0o600)))
    rig.change(lambda t: changes.setrep(t, ADMIN, SetrepRequest(paths=paths, replication=3)))
    rig.change(lambda t: changes.touch(t, ADMIN, TouchRequest(paths=paths, modified_ms=5)))
    rig.change(lambda t: changes.mkdir(t, ADMIN, MkdirRequest(paths=["/d/x", "/d/y"])))
    rig.remove("/d/copied")
    rig.undelete("/d/copied")
    rig.remove("/d/deep", recursive=True)
    _questions(rig)


def _questions(rig: NamespaceRig) -> None:
    lookup = rig.space.lookup
    rig.look(lambda c: lookup.stat(c, ADMIN, PathsRequest(paths=["/d/many-0", "/d/many-1"])))
    rig.look(lambda c: lookup.list(c, ADMIN, ListRequest(path="/d")))
    rig.look(lambda c: lookup.checksum(c, ADMIN, PathsRequest(paths=["/d/many-0"])))
    rig.look(lambda c: rig.space.trash.trash(c, ADMIN, TrashRequest()))
    rig.look(lambda c: rig.space.locating.locate(c, ADMIN, PathsRequest(paths=["/d/many-0"])))


def test_no_request_of_the_namespace_walks_a_table_that_grows(rig: NamespaceRig) -> None:
    rig.mkdir("/d")
    statements = _caught(rig, _story)
    assert len(statements) > 100
    walks = {one: tables for one in statements if (tables := _scans(rig, one))}
    assert walks == {}


def test_a_walk_would_be_noticed(rig: NamespaceRig) -> None:
    assert _scans(rig, "SELECT id FROM inode WHERE mode = 3") == ["inode"]
    assert _scans(rig, "SELECT count(*) FROM dirent") == ["dirent"]
    assert _scans(rig, "SELECT id FROM inode WHERE id IN (1, 2)") == []
