"""A follower's database is the leader's, by records or by a snapshot, or it is left as it was."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import (
    BadRequest,
    DatabaseUnavailable,
    LocalNotFound,
    MetadataCorrupt,
    SchemaMismatch,
    Stopping,
)
from dfs.base.events import Event
from dfs.ha.digests import Comparison, TableDigests, compare
from dfs.ha.messages import JournalRecord
from dfs.ha.rows import START, Position
from dfs.meta.cluster_tables import SETTING
from dfs.meta.journal import chain_hash
from dfs.meta.retry_cache import RequestKey
from dfs.meta.session import Reader, reader_engine
from tests.crash_sweep import ROOT, named, swept
from tests.journal_rig import live, set_to
from tests.metadata_checks import check_metadata
from tests.metadata_rig import MetadataRig
from tests.namespace_rig import NamespaceRig
from tests.unit.failover.store_rig import NO_END, Store, head_of, records_of, seed, stream


class Pair:
    """A NameNode that leads, and one that follows."""

    def __init__(self, folder: Path) -> None:
        (folder / "leader").mkdir()
        self.leads = NamespaceRig(folder / "leader")
        self.leader = Store(folder / "leader")
        self.follower = Store(folder / "follower")

    def close(self) -> None:
        self.follower.close()
        self.leader.close()
        self.leads.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()
    assert made.follower.fatal == []


def tables(store: Store) -> TableDigests:
    found = store.journal.digests(stopped=lambda: False)
    assert isinstance(found, TableDigests)
    return found


def said(store: Store) -> str | None:
    with contextlib.closing(sqlite3.connect(f"file:{store.file}?mode=ro", uri=True)) as raw:
        row = raw.execute("SELECT value FROM setting WHERE key = 'said'").fetchone()
    return row[0] if row else None


def test_follower_that_took_a_snapshot_and_then_records_has_the_same_tables(pair: Pair) -> None:
    seed(pair.leader, pair.follower)
    live(pair.leads)
    stream(pair.leader, pair.follower)
    assert pair.follower.journal.head() == head_of(pair.leads) == pair.leader.journal.head()
    finding = compare(tables(pair.leader), tables(pair.follower))
    assert finding.comparison is Comparison.EQUAL
    reader = Reader(reader_engine(pair.follower.file, connections=1))
    with reader.view() as connection:
        check_metadata(connection)
    reader.close()


def test_follower_leads_on_from_where_it_followed_to(pair: Pair, tmp_path: Path) -> None:
    seed(pair.leader, pair.follower)
    pair.leads.mkdir("/a")
    stream(pair.leader, pair.follower)
    pair.follower.journal.release()
    heir = NamespaceRig(tmp_path / "follower")
    heir.mkdir("/a/b")
    assert pair.follower.journal.head() == head_of(heir)
    assert pair.follower.journal.make_snapshot()[0] == head_of(heir)
    assert heir.exists("/a/b")
    heir.close()


def test_nothing_is_the_head_where_there_is_no_database_or_no_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.journal.head() == START
    store.file.touch()
    assert store.journal.head() == START
    with contextlib.closing(sqlite3.connect(store.file)) as raw:
        raw.execute("PRAGMA journal_mode=wal")
    assert store.journal.head() == START
    store.close()


def test_records_are_not_applied_where_there_is_no_database(pair: Pair) -> None:
    set_to(pair.leads, "1")
    first = head_of(pair.leads)
    set_to(pair.leads, "2")
    with pytest.raises(DatabaseUnavailable, match="needs a snapshot"):
        pair.follower.journal.apply(records_of(pair.leader, first))
    assert not pair.follower.file.exists()


def test_journal_is_read_from_a_position_it_has_and_from_no_other(pair: Pair) -> None:
    set_to(pair.leads, "1")
    here = head_of(pair.leads)
    for number in range(3):
        set_to(pair.leads, str(number))
    read = pair.leader.journal.read
    stretch = read(here, bytes_max=NO_END)
    assert stretch is not None
    assert [record.txid for record in stretch.records] == [here.txid + n for n in (1, 2, 3)]
    assert stretch.records[-1].position == stretch.head == head_of(pair.leads)
    assert read(stretch.head, bytes_max=NO_END) == ((), stretch.head)
    for elsewhere in (
        START,
        replace(here, epoch=9),
        replace(here, hash=bytes(16)),
        replace(here, txid=here.txid + 1),
        Position(99, 1, bytes(16)),
    ):
        assert read(elsewhere, bytes_max=NO_END) is None
    assert pair.follower.journal.read(here, bytes_max=NO_END) is None


def test_stretch_has_one_record_at_least_and_not_many_more_bytes_than_asked_for(
    pair: Pair,
) -> None:
    set_to(pair.leads, "1")
    here = head_of(pair.leads)
    for _ in range(4):
        set_to(pair.leads, "x" * 1_000)
    for bytes_max, count in ((1, 1), (2_500, 2), (10_000, 4)):
        stretch = pair.leader.journal.read(here, bytes_max=bytes_max)
        assert stretch is not None
        assert len(stretch.records) == count
        assert stretch.head == head_of(pair.leads)


def test_position_that_was_trimmed_is_not_there_any_more(pair: Pair) -> None:
    seed(pair.leader, pair.follower)
    before = head_of(pair.leads)
    for number in range(5):
        set_to(pair.leads, str(number))
    stream(pair.leader, pair.follower)
    newest = pair.follower.journal.head()
    gone, _ = pair.follower.journal.trim(older_than_ms=0, records_max=2, answers_before_ms=0)
    assert gone == before.txid + 3
    assert pair.follower.journal.read(before, bytes_max=NO_END) is None
    assert pair.follower.journal.head() == newest
    pair.follower.journal.release()
    assert pair.follower.journal.trim(
        older_than_ms=1 << 60, records_max=0, answers_before_ms=1 << 60
    ) == (0, 0)


def test_request_that_the_leader_answered_is_answered_the_same_by_who_takes_over(
    pair: Pair, tmp_path: Path
) -> None:
    seed(pair.leader, pair.follower)
    key = RequestKey("c", "r")
    assert pair.leads.writer.answer(key, lambda txn: b"the first") == b"the first"
    stream(pair.leader, pair.follower)
    pair.follower.journal.release()
    takes_over = MetadataRig(tmp_path / "follower")
    assert takes_over.writer.answer(key, lambda txn: b"the second") == b"the first"
    takes_over.close()


def test_follower_forgets_old_answers_by_itself(pair: Pair) -> None:
    seed(pair.leader, pair.follower)
    pair.leads.writer.answer(RequestKey("c", "r"), lambda txn: b"x")
    set_to(pair.leads, "1")
    stream(pair.leader, pair.follower)
    assert pair.follower.journal.trim(
        older_than_ms=0, records_max=1_000, answers_before_ms=1 << 60
    ) == (0, 1)


def test_records_may_be_applied_twice(pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    set_to(pair.leads, "2")
    records = records_of(pair.leader, first)
    apply = pair.follower.journal.apply
    assert apply(records) == apply(records) == apply(records[1:]) == head_of(pair.leads)


def forged(record: JournalRecord, **changed: object) -> JournalRecord:
    """Another record, with a sound hash of its own."""
    made = replace(record, **changed)
    digest = chain_hash(made.prev_hash, made.epoch, made.txid, made.at_ms, made.changes)
    return replace(made, hash=digest)


SPOILT: dict[str, tuple[Callable[[JournalRecord], JournalRecord], type[Exception]]] = {
    "hash": (lambda r: replace(r, hash=bytes(16)), MetadataCorrupt),
    "content": (lambda r: replace(r, changes=b"\x90"), MetadataCorrupt),
    "gap": (lambda r: forged(r, txid=r.txid + 1), MetadataCorrupt),
    "past": (lambda r: forged(r, prev_hash=bytes(16)), MetadataCorrupt),
    "table": (lambda r: forged(r, changes=b"\x91\x93\xa1x\xc0\x90"), SchemaMismatch),
    "negative": (lambda r: replace(r, at_ms=-1), MetadataCorrupt),
}


@pytest.mark.parametrize("what", SPOILT)
def test_record_that_does_not_fit_leaves_nothing_of_its_call(what: str, pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    set_to(pair.leads, "2")
    good, second = records_of(pair.leader, first)
    spoil, error = SPOILT[what]
    with pytest.raises(error):
        pair.follower.journal.apply((good, spoil(second)))
    assert pair.follower.journal.head() == first
    assert said(pair.follower) is None
    assert pair.follower.journal.apply((good, second)) == head_of(pair.leads)
    assert said(pair.follower) == "2"


def test_records_are_durable_when_they_are_applied(pair: Pair, tmp_path: Path) -> None:
    """As much as a copy of the files at that moment shows: nothing is held back in memory."""
    seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    stream(pair.leader, pair.follower)
    hand = pair.follower.journal._hand
    assert hand is not None
    assert hand.connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    copy = tmp_path / "copy"
    copy.mkdir()
    for each in (pair.follower.file, pair.follower.file.with_name("dfs.sqlite-wal")):
        (copy / each.name).write_bytes(each.read_bytes())
    store = Store(copy)
    assert store.journal.head() == head_of(pair.leads)
    assert said(store) == "1"
    store.close()


def test_full_disk_takes_nothing_and_is_tried_again(pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    stream(pair.leader, pair.follower)
    hand = pair.follower.journal._hand
    assert hand is not None
    pages = hand.connection.exec_driver_sql("PRAGMA page_count").scalar()
    hand.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").close()
    before = pair.follower.journal.head()
    assert before.txid == first.txid + 1
    set_to(pair.leads, "x" * 1_000_000)
    with pytest.raises(DatabaseUnavailable):
        stream(pair.leader, pair.follower)
    assert pair.follower.journal.head() == before
    stream(pair.leader, pair.follower)  # a new connection, without that bound
    assert pair.follower.journal.head() == head_of(pair.leads)


def test_damaged_database_is_given_up_for_good(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    first = seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    records = records_of(pair.leader, first)
    pair.follower.close()
    raw = bytearray(pair.follower.file.read_bytes())
    for start in range(4096, len(raw), 4096):
        raw[start : start + 100] = b"\xff" * 100
    pair.follower.file.write_bytes(raw)
    for _ in range(2):
        with pytest.raises((MetadataCorrupt, DatabaseUnavailable)):
            pair.follower.journal.apply(records)
    assert len(pair.follower.fatal) == 1
    assert (Event.DATABASE_FAILED, True) in [
        (event, fields.get("fatal")) for event, fields in pair.follower.emit.events
    ]
    pair.close()


def test_log_is_folded_back_when_it_is_long(pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    wal = pair.follower.file.with_name("dfs.sqlite-wal")
    for at in range(40):
        pair.leads.change(
            lambda txn, at=at: txn.put(
                SETTING, *({"key": f"{at}-{n}", "value": "x" * 3_000} for n in range(50))
            )
        )
    stream(pair.leader, pair.follower, bytes_max=1)
    assert pair.follower.journal.head().txid == first.txid + 40
    assert wal.stat().st_size < 40 * 50 * 3_000


def test_digests_say_of_which_transaction_they_are(pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    ours = pair.leader.journal.digests(stopped=lambda: False)
    theirs = pair.follower.journal.digests(stopped=lambda: False)
    assert (ours.position, theirs.position) == (head_of(pair.leads), first)
    with pytest.raises(Stopping):
        pair.leader.journal.digests(stopped=lambda: True)


def test_snapshot_takes_the_place_of_a_database_that_went_another_way(
    pair: Pair, tmp_path: Path
) -> None:
    seed(pair.leader, pair.follower)
    pair.follower.close()
    astray = NamespaceRig(tmp_path / "follower")
    set_to(astray, "astray")
    other = head_of(astray)
    astray.close()
    set_to(pair.leads, "right")
    assert seed(pair.leader, pair.follower, aside=True) == head_of(pair.leads)
    assert said(pair.follower) == "right"
    (kept,) = pair.follower.diverged()
    assert kept.name.startswith(f"diverged-{other.epoch}-")
    shown = Store(tmp_path / "shown")
    shown.file.write_bytes(kept.read_bytes())
    assert said(shown) == "astray"
    assert shown.journal.head() == other
    shown.close()
    set_to(pair.leads, "on")
    stream(pair.leader, pair.follower)
    assert said(pair.follower) == "on"
    assert tables(pair.leader) == tables(pair.follower)


def test_reader_that_stays_open_sees_the_installed_database(pair: Pair) -> None:
    """What else is open in the process lets go when it is asked to."""
    seed(pair.leader, pair.follower)
    reader = Reader(reader_engine(pair.follower.file, connections=2))
    with reader.view() as connection:
        assert connection.exec_driver_sql("SELECT max(txid) FROM journal").scalar()
    pair.follower.close()
    again = Store(pair.follower.data, let_go=reader.close)
    set_to(pair.leads, "new")
    position = seed(pair.leader, again)
    with reader.view() as connection:
        newest = connection.exec_driver_sql("SELECT max(txid) FROM journal").scalar()
    assert newest == position.txid
    reader.close()
    again.close()


def test_database_that_somebody_reads_is_not_replaced(pair: Pair) -> None:
    first = seed(pair.leader, pair.follower)
    pair.follower.close()
    slow = Store(pair.follower.data, clock=ManualClock())
    set_to(pair.leads, "new")
    reader = Reader(reader_engine(slow.file, connections=1))
    with reader.view() as connection:
        connection.exec_driver_sql("SELECT max(txid) FROM journal").scalar()
        with pytest.raises(DatabaseUnavailable):
            seed(pair.leader, slow, aside=True)
    reader.close()
    assert slow.journal.head() == first
    assert slow.diverged() == []
    (name,) = (each.name for each in slow.shelf.folder.iterdir())
    assert slow.journal.install_snapshot(name, aside=True) == head_of(pair.leads)
    slow.close()


def test_log_without_its_database_is_not_taken_for_one_of_the_snapshot(
    pair: Pair, tmp_path: Path
) -> None:
    seed(pair.leader, pair.follower)
    set_to(pair.leads, "1")
    stream(pair.leader, pair.follower)
    log = pair.follower.file.with_name("dfs.sqlite-wal")
    lost = log.read_bytes()
    assert lost
    fresh = Store(tmp_path / "fresh")
    (fresh.data / log.name).write_bytes(lost)
    position = seed(pair.leader, fresh)
    assert fresh.journal.head() == position
    fresh.close()


@pytest.mark.parametrize("name", ["", "x", "../dfs.sqlite", "1-1-" + "0" * 32 + ".sqlite/.."])
def test_nothing_else_is_installed_than_snapshots(pair: Pair, name: str) -> None:
    seed(pair.leader, pair.follower)
    with pytest.raises(BadRequest):
        pair.follower.journal.install_snapshot(name, aside=True)
    with pytest.raises(LocalNotFound):
        pair.follower.journal.install_snapshot("1-1-" + "0" * 32 + ".sqlite", aside=True)
    assert pair.follower.journal.head() == head_of(pair.leads)


def test_diverged_databases_are_kept_for_a_week_and_three_at_most(
    pair: Pair, tmp_path: Path
) -> None:
    clock = ManualClock()
    store = Store(tmp_path / "many", clock=clock)
    for number in range(5):
        set_to(pair.leads, str(number))
        clock.advance(60)
        seed(pair.leader, store, aside=True)
    assert len(store.diverged()) == 3
    oldest, *others = store.diverged()
    clock.advance(7 * 24 * 3600 - 120)
    assert store.journal.forget_diverged(clock.now_ms()) == [oldest.name]
    assert store.diverged() == others
    clock.advance(24 * 3600)
    store.journal.forget_diverged(clock.now_ms())
    assert store.diverged() == []
    assert said(store) == "4"
    store.close()


def test_leader_with_a_writer_is_not_disturbed_by_what_is_read(pair: Pair) -> None:
    pair.leader.journal.make_snapshot()
    pair.leader.journal.release()
    set_to(pair.leads, "1")
    assert pair.leader.journal.head() == head_of(pair.leads)


@pytest.mark.timeout(300)
def test_install_and_apply_survive_every_crash_point(tmp_path: Path) -> None:
    points = swept("tests.unit.failover.store_story", str(tmp_path), within_s=240)
    sources = [ROOT / "dfs" / "failover" / name for name in ("journal_store.py", "snapshots.py")]
    assert points == named([*sources, ROOT / "dfs" / "meta" / "replay.py"])
