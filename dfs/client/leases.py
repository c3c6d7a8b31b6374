"""Keeps the writes of one client alive, all of them by one request every third of a lease's life.

A write whose lease turns out to be lost is marked, so that its sender stops instead of sending
blocks that no file will ever show.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.errors import DfsError, LeaseLost
from dfs.client.following import is_passing
from dfs.client.namenode_link import NamenodeLink, error_of
from dfs.wire.data_api import LeaseItem, LeasesRequest
from dfs.wire.routes import ABANDON, RENEW

BATCH_LEASES: Final = 1_000


@dataclass(slots=True)
class Lease:
    """A write under way."""

    inode: int
    token: str
    path: str
    lost: bool = False

    def check(self) -> None:
        """Refuse to go on with a write that was lost.

        Raises:
            LeaseLost: it was abandoned or taken over.
        """
        if self.lost:
            raise LeaseLost(f"{self.path}: the write was abandoned or taken over")

    @property
    def item(self) -> LeaseItem:
        """As it is said on the wire."""
        return LeaseItem(inode=self.inode, lease=self.token)


class LeaseKeeper:
    """Renews leases from a thread of its own, which runs while there are any.

    Args:
        interval_s: between renewals.
    """

    def __init__(self, link: NamenodeLink, *, interval_s: float) -> None:
        self._link = link
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._held: dict[int, Lease] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def keep(self, leases: Sequence[Lease]) -> None:
        """Renew them from now on."""
        with self._lock:
            self._held.update((lease.inode, lease) for lease in leases)
            if self._held and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dfs-leases", daemon=True)
                self._thread.start()

    def let_go(self, leases: Sequence[Lease]) -> None:
        """Renew them no more: they are complete, abandoned, or left to expire."""
        with self._lock:
            for lease in leases:
                self._held.pop(lease.inode, None)

    def abandon(self, leases: Sequence[Lease]) -> None:
        """Give writes up.  Asked once: a lease that is not abandoned expires by itself."""
        self.let_go(leases)
        for start in range(0, len(leases), BATCH_LEASES):
            items = [lease.item for lease in leases[start : start + BATCH_LEASES]]
            self._link.try_once(ABANDON, LeasesRequest(items=items))

    def is_held(self, lease: Lease) -> bool:
        """Whether the NameNode says that a write from an earlier run is still ours.

        Raises:
            DfsError: it could not be asked.
        """
        body = LeasesRequest(items=[lease.item])
        reply = self._link.call(RENEW, body, insist=True)
        return reply.outcomes[0].error is None

    def stop(self) -> None:
        """Renew nothing more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            with self._lock:
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            for start in range(0, len(held), BATCH_LEASES):
                self._renew(held[start : start + BATCH_LEASES])

    def _renew(self, leases: Sequence[Lease]) -> None:
        """A NameNode that does not answer is no reason to stop: the lease may well outlive that."""
        try:
            reply = self._link.call(RENEW, LeasesRequest(items=[lease.item for lease in leases]))
        except DfsError:
            return
        for lease, outcome in zip(leases, reply.outcomes, strict=True):
            if outcome.error is not None and not is_passing(error_of(outcome)):
                lease.lost = True
