"""The one writer: requests queue, a batch of them runs in one transaction, one fsync answers all.

Each request runs under a savepoint, so a refused one leaves nothing while its neighbours go on.
The order of effects of a batch:

    1 BEGIN IMMEDIATE; the epoch in the database is still ours, or nothing happens (StaleEpoch)
    2 every request's rows, then the counters, then the journal record
    3 the record is shipped to who has to have it first (`Shipping`), or the batch is rolled back
    4 COMMIT (synchronous=FULL: on the disk when it returns)
    5 after-commit hooks
    6 every caller is told, once the record is acknowledged

Requests of one kind that stand side by side in a batch may be run in one step (`Joint`): most of
what each costs by itself is asking the database.

What a caller is told rests on every batch up to his: also a refusal, or the answer of a request
that was done before, waits for the newest record there is.

A crash before 4 leaves no trace of the batch here; after 4 the retry cache answers who asks again.
A commit that fails is rolled back and refuses its whole batch; when even that fails, or the disk
reports an error, the writer stops for good and `on_fatal` ends the process: going on with a handle
that has seen an I/O error is how databases lose data.  So does a commit that fails after its
record was shipped: others have it, and nobody knows what is here.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, bindparam, select
from sqlalchemy.exc import DBAPIError

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import (
    DatabaseUnavailable,
    DfsError,
    LimitExceeded,
    Overloaded,
    StaleEpoch,
    Stopping,
)
from dfs.base.events import Emitter, Event
from dfs.base.ids import FIRST_EPOCH, Epoch, TxId
from dfs.meta.cluster_tables import SEQUENCE, SETTING
from dfs.meta.jobs import Job, Joint, refuse_all, settled, side_by_side
from dfs.meta.journal import (
    GENESIS_HASH,
    RECORD_BYTES_MAX,
    Record,
    last_record,
    make_record,
    write_records,
)
from dfs.meta.prepared import Prepared, execute, is_open
from dfs.meta.retry_cache import RequestKey, once
from dfs.meta.session import is_disk_trouble, is_full
from dfs.meta.shipping import Shipping, Unshipped
from dfs.meta.txn import Sequences, Txn
from dfs.meta.wal import WriteAheadLog
from dfs.settings.sections import LimitsConfig, NamenodeConfig

T = TypeVar("T")

EPOCH_KEY: Final = "epoch"
_SETTING: Final = Prepared(select(SETTING.c.value).where(SETTING.c.key == bindparam("key")))
IDLE_WAIT_S: Final = 1.0  # after so long without a request the WAL is folded back whole


class _TooLarge(Exception):  # noqa: N818 - it is answered, or made smaller
    """The record of a batch would be longer than a record may be."""


class _Done(NamedTuple):
    """A batch that was committed."""

    answered: list[tuple[Job[Any], object]]
    hooks: Sequence[Callable[[], None]]
    record: Record | None


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
        self._queue: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._waiting_max = limits.queue_requests_max
        self._gate = threading.Lock()  # nothing may queue behind the end
        self._sequences = Sequences()
        self._stopping = False
        self._broken = ""
        self._shipping: Shipping = Unshipped()
        self._is_told_at_once = True
        # Held by who tells callers or refuses them.  A member takes it in its turn (`acknowledge`,
        # `depose`), so no word goes to `Shipping`, which waits for that turn, while it is held.
        self._telling = threading.Lock()
        self._untold: deque[tuple[TxId, Sequence[Job[Any]]]] = deque()
        self._deposed: DfsError | None = None
        self._epoch_there = epoch_of(self._connection)
        self.epoch = self._epoch_there
        newest = last_record(self._connection)
        self._txid = newest.txid if newest else TxId(0)
        self._hash = newest.hash if newest else GENESIS_HASH
        self._acknowledged = self._txid
        self.opened_txid = self._txid  # the newest transaction when this run began
        self._thread = threading.Thread(target=self._run, name="meta-writer", daemon=True)
        self._thread.start()

    def lead(self, epoch: Epoch, shipping: Shipping) -> None:
        """Write in that epoch, which the next transaction says, and ship each record.

        For whoever made this object, before he hands it on.
        """
        self.epoch = epoch
        self._shipping = shipping
        self._is_told_at_once = False

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
        job = Job(work, lambda _job: told.release())
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
        self._put(Job(work, lambda job: then(job.result)))

    def answer(self, key: RequestKey, work: Callable[[Txn], bytes]) -> bytes:
        """As `submit`, but a request already answered under `key` is answered the same, undone.

        Raises:
            as `submit`.
        """
        return self.submit(once(key, work))

    def acknowledge(self, txid: int) -> None:
        """Callers of every transaction up to that one may be told."""
        with self._telling:
            self._acknowledged = TxId(max(self._acknowledged, txid))
            told = self._deposed is None
            while told and self._untold and self._untold[0][0] <= txid:
                self._tell(self._untold.popleft()[1])

    def depose(self, error: DfsError) -> None:
        """Refuse everything with that from now on, also what is done and not told: nobody knows
        what becomes of it.
        """
        with self._telling:
            self._deposed = self._deposed or error
            while self._untold:
                _, batch = self._untold.popleft()
                for job in batch:
                    job.refuse(error)
                self._tell(batch)

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

    def _put(self, job: Job[Any]) -> None:
        if self._broken:
            raise DatabaseUnavailable(self._broken)
        if self._deposed is not None:
            raise self._deposed
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
            if not self._broken:
                self._log.fold_if_long()
            if stop:
                return

    def _gather(self, first: Job[Any]) -> tuple[list[Job[Any]], bool]:
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

    def _commit(self, batch: Sequence[Job[Any]]) -> None:
        """Run a batch, and tell its callers once what they are told is sure to stay."""
        error: Exception | None = self._deposed
        if self._broken:
            error = DatabaseUnavailable(self._broken)
        done: _Done | None = None
        if error is None:
            try:
                done = self._transact(batch)
            except _TooLarge as exc:
                self._commit_in_parts(batch, exc)
                return
            except DBAPIError as exc:
                error = self._failed(exc)
            except Exception as exc:  # noqa: BLE001 - ours, or a bug; the batch's callers raise it
                error = exc
        if done is None:
            assert error is not None
            refuse_all(batch, error)
        else:
            self._run_hooks(done.hooks)
            for job, result in done.answered:
                job.answer(result)
        self._tell_when_sure(batch)
        if done is not None and done.record is not None:
            self._shipping.committed(done.record)

    def _commit_in_parts(self, batch: Sequence[Job[Any]], exc: Exception) -> None:
        """A record is bounded: what is too much together may do one by one."""
        if len(batch) == 1:
            refuse_all(batch, LimitExceeded(str(exc), hint="ask for less at once"))
            self._tell_when_sure(batch)
            return
        for job in batch:
            job.renew()
            self._commit([job])

    def _tell_when_sure(self, batch: Sequence[Job[Any]]) -> None:
        with self._telling:
            if self._deposed is not None:
                for job in batch:
                    job.refuse(self._deposed)
            elif not self._is_told_at_once and self._txid > self._acknowledged:
                self._untold.append((self._txid, batch))
                return
            self._tell(batch)

    def _tell(self, batch: Sequence[Job[Any]]) -> None:
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

    def _transact(self, batch: Sequence[Job[Any]]) -> _Done:
        connection = self._connection
        execute(connection, "BEGIN IMMEDIATE")
        try:
            if epoch_of(connection) != self._epoch_there:
                raise StaleEpoch(f"epoch {self.epoch} was taken over by another NameNode")
            txn = Txn(
                connection,
                txid=TxId(self._txid + 1),
                epoch=self.epoch,
                now_ms=self._clock.now_ms(),
                sequences=self._sequences,
            )
            if self.epoch != self._epoch_there:
                txn.put(SETTING, {"key": EPOCH_KEY, "value": str(self.epoch)})
            answered = [
                pair for alike in side_by_side(batch) for pair in self._attempt_all(txn, alike)
            ]
            record = self._append(txn)
            self._ship(record)
        except BaseException:
            self._roll_back()
            raise
        try:
            crashpoint.reach("nn.commit.before")
            execute(connection, "COMMIT")
        except BaseException as exc:
            self._roll_back()
            gone = not is_open(self._connection)
            if record and not (gone and self._shipping.rolled_back(record, str(exc))):
                self.give_up(f"a record that others have could not be committed: {exc}")
            raise
        crashpoint.reach("nn.commit.after")
        self._epoch_there = self.epoch
        if record:
            self._txid, self._hash = record.txid, record.hash
        return _Done(answered, txn.hooks(), record)

    def _ship(self, record: Record | None) -> None:
        if record is None:
            return
        refusal = self._shipping.propose(record)
        if refusal is not None:
            raise refusal

    def _roll_back(self) -> None:
        with contextlib.suppress(DBAPIError):
            execute(self._connection, "ROLLBACK")

    def _attempt_all(self, txn: Txn, jobs: Sequence[Job[Any]]) -> list[tuple[Job[Any], object]]:
        """Run requests that stand together; of those not refused, what they returned."""
        first = jobs[0].work
        if len(jobs) > 1 and isinstance(first, Joint):
            try:
                with savepoint(txn):
                    outcomes = first.together(txn, [job.work.item for job in jobs])  # type: ignore[attr-defined]
            except BaseException as exc:  # noqa: BLE001 - each by itself says what is wrong with it
                if isinstance(exc, DBAPIError) and is_disk_trouble(exc):
                    raise
            else:
                return settled(jobs, outcomes)
        return [pair for job in jobs if (pair := self._attempt(txn, job))]

    def _attempt(self, txn: Txn, job: Job[Any]) -> tuple[Job[Any], object] | None:
        """Run one request under a savepoint; None when it refused (its caller knows already)."""
        try:
            with savepoint(txn):
                return job, job.work(txn)
        except BaseException as exc:  # noqa: BLE001 - handed to the caller, who raises it
            if isinstance(exc, DBAPIError) and is_disk_trouble(exc):
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
        if len(record.changes) > RECORD_BYTES_MAX:
            raise _TooLarge(f"changes of {len(record.changes)} bytes in one transaction")
        write_records(txn.connection, [record])
        return record

    def _failed(self, exc: DBAPIError) -> DfsError:
        """A batch that the database did not take: a full disk is survivable, the rest is not."""
        if self._broken:
            return DatabaseUnavailable(self._broken)
        reason = str(exc.orig)
        if is_full(exc):
            self._emit.emit(Event.DATABASE_FAILED, reason=reason, fatal=False)
            return DatabaseUnavailable("the metadata disk is full")
        self.give_up(reason)
        return DatabaseUnavailable(self._broken)


def epoch_of(connection: Connection) -> Epoch:
    """The epoch that the database is written in."""
    return Epoch(int(_setting(connection, EPOCH_KEY) or FIRST_EPOCH))


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
