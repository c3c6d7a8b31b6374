"""The thread that owns a voter: letters and time in, its row onto the disk, its answers out.

    for each letter, and for each tick:
        1 the row is on the disk    (before anybody hears of what it says)
        2 the answers go out

When the disk does not take the row, nothing more is said and `on_failure` ends the process: what
the voter knows now, it may not know after the next start.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import DfsError, ForeignFolder
from dfs.failover.inbox import Inbox
from dfs.failover.row_file import RowFile
from dfs.ha.effects import Effects, Tick
from dfs.ha.messages import Letter
from dfs.ha.rows import VoterRow
from dfs.ha.timers import Timers
from dfs.ha.voter import Voter

JOIN_S: Final = 5.0  # for a write that is under way


class Sender(Protocol):
    """Where letters go; `PostOffice` is the one in use."""

    def send(self, letters: Sequence[Letter]) -> None:
        """Let them go, without waiting."""
        ...


def open_voter(path: Path, *, cluster: str) -> RowFile[VoterRow]:
    """The file of this machine's voter, made if there is none: then it is a new voter.

    A new one has no vote until a leader takes it among the voters.

    Raises:
        ForeignFolder: it is a voter of another cluster.
        MetadataCorrupt, SchemaMismatch, LocalIoError: see `RowFile`.
    """
    file = RowFile(path, VoterRow)
    row = file.load()
    if row is None:
        file.keep(VoterRow(new_id(), cluster))
    elif row.cluster != cluster:
        raise ForeignFolder(
            f"{path} is of a voter of cluster {row.cluster}, and this is cluster {cluster}",
            hint="name the data folder that this daemon has in this cluster, with --data",
        )
    return file


class VoterHost:
    """See the module.

    Args:
        file: from `open_voter`; nobody else writes it.
        on_failure: ends the process; called at most once, in the voter's thread.
    """

    def __init__(
        self,
        file: RowFile[VoterRow],
        *,
        timers: Timers,
        sender: Sender,
        clock: Clock,
        on_failure: Callable[[str], None],
    ) -> None:
        row = file.load()
        assert row is not None, "open_voter made it"
        self._file = file
        self._row = row
        self._timers = timers
        self._sender = sender
        self._clock = clock
        self._on_failure = on_failure
        self._inbox: Inbox[Tick] = Inbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="voter", daemon=True)

    @property
    def name(self) -> str:
        """The voter's uuid, to which letters are addressed."""
        return self._row.voter

    @property
    def row(self) -> VoterRow:
        """As it is on the disk."""
        return self._row

    @property
    def dropped(self) -> int:
        """Letters that came faster than they could be answered."""
        return self._inbox.dropped

    def start(self) -> None:
        """Listen."""
        self._thread.start()

    def take(self, letter: Letter) -> bool:
        """Take a letter in, without waiting; False when it was dropped."""
        return self._inbox.offer(letter)

    def stop(self) -> bool:
        """Say nothing more, and wait for what is being written; False: that is still going on."""
        self._stopping.set()
        self._inbox.close()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        now_s = self._clock.monotonic_s()
        voter = Voter(self._row, timers=self._timers, run=new_id(), now_s=now_s)
        tick_s = now_s + self._timers.tick_s
        try:
            while not self._stopping.is_set():
                letter = self._inbox.take(tick_s - self._clock.monotonic_s())
                now_s = self._clock.monotonic_s()
                if isinstance(letter, Letter):
                    self._perform(voter.step(now_s, letter))
                if now_s >= tick_s:
                    self._perform(voter.step(now_s, Tick()))
                    tick_s = now_s + self._timers.tick_s
        except DfsError as err:
            self._stopping.set()
            self._on_failure(err.message)
        finally:
            self._inbox.close()

    def _perform(self, effects: Effects) -> None:
        """One batch; its order is the contract (see the module).

        Raises:
            LocalIoError: the row may not be on the disk; nothing of the batch was said.
        """
        if effects.row is not None:
            assert isinstance(effects.row, VoterRow)
            assert effects.row.promised >= self._row.promised
            self._file.keep(effects.row)
            self._row = effects.row
        crashpoint.reach("nn.ha.voter.answering")
        if effects.letters and not self._stopping.is_set():
            self._sender.send(effects.letters)
