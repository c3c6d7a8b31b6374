"""The one writer: requests queue, a batch of them runs in one transaction, one fsync answers all.

Each request runs under a savepoint, so a refused one leaves nothing while its neighbours go on.
The order of effects of a batch:

    1 BEGIN IMMEDIATE; the epoch in the database is still ours, or nothing happens (StaleEpoch)
    2 every request's rows, then the counters, then the journal record
    3 COMMIT (synchronous=FULL: on the disk when it returns)
    4 after-commit hooks, then every caller is told

Requests of one kind that stand side by side in a batch may be run in one step (`Joint`): most of
what each costs by itself is asking the database.

A crash before 3 leaves no trace of the batch; after 3 the retry cache answers who asks again.  A
commit that fails is rolled back and refuses its whole batch; when even that fails, or the disk
reports an error, the writer stops for good and `on_fatal` ends the process: going on with a handle
that has seen an I/O error is how databases lose data.
"""

import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, cast

from sqlalchemy import Connection, Engine, bindparam, select
from sqlalchemy.exc import DBAPIError

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import DatabaseUnavailable, DfsError, Overloaded, StaleEpoch, Stopping
from dfs.base.events import Emitter, Event
from dfs.base.ids import FIRST_EPOCH, Epoch, TxId
from dfs.meta.cluster_tables import SEQUENCE, SETTING
from dfs.meta.journal import GENESIS_HASH, Record, last_record, make_record, write_record
from dfs.meta.prepared import Prepared, execute, is_open
from dfs.meta.retry_cache import RequestKey, once
from dfs.meta.txn import Sequences, Txn
from dfs.meta.wal import WriteAheadLog
from dfs.settings.sections import LimitsConfig, NamenodeConfig

T = TypeVar("T")

EPOCH_KEY: Final = "epoch"
_DISK_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_SETTING: Final = Prepared(select(SETTING.c.value).where(SETTING.c.key == bindparam("key")))
IDLE_WAIT_S: Final = 1.0  # after so long without a request the WAL is folded back whole


@dataclass(frozen=True, slots=True)
class Joint(Generic[T]):
    """A request that others like it may be run together with.

    Attributes:
        item: what is asked for.
        together: runs any number of items in their order; what each returned, or was refused with.
            Whatever it raises itself undoes all it did, and the items are run one by one.
    """

    item: Any
    together: Callable[[Txn, Sequence[Any]], Sequence[T | DfsError]]

    def __call__(self, txn: Txn) -> T:
        """Run it alone."""
        (outcome,) = self.together(txn, [self.item])
        if isinstance(outcome, DfsError):
            raise outcome
        return outcome


class _Job(Generic[T]):
    """A request, what became of it, and who is told."""

    __slots__ = ("_error", "_result", "_tell", "is_done", "work")

    def __init__(self, work: Callable[[Txn], T], tell: Callable[["_Job[T]"], None]) -> None:
        self.work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self._tell = tell
        self.is_done = False  # answered or refused; only the writer's thread looks

    def answer(self, result: T) -> None:
        """It was done, with that result."""
        self._result, self.is_done = result, True

    def refuse(self, error: BaseException) -> None:
        """It was not done, for that reason."""
        self._error, self.is_done = error, True

    def tell(self) -> None:
        """Let its caller know."""
        self._tell(self)

    def result(self) -> T:
        """What it returned, once it is done; raises what it was refused with."""
        if self._error is not None:
            raise self._error
        return cast("T", self._result)


