"""Leases: one client writes a path at a time, and an abandoned write ends by itself.

A lease's row is durable; when it was last heard of is not, and counts from the start of this
process, so a restart or a clock that jumps cannot end every write at once.  After the soft limit
another client may take the path over; after the hard limit the expiry job gives the write up.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from sqlalchemy import select

from dfs.base.clock import Clock
from dfs.base.errors import LeaseLost
from dfs.base.events import Emitter, Event
from dfs.base.ids import BlockId, InodeId, UserId
from dfs.base.records import Principal
from dfs.blocks.blockmap import allocated, discard
from dfs.meta.prepared import ByKeys
from dfs.meta.session import Reader
from dfs.meta.tables import INODE, LEASE
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import NamenodeConfig

EXPIRE_MAX: Final = 500  # writes given up in one transaction
_LEASES: Final = ByKeys(select(LEASE), LEASE.c.inode)
_LEASES_OF_NAMES: Final = ByKeys(select(LEASE), LEASE.c.parent, LEASE.c.name)


@dataclass(frozen=True, slots=True)
class Lease:
    """A row of `lease`; see `LeaseRow`."""

    inode: InodeId
    secret: str
    parent: InodeId
    name: str
    path: str
    user: UserId
    overwrite: int
    created_ms: int


_image: Final = attrgetter(*(column.key for column in LEASE.columns))  # its row


class LeaseClock:
    """When each write was last heard of, in seconds of this process.  Thread-safe.

    A write is heard within the transaction, not after its commit: the job that expires leases may
    share the batch, and would find the lease of a client that seems never to have spoken.  One that
    is undone leaves a number behind that no lease has.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_s = clock.monotonic_s()
        self._heard: dict[InodeId, float] = {}
        self._lock = threading.Lock()

    def hear(self, inodes: Iterable[InodeId]) -> None:
        """Their clients spoke now."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            self._heard.update((inode, now_s) for inode in inodes)

    def forget(self, inodes: Iterable[InodeId]) -> None:
        """Their writes are over."""
        with self._lock:
            for inode in inodes:
                self._heard.pop(inode, None)

    def silent_s(self, inode: InodeId) -> float:
        """How long its client has been silent."""
        return self._clock.monotonic_s() - self._heard.get(inode, self._start_s)


def put_leases(txn: Txn, leases: Sequence[Lease]) -> None:
    """Write leases."""
    txn.put_images(LEASE, [_image(lease) for lease in leases])


def find_leases(txn: Txn, inodes: Sequence[InodeId]) -> dict[InodeId, Lease]:
    """The leases of those inodes."""
    return {row[0]: Lease(*row) for row in _LEASES.run(txn.connection, inodes)}


def find_leases_of_names(
    txn: Txn, names: Sequence[tuple[InodeId, str]]
) -> dict[tuple[InodeId, str], Lease]:
    """The leases of writes to those (directory, name) pairs."""
    found = (Lease(*row) for row in _LEASES_OF_NAMES.run(txn.connection, names))
    return {(lease.parent, lease.name): lease for lease in found}


def check_lease(lease: Lease | None, secret: str, who: Principal) -> Lease:
    """The lease, if it is the caller's.

    Raises:
        LeaseLost: it ended, was taken over, or is somebody else's.
    """
    if lease is None or lease.secret != secret or lease.user != who.user:
        raise LeaseLost("the write is over: completed, given up, or taken over by another client")
    return lease


def give_up(txn: Txn, inodes: Sequence[InodeId], *, keep_ms: int) -> None:
    """End writes that will not complete: nothing of them was visible, their blocks are garbage.

    Args:
        keep_ms: how long replicas stay: as long as somebody may hold a token to write them, so
            that a late copy is known by the time the garbage is collected.
    """
    blocks: list[BlockId] = [block for rows in allocated(txn, inodes).values() for block in rows]
    discard(txn, blocks, reason="write given up", not_before_ms=txn.now_ms + keep_ms)
    txn.drop(LEASE, *((inode,) for inode in inodes))
    txn.drop(INODE, *((inode,) for inode in inodes))


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """What one pass did; `more` says that more writes are over."""

    open_writes: int
    given_up: int
    more: bool

    def __bool__(self) -> bool:
        """Whether anything was done; a pass without is no news."""
        return self.given_up > 0


class LeaseExpiry:
    """The job that ends writes whose clients have been silent beyond the hard limit.

    Looking for them is a reader's work; the writer's thread sees those that looked silent alone,
    and looks again.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        heard: LeaseClock,
        *,
        config: NamenodeConfig,
        emit: Emitter,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._heard = heard
        self._hard_s = config.lease_hard_s
        self._keep_ms = int(config.block_token_life_s * 1000)
        self._emit = emit

    def run_once(self) -> ExpiryReport:
        """One bounded pass."""
        with self._reader.view() as connection:
            open_writes = list(
                connection.execute(select(LEASE.c.inode).order_by(LEASE.c.inode)).scalars()
            )
        silent = [inode for inode in open_writes if self._is_over(inode)]
        ended = self._end(silent[:EXPIRE_MAX]) if silent else 0
        return ExpiryReport(len(open_writes), ended, more=len(silent) > EXPIRE_MAX)

    def _is_over(self, inode: InodeId) -> bool:
        return self._heard.silent_s(inode) > self._hard_s

    def _end(self, silent: Sequence[InodeId]) -> int:
        def work(txn: Txn) -> list[Lease]:
            over = [
                lease for lease in find_leases(txn, silent).values() if self._is_over(lease.inode)
            ]
            inodes = [lease.inode for lease in over]
            give_up(txn, inodes, keep_ms=self._keep_ms)
            txn.after_commit(lambda: self._heard.forget(inodes))
            return over

        ended = self._writer.submit(work)
        for lease in ended:
            self._emit.emit(Event.LEASE_EXPIRED, inode=lease.inode, path=lease.path)
        return len(ended)
