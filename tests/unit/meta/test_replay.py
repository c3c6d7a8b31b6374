"""A journal put down elsewhere gives the same tables, or is refused and leaves nothing."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dfs.base.errors import DatabaseUnavailable, MetadataCorrupt, SchemaMismatch
from dfs.base.ids import Epoch, TxId
from dfs.meta.journal import GENESIS_HASH, Record, chain_hash, check_chain, make_record
from dfs.meta.row_images import columns_of
from dfs.meta.tables import DIRENT, INODE
from tests.journal_rig import FollowerDatabase, digests_of, journal_of, live, set_to
from tests.metadata_checks import check_metadata
from tests.metadata_rig import MetadataRig
from tests.namespace_rig import NamespaceRig

SAID = (("key", "value"), [("said", "yes")])


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[FollowerDatabase]:
    folder = tmp_path / "follower"
    folder.mkdir()
    made = FollowerDatabase(folder)
    yield made
    made.close()


def record_of(changes: bytes, *, after: Record | None = None) -> Record:
    """A sound record with whatever is in it."""
    txid, prev = (after.txid + 1, after.hash) if after else (1, GENESIS_HASH)
    digest = chain_hash(prev, 1, txid, 5, changes)
    return Record(TxId(txid), Epoch(1), prev, digest, 5, changes)


def told(*groups: Any, after: Record | None = None) -> Record:
    return record_of(msgspec.msgpack.encode(groups), after=after)


@pytest.mark.parametrize("at_once", [1, 3, 1_000])
def test_replayed_history_gives_equal_tables_however_it_is_cut(
    follower: FollowerDatabase, tmp_path: Path, at_once: int
) -> None:
    rig = NamespaceRig(tmp_path)
    live(rig)
    records = journal_of(rig)
    for start in range(0, len(records), at_once):
        follower.replay(*records[start : start + at_once])
    assert digests_of(follower.reader) == digests_of(rig.reader)
    with follower.reader.view() as connection:
        check_metadata(connection)
    rig.close()


def test_follower_goes_on_where_it_stopped_and_passes_over_what_it_has(
    follower: FollowerDatabase, tmp_path: Path
) -> None:
    rig = MetadataRig(tmp_path)
    for number in range(6):
        set_to(rig, str(number))
    records = journal_of(rig)
    assert follower.replay(*records[:3]) == 3
    assert follower.replay(*records[:3]) == 3
    assert follower.said() == "2"
    assert follower.replay(*records[1:]) == 6
    assert follower.said() == "5"
    with follower.reader.view() as connection:
        check_chain(connection)
    rig.close()


def test_name_that_one_gave_up_is_free_for_another_in_the_same_call(
    follower: FollowerDatabase,
) -> None:
    """Rows of a table are neither sorted nor thinned out."""
    names = columns_of(DIRENT)
    first = told(("dirent", names, [(1, 1, "x", 5, 1, None, None, None)]))
    second = told(("dirent", names, [(1, 1, "x", 5, 1, 2, 9, 0)]), after=first)
    third = told(("dirent", names, [(2, 1, "x", 6, 3, None, None, None)]), after=second)
    fourth = told(("dirent", names, [(1, 1, "x", 5, 1, 2, 9, None)]), after=third)
    fifth = told(("dirent", None, [(2,)]), after=fourth)
    sixth = told(("dirent", names, [(3, 1, "x", 7, 6, None, None, None)]), after=fifth)
    assert follower.replay(first, second, third, fourth, fifth, sixth) == 6


def test_columns_in_another_order_are_the_same_row(follower: FollowerDatabase) -> None:
    follower.replay(told(("setting", ("value", "key"), [("yes", "said")])))
    assert follower.said() == "yes"


GOOD = told(("setting", *SAID))
NEXT = told(("setting", *SAID), after=GOOD)
REFUSED = {
    "a record with another hash": (replace(GOOD, hash=bytes(16)), MetadataCorrupt),
    "a record that was changed": (replace(GOOD, changes=GOOD.changes + b"x"), MetadataCorrupt),
    "a record of another epoch": (replace(GOOD, epoch=Epoch(2)), MetadataCorrupt),
    "a number below zero": (replace(GOOD, at_ms=-1), MetadataCorrupt),
    "a number too large": (replace(GOOD, epoch=Epoch(1 << 64)), MetadataCorrupt),
    "a gap": (NEXT, MetadataCorrupt),
    "an unknown table": (told(("setting", *SAID), ("crypt", ("a",), [(1,)])), SchemaMismatch),
    "the journal itself": (told(("journal", None, [(1,)])), SchemaMismatch),
    "an unknown column": (
        told(("setting", *SAID), ("setting", ("key", "value", "x"), [("a", "b", 1)])),
        SchemaMismatch,
    ),
    "a column too few": (told(("setting", ("key",), [("a",)])), SchemaMismatch),
    "a column twice": (told(("setting", ("key", "key"), [("a", "b")])), SchemaMismatch),
    "a row that is cut": (told(("setting", ("key", "value"), [("a",)])), MetadataCorrupt),
    "a key that is cut": (told(("membership", None, [(1,)])), MetadataCorrupt),
    "a value that no column holds": (
        told(("setting", ("key", "value"), [("said", [1])])),
        MetadataCorrupt,
    ),
    "a number that no column holds": (
        told(("setting", *SAID), ("membership", None, [(1 << 63, 1)])),
        MetadataCorrupt,
    ),
    "a row that breaks an invariant": (
        told(("setting", *SAID), ("inode", columns_of(INODE), [(1, *["?"] * 13)])),
        MetadataCorrupt,
    ),
    "rubbish": (record_of(b"\xc1"), MetadataCorrupt),
    "words that are none": (record_of(b"\x91\x93\xa1\xff\xc0\x90"), MetadataCorrupt),
    "rubbish without end": (record_of(b"\x91" * 100_000), MetadataCorrupt),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_record_leaves_nothing(case: str, follower: FollowerDatabase) -> None:
    record, error = REFUSED[case]
    with pytest.raises(error):
        follower.replay(record)
    assert follower.said() is None
    assert follower.replay(GOOD, NEXT) == 2


@pytest.mark.parametrize("case", [case for case in REFUSED if case != "a gap"])
def test_refused_record_takes_the_sound_ones_of_its_call_with_it(
    case: str, follower: FollowerDatabase
) -> None:
    bad, error = REFUSED[case]
    if bad == record_of(bad.changes):
        bad = record_of(bad.changes, after=GOOD)
    with pytest.raises(error):
        follower.replay(GOOD, bad)
    assert follower.said() is None


def test_record_that_follows_another_past_is_refused(follower: FollowerDatabase) -> None:
    follower.replay(GOOD)
    other = told(("setting", ("key", "value"), [("said", "no")]))
    with pytest.raises(MetadataCorrupt, match="record 2 does not follow 1"):
        follower.replay(told(("setting", *SAID), after=other))
    with pytest.raises(MetadataCorrupt, match="does not follow"):
        follower.replay(other)
    with pytest.raises(MetadataCorrupt, match="does not follow"):
        follower.replay(other, told(("setting", *SAID), after=other))
    assert follower.said() == "yes"


def test_records_that_do_not_follow_each_other_are_refused(follower: FollowerDatabase) -> None:
    with pytest.raises(MetadataCorrupt, match="record 3 does not follow 1"):
        follower.replay(GOOD, told(("setting", *SAID), after=NEXT))
    assert follower.said() is None


def test_disk_that_takes_no_more_leaves_what_was_there(follower: FollowerDatabase) -> None:
    follower.replay(GOOD)
    pages = follower.connection.exec_driver_sql("PRAGMA page_count").scalar()
    follower.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").close()
    wide = told(("setting", ("key", "value"), [("said", "x" * 1_000_000)]), after=GOOD)
    with pytest.raises(DatabaseUnavailable):
        follower.replay(wide)
    assert follower.said() == "yes"
    follower.connection.exec_driver_sql("PRAGMA max_page_count=1000000").close()
    assert follower.replay(wide) == 2


def test_database_that_another_writes_is_left_alone(follower: FollowerDatabase) -> None:
    follower.connection.exec_driver_sql("PRAGMA busy_timeout=10").close()
    with contextlib.closing(sqlite3.connect(follower.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable):
            follower.replay(GOOD)
    assert follower.replay(GOOD) == 1


def test_tables_that_are_not_journaled_are_untouched(follower: FollowerDatabase) -> None:
    sql = "INSERT INTO stray VALUES (1, 2, 3, 4, 5, 6, 'orphan', 7, 8, 9)"
    follower.connection.exec_driver_sql(sql).close()
    follower.replay(GOOD, NEXT)
    found = follower.connection.exec_driver_sql("SELECT count(*) FROM stray").scalar()
    assert found == 1


def test_record_of_the_writer_is_what_replay_checks() -> None:
    record = make_record(
        txid=TxId(1), epoch=Epoch(1), prev_hash=GENESIS_HASH, at_ms=5, groups=[("setting", *SAID)]
    )
    assert record == GOOD