class Writer:
    """Runs every change to the metadata, in one thread of its own.

    Args:
        engine: from `session.writer_engine`; this object alone uses it.
        file: the database file; its WAL is folded back when it is long.
        on_fatal: called once when the database cannot be trusted any more.
    """

    def __init__(
        self,
        engine: Engine,
        file: Path,
        *,
        clock: Clock,
        emit: Emitter,
        config: NamenodeConfig,
        limits: LimitsConfig,
        on_fatal: Callable[[str], None],
    ) -> None:
        self._connection = engine.connect()
        self._engine = engine
        self._log = WriteAheadLog(
            self._connection, file, fold_bytes=config.checkpoint_bytes, emit=emit
        )
        self._clock = clock
        self._emit = emit
        self._config = config
        self._on_fatal = on_fatal
        self._queue: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._waiting_max = limits.queue_requests_max
        self._gate = threading.Lock()  # nothing may queue behind the end
        self._sequences = Sequences()
        self._stopping = False
        self._broken = ""
        self.epoch = Epoch(int(_setting(self._connection, EPOCH_KEY) or FIRST_EPOCH))
        newest = last_record(self._connection)
        self._txid = newest.txid if newest else TxId(0)
        self._hash = newest.hash if newest else GENESIS_HASH
        self.opened_txid = self._txid  # the newest transaction when this run began
        self._thread = threading.Thread(target=self._run, name="meta-writer", daemon=True)
        self._thread.start()

    @property
    def txid(self) -> TxId:
        """The newest committed transaction."""
        return self._txid

    @property
    def head(self) -> tuple[TxId, bytes]:
        """The newest committed transaction, and the hash of the chain there."""
        return self._txid, self._hash

    def submit(self, work: Callable[[Txn], T]) -> T:
        """Run `work` in a transaction and return what it returned, once it is on the disk.

        Raises:
            DfsError: what `work` refused; nothing of it remains.
            Overloaded: too many requests wait already.
            Stopping: the NameNode is shutting down.
            DatabaseUnavailable: the batch could not be committed; nothing of it remains.
        """
        told = threading.Lock()  # a future costs ten times that
        told.acquire()
        job = _Job(work, lambda _job: told.release())
        self._put(job)
        told.acquire()
        return job.result()

    def submit_then(
        self, work: Callable[[Txn], T], then: Callable[[Callable[[], T]], None]
    ) -> None:
        """As `submit`, but nobody waits: the writer's thread calls `then`.

        Between thousands of small changes a second, waking a thread for each costs more than the
        change does.

        Args:
            then: is given what returns the result, or raises what `submit` would.  All changes
                wait while it runs: it takes microseconds and waits for nothing.

        Raises:
            Overloaded, Stopping, DatabaseUnavailable: it was not taken up; `then` is not called.
        """
        self._put(_Job(work, lambda job: then(job.result)))

    def answer(self, key: RequestKey, work: Callable[[Txn], bytes]) -> bytes:
        """As `submit`, but a request already answered under `key` is answered the same, undone.

        Raises:
            as `submit`.
        """
        return self.submit(once(key, work))

    def begin_epoch(self, txn: Txn, *, above: int) -> int:
        """Write from the next transaction on in a new epoch, above ours and that one; its number.

        The journal stays without a gap: only the epoch leaps.
        """
        fresh = Epoch(max(self.epoch, above) + 1)
        txn.put(SETTING, {"key": EPOCH_KEY, "value": str(fresh)})

        def take_over() -> None:
            self.epoch = fresh

        txn.after_commit(take_over)
        return fresh

    def give_up(self, reason: str) -> None:
        """Take no further change, and have the process end: the database cannot be trusted."""
        self._emit.emit(Event.DATABASE_FAILED, reason=reason, fatal=True)
        self._broken = f"the metadata database failed: {reason}"
        self._on_fatal(self._broken)

    def waiting(self) -> int:
        """How many requests are queued now."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what is queued, fold the WAL back and close."""
        with self._gate:
            self._stopping = True
        self._queue.put(None)
        self._thread.join()
        if not self._broken:
            self._log.fold_whole()  # waits for readers, as a log left behind costs more
        self._connection.close()
        self._engine.dispose()

    def _put(self, job: _Job[Any]) -> None:
        if self._broken:
            raise DatabaseUnavailable(self._broken)
        with self._gate:
            if self._stopping:
                raise Stopping("the NameNode is stopping")
            if self._queue.qsize() >= self._waiting_max:
                raise Overloaded("too many changes are waiting for the metadata writer")
            self._queue.put(job)

    def _run(self) -> None:
        while True:
            try:
                first = self._queue.get(timeout=IDLE_WAIT_S)
            except queue.Empty:
                if not self._broken:
                    self._log.fold_idle()
                continue
            if first is None:
                return
            batch, stop = self._gather(first)
            self._commit(batch)
            self._tell(batch)
            if not self._broken:
                self._log.fold_if_long()
            if stop:
                return

    def _gather(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        """What else waits already (or comes within `batch_wait_s`), up to the batch's bound."""
        batch = [first]
        if self._config.batch_wait_s:
            self._clock.sleep(self._config.batch_wait_s)
        with contextlib.suppress(queue.Empty):
            while len(batch) < self._config.batch_requests_max:
                job = self._queue.get_nowait()
                if job is None:
                    return batch, True
                batch.append(job)
        return batch, False

    def _commit(self, batch: Sequence[_Job[Any]]) -> None:
        if self._broken:
            _refuse(batch, DatabaseUnavailable(self._broken))
            return
        try:
            answered, hooks = self._transact(batch)
        except StaleEpoch as exc:
            _refuse(batch, exc)
            return
        except DBAPIError as exc:
            self._fail(batch, exc)
            return
        except Exception as exc:  # noqa: BLE001 - a bug of ours; the batch's callers raise it
            _refuse(batch, exc)
            return
        self._run_hooks(hooks)
        for job, result in answered:
            job.answer(result)

    def _tell(self, batch: Sequence[_Job[Any]]) -> None:
        for job in batch:
            try:
                job.tell()
            except Exception as exc:  # noqa: BLE001 - a bug must not end this thread
                self._emit.emit(Event.BUG_UNHANDLED, where="an answered change", error=repr(exc))

    def _run_hooks(self, hooks: Sequence[Callable[[], None]]) -> None:
        """A bug in one leaves memory behind the disk; only a new start reads it all again."""
        try:
            for hook in hooks:
                hook()
        except Exception as exc:  # noqa: BLE001 - it must not end this thread: all would wait for ever
            self.give_up(f"what was committed could not be taken over: {exc!r}")

    def _transact(
        self, batch: Sequence[_Job[Any]]
    ) -> tuple[list[tuple[_Job[Any], object]], Sequence[Callable[[], None]]]:
        connection = self._connection
        execute(connection, "BEGIN IMMEDIATE")
        try:
            if int(_setting(connection, EPOCH_KEY) or FIRST_EPOCH) != self.epoch:
                raise StaleEpoch(f"epoch {self.epoch} was taken over by another NameNode")
            txn = Txn(
                connection,
                txid=TxId(self._txid + 1),
                epoch=self.epoch,
                now_ms=self._clock.now_ms(),
                sequences=self._sequences,
            )
            answered = [
                pair for alike in _side_by_side(batch) for pair in self._attempt_all(txn, alike)
            ]
            record = self._append(txn)
            crashpoint.reach("nn.commit.before")
            execute(connection, "COMMIT")
        except BaseException:
            with contextlib.suppress(DBAPIError):
                execute(connection, "ROLLBACK")
            raise
        crashpoint.reach("nn.commit.after")
        if record:
            self._txid, self._hash = record.txid, record.hash
        return answered, txn.hooks()

    def _attempt_all(self, txn: Txn, jobs: Sequence[_Job[Any]]) -> list[tuple[_Job[Any], object]]:
        """Run requests that stand together; of those not refused, what they returned."""
        first = jobs[0].work
        if len(jobs) > 1 and isinstance(first, Joint):
            try:
                with savepoint(txn):
                    outcomes = first.together(txn, [job.work.item for job in jobs])  # type: ignore[attr-defined]
            except BaseException as exc:  # noqa: BLE001 - each by itself says what is wrong with it
                if isinstance(exc, DBAPIError) and _is_disk_trouble(exc):
                    raise
            else:
                return _settled(jobs, outcomes)
        return [pair for job in jobs if (pair := self._attempt(txn, job))]

    def _attempt(self, txn: Txn, job: _Job[Any]) -> tuple[_Job[Any], object] | None:
        """Run one request under a savepoint; None when it refused (its caller knows already)."""
        try:
            with savepoint(txn):
                return job, job.work(txn)
        except BaseException as exc:  # noqa: BLE001 - handed to the caller, who raises it
            if isinstance(exc, DBAPIError) and _is_disk_trouble(exc):
                raise
            job.refuse(exc)
            return None

    def _append(self, txn: Txn) -> Record | None:
        """The journal record of the batch, in its own transaction; none if nothing changed."""
        txn.put(SEQUENCE, *self._sequences.touched_rows())
        groups = txn.log.groups()
        if not groups:
            return None
        record = make_record(
            txid=txn.txid,
            epoch=self.epoch,
            prev_hash=self._hash,
            at_ms=txn.now_ms,
            groups=groups,
        )
        write_record(txn.connection, record)
        return record

    def _fail(self, batch: Sequence[_Job[Any]], exc: DBAPIError) -> None:
        """A batch that the database did not take: a full disk is survivable, the rest is not."""
        reason = str(exc.orig)
        if _sqlite_code(exc) == sqlite3.SQLITE_FULL:
            self._emit.emit(Event.DATABASE_FAILED, reason=reason, fatal=False)
            _refuse(batch, DatabaseUnavailable("the metadata disk is full"))
            return
        self.give_up(reason)
        _refuse(batch, DatabaseUnavailable(self._broken))


def _side_by_side(batch: Sequence[_Job[Any]]) -> Iterator[list[_Job[Any]]]:
    """The batch in its order: neighbours that may be run together, and the others alone."""
    for together, jobs in itertools.groupby(batch, lambda job: getattr(job.work, "together", None)):
        if together is None:
            yield from ([job] for job in jobs)
        else:
            yield list(jobs)


def _settled(
    jobs: Sequence[_Job[Any]], outcomes: Sequence[object]
) -> list[tuple[_Job[Any], object]]:
    """Those that were not refused, each with what it returned."""
    answered = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        if isinstance(outcome, DfsError):
            job.refuse(outcome)
        else:
            answered.append((job, outcome))
    return answered


def _sqlite_code(exc: DBAPIError) -> int:
    """SQLite's primary result code; 0 for what another database said."""
    return getattr(exc.orig, "sqlite_errorcode", 0) & 0xFF


def _is_disk_trouble(exc: DBAPIError) -> bool:
    """Whether the disk or the file is to blame, and not the statement (which is a bug of ours)."""
    return _sqlite_code(exc) in _DISK_TROUBLE


def _refuse(batch: Sequence[_Job[Any]], exc: Exception) -> None:
    for job in batch:
        if not job.is_done:
            job.refuse(exc)


def _setting(connection: Connection, key: str) -> str | None:
    rows = _SETTING.run(connection, key=key)
    return rows[0][0] if rows else None


@contextlib.contextmanager
def savepoint(txn: Txn) -> Iterator[None]:
    """Undo what the block did if it raises, and let the error go on.

    For batches whose items stand or fall alone, and the requests that share a transaction.  They
    nest: SQLite goes back to the newest savepoint of the name.
    """
    mark = txn.mark()
    execute(txn.connection, "SAVEPOINT item")
    try:
        yield
    except BaseException:
        if is_open(txn.connection):  # a full disk makes SQLite undo the whole transaction
            execute(txn.connection, "ROLLBACK TO item")
            execute(txn.connection, "RELEASE item")
        txn.rewind(mark)
        raise
    execute(txn.connection, "RELEASE item")
