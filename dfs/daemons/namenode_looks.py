"""What a NameNode looks at every second, beside what its member does.

Whoever leads: whether this machine could lead well, and what was kept aside for long enough.  While
it follows: who is where, as its journal says by now, and what may be trimmed.
"""

from pathlib import Path
from typing import Final

from dfs.base.errors import DfsError
from dfs.base.events import Event
from dfs.base.units import MiB, format_size
from dfs.daemons.namenode_following import Company, Following
from dfs.daemons.namenode_helm import Helm
from dfs.failover.journal_store import JournalStore
from dfs.failover.member_host import MemberHost
from dfs.failover.snapshots import free_bytes
from dfs.ha.effects import Fitness
from dfs.nodes.loops import Loop

LOOK_S: Final = 1.0
JOIN_S: Final = 5.0
FREE_MIN_BYTES: Final = 16 * MiB  # who has less hands the lead over, and does not ask for it


def hindrance_of(folder: Path, left_bytes: int) -> str:
    """Why a NameNode with so much room left does not lead well; empty: nothing hinders it."""
    if left_bytes >= FREE_MIN_BYTES:
        return ""
    return f"the disk of {folder} has {format_size(left_bytes)} left"


class Looks:
    """See the module."""

    def __init__(
        self,
        beside: Company,
        host: MemberHost,
        *,
        helm: Helm,
        following: Following,
        store: JournalStore,
    ) -> None:
        self._beside = beside
        self._host = host
        self._helm = helm
        self._following = following
        self._store = store
        self._hindrance = ""
        self._loop = Loop("roll", self._look)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """Begin no other look, and wait for the one under way."""
        self._loop.stop()
        self._loop.join(JOIN_S)

    def _look(self) -> float:
        self._feel()
        try:
            if self._helm.reign is None:
                self._following.look()
                self._trim()
            self._store.forget_diverged(self._beside.clock.now_ms())
        except DfsError as err:
            self._beside.log.emit(Event.STANDBY_FAULT, code=err.code, why=err.message)
        return LOOK_S

    def _feel(self) -> None:
        """Let the member know while this machine could not lead well; once more when it can."""
        folder = self._beside.folder.root
        try:
            hindrance = hindrance_of(folder, free_bytes(folder))
        except OSError as exc:
            hindrance = f"the disk of {folder} does not answer: {exc.strerror}"
        if hindrance or self._hindrance:
            self._host.tell(Fitness(hindrance))
        self._hindrance = hindrance

    def _trim(self) -> None:
        """What a leader trims from its journal, it does not write into its journal."""
        namenode, now_ms = self._beside.config.namenode, self._beside.clock.now_ms()
        self._store.trim(
            older_than_ms=now_ms - int(namenode.journal_keep_s * 1000),
            records_max=namenode.journal_records_max,
            answers_before_ms=now_ms - int(namenode.retry_cache_keep_s * 1000),
        )
