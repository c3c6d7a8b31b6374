"""Digests of tables are equal when what the journal tells of is, and tell where it is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from dfs.base.errors import Stopping
from dfs.meta.cluster_tables import RETRY_CACHE, SESSION, SETTING
from dfs.meta.journal import Place
from dfs.meta.retry_cache import RequestKey
from dfs.meta.table_digests import (
    COLUMNS_LEFT_OUT,
    DIGESTED,
    LEFT_OUT,
    PAGE_ROWS,
    Digests,
    digest_now,
)
from dfs.meta.tables import DIRENT, EXTENT, INODE, REPLICA
from tests.journal_rig import digests_of, live, set_to
from tests.metadata_checks import NOT_REPLAYED
from tests.metadata_rig import MetadataRig
from tests.namespace_rig import NamespaceRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[NamespaceRig]:
    made = NamespaceRig(tmp_path)
    yield made
    made.close()


def a_session(number: int, *, used_ms: int) -> dict[str, object]:
    return {
        "id": number,
        "token_hash": b"%d" % number,
        "user": 1,
        "address": "",
        "bound": 0,
        "created_ms": 1,
        "last_used_ms": used_ms,
        "expires_ms": 9,
    }


def test_what_is_left_out_is_what_replay_does_not_give() -> None:
    left_out = {str(table.name) for table in (*LEFT_OUT, *COLUMNS_LEFT_OUT)}
    assert left_out == NOT_REPLAYED
    assert {*DIGESTED} | {*LEFT_OUT} == set(INODE.metadata.sorted_tables)


def test_digests_are_of_one_place_in_the_journal(rig: NamespaceRig) -> None:
    live(rig)
    found = digests_of(rig.reader)
    assert (found.place.txid, found.place.hash) == rig.writer.head
    assert found.place.epoch == rig.writer.epoch
    assert found.tables.keys() == {str(table.name) for table in DIGESTED}


def test_digests_of_an_empty_database_are_of_no_transaction(tmp_path: Path) -> None:
    rig = MetadataRig(tmp_path)
    assert digests_of(rig.reader).place == (0, 0, bytes(16))
    rig.close()


@pytest.mark.parametrize("table", [INODE, DIRENT, EXTENT], ids=lambda table: table.name)
def test_row_that_is_missing_shows_in_its_table_alone(rig: NamespaceRig, table) -> None:
    live(rig)
    before = digests_of(rig.reader)
    one = rig.look(lambda c: c.execute(table.select().limit(1)).one())
    key = [column == getattr(one, column.key) for column in table.primary_key]
    rig.change(lambda txn: txn.connection.execute(delete(table).where(*key)))
    after = digests_of(rig.reader)
    assert after.place == before.place
    assert _differing(before, after) == {str(table.name)}


def test_value_that_differs_shows(rig: NamespaceRig) -> None:
    before = digests_of(rig.reader)
    rig.change(lambda txn: txn.connection.execute(INODE.update().values(changed_ms=1)))
    assert _differing(before, digests_of(rig.reader)) == {"inode"}


def test_what_one_namenode_changes_by_itself_does_not_show(rig: NamespaceRig) -> None:
    rig.change(lambda txn: txn.put(SESSION, a_session(1, used_ms=1)))
    rig.writer.answer(RequestKey("c", "r"), lambda txn: b"")
    before = digests_of(rig.reader)
    rig.change(lambda txn: txn.put_soft(SESSION, a_session(1, used_ms=2)))
    rig.change(lambda txn: txn.drop_soft(RETRY_CACHE, ("c", "r")))
    copy = {"block": 1, "node": 1, "generation": 1, "state": "live", "verified_ms": 0}
    rig.change(lambda txn: txn.put_soft(REPLICA, copy))
    assert digests_of(rig.reader) == before
    rig.change(lambda txn: txn.put(SESSION, a_session(2, used_ms=2)))
    assert _differing(before, digests_of(rig.reader)) == {"session"}


def test_order_of_writing_and_pages_do_not_show(tmp_path: Path) -> None:
    rows = [{"key": f"k{at}", "value": str(at)} for at in range(2 * PAGE_ROWS + 1)]
    found = []
    for name, order in (("one", rows), ("other", rows[::-1])):
        (tmp_path / name).mkdir()
        rig = MetadataRig(tmp_path / name)
        rig.change(lambda txn, order=order: txn.put(SETTING, *order))
        found.append(digests_of(rig.reader).tables)
        rig.close()
    assert found[0] == found[1]


def test_digests_are_of_the_moment_that_was_told_before_the_work_whatever_is_written_since(
    rig: NamespaceRig,
) -> None:
    set_to(rig, "1")
    at, before = rig.writer.head, digests_of(rig.reader)
    told: list[Place] = []

    def opened(place: Place) -> None:
        told.append(place)
        set_to(rig, "2")

    found = digest_now(rig.reader, stopped=lambda: False, opened=opened)
    assert told == [found.place] == [Place(at[0], 1, at[1])]
    assert found == before != digests_of(rig.reader)


def test_digests_are_given_up_when_the_namenode_stops(rig: NamespaceRig) -> None:
    live(rig)
    asked = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(Stopping):
        digest_now(rig.reader, stopped=stopped)
    assert len(asked) == 4
    assert digests_of(rig.reader).tables


def _differing(one: Digests, other: Digests) -> set[str]:
    return {name for name in one.tables if one.tables[name] != other.tables[name]}
