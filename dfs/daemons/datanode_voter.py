"""The voter in a DataNode's process: in which data folder it lives, and what becomes of it.

A voter is as old as its row: it lives where its row is, whatever the order of the folders, so that
each start finds the one that promised.  Where several folders have a row, since a disk was away for
a while, it is the one that promised last.  The first start, and one without the disk of the row,
makes another voter in the first folder that takes writes; it has no vote until a leader takes it in
the place of the old one, and never speaks at the same time as that.

A DataNode is there for its blocks.  When no folder has a voter that can be trusted, or its disk
fails later, it goes on without one: a voter that says nothing breaks no promise.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DfsError, Starting
from dfs.base.events import Emitter, Event
from dfs.failover.post_office import PostState
from dfs.failover.row_file import RowFile
from dfs.failover.voter_house import VOTER_FILE, VoterHouse
from dfs.ha.rows import VoterRow
from dfs.wire.ha_api import Correspondents

_Age = tuple[int, tuple[int, int], tuple[int, int]]
_UNBORN: Final[_Age] = (-1, (-1, -1), (-1, -1))


class DatanodeVoter:
    """See the module.  Safe to share between threads; empty until `open`."""

    def __init__(self, *, clock: Clock, emit: Emitter) -> None:
        self._clock = clock
        self._emit = emit
        self._house: VoterHouse | None = None
        self.failed = ""  # why it says nothing until the next start

    @property
    def voter(self) -> str:
        """Its uuid; "" while there is none."""
        return self._house.voter if self._house is not None else ""

    @property
    def promised(self) -> int:
        """The epoch it promised; 0 for none."""
        return self._house.row.promised if self._house is not None else 0

    @property
    def version(self) -> int:
        """See `VoterHouse`."""
        return self._house.version if self._house is not None else 0

    def open(self, folders: Sequence[Path], *, cluster: str) -> None:
        """Take up the voter of these data folders, and begin.

        Args:
            folders: those that take writes, in their configured order.
        """
        for folder in self._by_age(folders):
            try:
                self._house = VoterHouse(
                    folder,
                    cluster=cluster,
                    clock=self._clock,
                    on_failure=self._fail,
                    emit=self._emit,
                )
            except DfsError as err:
                self._fail(err.message)
                continue
            self.failed = ""
            self._house.start()
            return

    def learn(self, told: Correspondents) -> bool:
        """See `VoterHouse`."""
        return self._house is not None and self._house.learn(told)

    def receive(self, raw: bytes) -> None:
        """See `VoterHouse`.

        Raises:
            Starting: there is no voter here yet, or none was told of anybody.
            DfsError: the envelope is refused.
        """
        if self._house is None:
            raise Starting("this DataNode has no voter now", hint="see its /health and its log")
        self._house.receive(raw)

    def state(self) -> PostState | None:
        """See `VoterHouse`."""
        return self._house.state() if self._house is not None else None

    def stop(self) -> None:
        """Say nothing more; wait for what is being written."""
        if self._house is not None:
            self._house.stop()

    def _by_age(self, folders: Sequence[Path]) -> list[Path]:
        """First the one whose voter promised last; where a row is damaged it stays as it is."""
        ages: dict[Path, _Age] = {}
        for folder in folders:
            try:
                ages[folder] = _age(RowFile(folder / VOTER_FILE, VoterRow).load())
            except DfsError as err:
                self._fail(err.message)
        return sorted(ages, key=lambda folder: ages[folder], reverse=True)

    def _fail(self, why: str) -> None:
        self.failed = why
        self._emit.emit(Event.VOTER_FAILED, why=why)


def _age(row: VoterRow | None) -> _Age:
    if row is None:
        return _UNBORN
    return row.promised, row.voters.version, row.accepted.order
