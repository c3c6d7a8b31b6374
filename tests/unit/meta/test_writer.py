"""The one writer: batches, savepoints, the retry cache, the journal, fencing, full disks."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dfs.base.errors import (
    DatabaseUnavailable,
    MetadataCorrupt,
    Overloaded,
    PathNotFound,
    StaleEpoch,
    Stopping,
)
from dfs.base.events import Event
from dfs.base.ids import TxId
from dfs.base.units import KiB
from dfs.meta import writer
from dfs.meta.cluster_tables import JOURNAL, MEMBERSHIP, SETTING
from dfs.meta.journal import check_chain, read_groups, records_after, trim
from dfs.meta.retry_cache import RequestKey
from dfs.meta.session import (
    BUSY_WAIT_MS,
    DATABASE_FILE,
    Reader,
    copy_database,
    reader_engine,
    writer_engine,
)
from dfs.meta.txn import Txn
from dfs.meta.writer import EPOCH_KEY, savepoint
from dfs.settings.sections import Config, LimitsConfig, NamenodeConfig
from tests.metadata_rig import MetadataRig


class Database(MetadataRig):
    """A writer and a reader over one file."""

    def __init__(
        self, folder: Path, *, namenode: NamenodeConfig | None = None, **limits: int
    ) -> None:
        config = Config(namenode=namenode or NamenodeConfig(), limits=LimitsConfig(**limits))
        super().__init__(folder, config=config)

    def setting(self, key: str) -> str | None:
        with self.reader.view() as connection:
            return connection.execute(select(SETTING.c.value).where(SETTING.c.key == key)).scalar()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path)
    yield made
    made.close()


def put(key: str, value: str = "1"):
    return lambda txn: txn.put(SETTING, {"key": key, "value": value})


def test_commit_is_seen_by_readers_when_the_caller_is_answered(database: Database) -> None:
    database.writer.submit(put("a"))
    assert database.setting("a") == "1"


def test_refused_request_leaves_nothing_and_its_neighbours_stay(database: Database) -> None:
    gate = threading.Event()

    def refuse(txn: Txn) -> None:
        txn.put(SETTING, {"key": "refused", "value": "1"})
        raise PathNotFound("no")

    with ThreadPoolExecutor(4) as pool:
        pool.submit(database.writer.submit, lambda txn: gate.wait(10))
        kept = [pool.submit(database.writer.submit, put(key)) for key in ("x", "y")]
        refused = pool.submit(database.writer.submit, refuse)
        gate.set()
        for each in kept:
            each.result(10)
        with pytest.raises(PathNotFound):
            refused.result(10)
    assert database.setting("x") == database.setting("y") == "1"
    assert database.setting("refused") is None


def test_requests_that_wait_together_share_one_transaction(database: Database) -> None:
    gate = threading.Event()
    begun = threading.Event()

    def hold(txn: Txn) -> None:
        begun.set()
        gate.wait(10)

    with ThreadPoolExecutor(9) as pool:
        pool.submit(database.writer.submit, hold)
        begun.wait(10)
        waiting = [pool.submit(database.writer.submit, put(f"k{n}")) for n in range(8)]
        while database.writer.waiting() < 8:
            threading.Event().wait(0.001)
        gate.set()
        for each in waiting:
            each.result(10)
    assert database.writer.txid == 1


def test_commit_that_returned_is_on_the_disk(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "metadata.sqlite")
    with closing(engine.connect()) as connection:
        asked = [
            connection.exec_driver_sql(f"PRAGMA {what}").scalar_one()
            for what in ("journal_mode", "synchronous")
        ]
    engine.dispose()
    assert asked == ["wal", 2], "the log is synced at each commit (FULL)"


def test_journal_tells_every_change_and_chains(database: Database) -> None:
    database.writer.submit(put("a", "1"))
    database.writer.submit(put("a", "2"))
    database.writer.submit(lambda txn: txn.drop(SETTING, ("a",)))
    with database.reader.view() as connection:
        check_chain(connection)
        told = [read_groups(r.changes) for r in records_after(connection, TxId(0), limit=9)]
    assert told[1] == [("setting", ("key", "value"), [("a", "2")])]
    assert told[2] == [("setting", None, [("a",)])]


def test_batch_without_changes_takes_no_transaction_number(database: Database) -> None:
    database.writer.submit(lambda txn: None)
    assert database.writer.txid == 0


def test_soft_changes_are_kept_out_of_the_journal(database: Database) -> None:
    database.writer.submit(lambda txn: txn.put_soft(SETTING, {"key": "s", "value": "1"}))
    assert database.setting("s") == "1"
    assert database.writer.txid == 0


def test_item_savepoint_undoes_the_item_alone(database: Database) -> None:
    def undone(txn: Txn) -> None:
        txn.put(SETTING, {"key": "undone", "value": "1"})
        raise PathNotFound("no")

    def work(txn: Txn) -> None:
        txn.put(SETTING, {"key": "kept", "value": "1"})
        with pytest.raises(PathNotFound), savepoint(txn):
            undone(txn)

    database.writer.submit(work)
    assert (database.setting("kept"), database.setting("undone")) == ("1", None)
    with database.reader.view() as connection:
        (record,) = records_after(connection, TxId(0), limit=2)
    assert read_groups(record.changes) == [("setting", ("key", "value"), [("kept", "1")])]


def test_request_asked_twice_is_done_once_and_answered_the_same(database: Database) -> None:
    done = []

    def work(txn: Txn) -> bytes:
        done.append(1)
        return b"answer %d" % len(done)

    key = RequestKey("u1", "r1")
    assert database.writer.answer(key, work) == b"answer 1"
    assert database.writer.answer(key, work) == b"answer 1"
    assert database.writer.answer(RequestKey("u2", "r1"), work) == b"answer 2"


def test_numbers_are_never_given_twice_across_a_restart(tmp_path: Path) -> None:
    first = Database(tmp_path)
    given = [first.writer.submit(lambda txn: txn.take("block", 5)) for _ in range(3)]
    first.close()
    again = Database(tmp_path)
    given.append(again.writer.submit(lambda txn: txn.take("block")))
    again.close()
    assert given == [1, 6, 11, 16]


def test_row_of_nothing_but_its_key_can_be_put_twice(database: Database) -> None:
    for _ in range(2):
        database.writer.submit(lambda txn: txn.put(MEMBERSHIP, {"user": 1, "group": 2}))


def test_hook_runs_after_the_commit_and_not_for_a_refused_request(database: Database) -> None:
    seen: list[str | None] = []

    def hooked(txn: Txn) -> None:
        put("a")(txn)
        txn.after_commit(lambda: seen.append(database.setting("a")))

    def refused(txn: Txn) -> None:
        hooked(txn)
        raise PathNotFound("no")

    database.writer.submit(hooked)
    with pytest.raises(PathNotFound):
        database.writer.submit(refused)
    assert seen == ["1"]


def test_bug_in_a_hook_ends_the_writer_but_keeps_nobody_waiting(database: Database) -> None:
    def change(txn: Txn) -> str:
        txn.put(SETTING, {"key": "a", "value": "1"})
        txn.after_commit(lambda: {}["memory"])
        return "committed"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(database.writer.submit, change).result(10) == "committed"
    assert database.setting("a") == "1"
    with pytest.raises(DatabaseUnavailable):
        database.writer.submit(put("b"))
    assert len(database.fatal) == 1  # memory is behind the disk: only a new start mends that
    database.fatal.clear()


def test_writer_of_an_older_epoch_changes_nothing(database: Database) -> None:
    database.writer.submit(put(EPOCH_KEY, "2"))
    with pytest.raises(StaleEpoch):
        database.writer.submit(put("late"))
    assert database.setting("late") is None


def test_bug_in_a_request_reaches_its_caller_and_harms_nobody(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        database.writer.submit(lambda txn: 1 // 0)
    with pytest.raises(KeyError):
        database.writer.submit(lambda txn: txn.put(SETTING, {"key": "half"}))
    database.writer.submit(put("after"))
    assert database.setting("after") == "1"


def test_full_queue_refuses_instead_of_growing(tmp_path: Path) -> None:
    database = Database(tmp_path, queue_requests_max=2)
    gate, begun = threading.Event(), threading.Event()

    def hold(txn: Txn) -> None:
        begun.set()
        gate.wait(10)

    with ThreadPoolExecutor(4) as pool:
        pool.submit(database.writer.submit, hold)
        begun.wait(10)
        waiting = [pool.submit(database.writer.submit, put(f"k{n}")) for n in range(2)]
        while database.writer.waiting() < 2:
            threading.Event().wait(0.001)
        with pytest.raises(Overloaded):
            database.writer.submit(put("too many"))
        gate.set()
        for each in waiting:
            each.result(10)
    database.close()


def test_no_change_waits_for_a_reader_that_keeps_the_log_from_being_folded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE_WAIT_S", 0.05)
    folded = threading.Event()
    fold = database.writer._log.fold_idle

    def folding() -> None:
        fold()
        folded.set()

    monkeypatch.setattr(database.writer._log, "fold_idle", folding)
    with database.reader.view() as connection:
        connection.execute(select(SETTING)).all()
        database.writer.submit(put("a"))
        folded.clear()
        assert folded.wait(BUSY_WAIT_MS / 2000)
        database.writer.submit(put("b"))
    folded.clear()
    assert folded.wait(10)
    assert not database.file.with_name(f"{DATABASE_FILE}-wal").stat().st_size


def test_log_is_folded_once_a_length_and_not_at_every_change_after_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length_bytes = 256 * KiB
    database = Database(tmp_path, namenode=NamenodeConfig(checkpoint_bytes=length_bytes))
    log = database.writer._log
    fold, folds = log._fold, []

    def folding(mode: str) -> int:
        folds.append(mode)
        return fold(mode)

    monkeypatch.setattr(log, "_fold", folding)
    for n in range(400):
        database.writer.submit(put(f"{n:0200}"))
    passive = folds.count("PASSIVE")
    file = tmp_path / f"{DATABASE_FILE}-wal"
    assert 2 < passive < 400 / 10
    assert file.stat().st_size < 3 * length_bytes
    database.close()


def test_who_does_not_wait_is_told_of_what_was_committed_and_what_was_refused(
    database: Database,
) -> None:
    told: queue.SimpleQueue[object] = queue.SimpleQueue()

    def tell(result: Callable[[], str]) -> None:
        try:
            told.put((result(), database.setting("a")))
        except PathNotFound as exc:
            told.put(exc.message)

    def work(txn: Txn) -> str:
        put("a", "kept")(txn)
        return "done"

    def refuse(txn: Txn) -> str:
        put("a", "refused")(txn)
        raise PathNotFound("no such thing")

    database.writer.submit_then(work, tell)
    assert told.get(timeout=10) == ("done", "kept")
    database.writer.submit_then(refuse, tell)
    assert told.get(timeout=10) == "no such thing"
    assert database.setting("a") == "kept"


def test_writer_outlives_a_listener_that_breaks(database: Database) -> None:
    def breaks(result: Callable[[], None]) -> None:
        raise ZeroDivisionError

    database.writer.submit_then(put("a"), breaks)
    database.writer.submit(put("b"))
    assert database.setting("a") == database.setting("b") == "1"


def test_closed_writer_takes_up_nothing_to_tell_of(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.close()
    with pytest.raises(Stopping):
        database.writer.submit_then(put("a"), lambda result: result())


def test_closed_writer_refuses_and_leaves_no_log_behind(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.writer.submit(put("a"))
    database.close()
    with pytest.raises(Stopping):
        database.writer.submit(put("b"))
    wal = tmp_path / (DATABASE_FILE + "-wal")
    assert not wal.exists() or wal.stat().st_size == 0


def test_full_database_refuses_cleanly_and_recovers_with_space(database: Database) -> None:
    database.writer.submit(put("before"))
    pages = database.writer.submit(
        lambda txn: txn.connection.exec_driver_sql("PRAGMA page_count").scalar()
    )

    def limit(pages_max: int) -> None:
        database.writer.submit(
            lambda txn: txn.connection.exec_driver_sql(f"PRAGMA max_page_count={pages_max}")
        )

    limit(pages)
    with pytest.raises(DatabaseUnavailable):
        database.writer.submit(put("big", "x" * 100_000))
    assert database.setting("before") == "1"
    assert database.setting("big") is None
    assert database.fatal == []
    assert Event.DATABASE_FAILED in [event for event, _ in database.emit.events]
    limit(1_000_000)
    database.writer.submit(put("big", "x" * 100_000))
    with database.reader.view() as connection:
        check_chain(connection)


def test_changed_journal_record_is_found(database: Database) -> None:
    for n in range(3):
        database.writer.submit(put("a", str(n)))
    database.writer.submit(
        lambda txn: txn.connection.execute(
            JOURNAL.update().where(JOURNAL.c.txid == 2).values(changes=b"\x90")
        )
    )
    with database.reader.view() as connection, pytest.raises(MetadataCorrupt):
        check_chain(connection)


def test_missing_journal_record_is_found(database: Database) -> None:
    for n in range(3):
        database.writer.submit(put("a", str(n)))
    database.writer.submit(
        lambda txn: txn.connection.execute(JOURNAL.delete().where(JOURNAL.c.txid == 2))
    )
    with database.reader.view() as connection, pytest.raises(MetadataCorrupt):
        check_chain(connection)


def test_trim_keeps_the_newest_record_and_the_chain(database: Database) -> None:
    for n in range(10):
        database.writer.submit(put("a", str(n)))
    gone = database.writer.submit(
        lambda txn: trim(txn.connection, older_than_ms=2**60, records_max=4)
    )
    assert gone == 9
    with database.reader.view() as connection:
        assert connection.execute(select(func.count()).select_from(JOURNAL)).scalar() == 1
        check_chain(connection)
    database.writer.submit(put("a", "on"))


def test_copy_of_a_database_in_use_is_whole(database: Database, tmp_path: Path) -> None:
    database.writer.submit(put("a"))
    copy_database(database.file, tmp_path / "copy.sqlite")
    copied = Reader(reader_engine(tmp_path / "copy.sqlite", connections=1))
    with copied.view() as connection:
        assert connection.execute(select(SETTING.c.value)).scalar() == "1"
    copied.close()
