"""A voter or a member that promises one epoch after the other, ended at every crash point.

Run as a program of its own (`python -m tests.unit.failover.promise_story voter FOLDER`), as it
forks.  Prints one JSON object: the points passed, and the promises broken.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dfs.base.clock import SystemClock
from dfs.failover.member_host import MemberHost, Surroundings
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import VoterHost, open_voter
from dfs.ha.ground import Conduct
from dfs.ha.messages import Ack, Beat, Letter, Prepare, Promise
from dfs.ha.rows import NO_CONFIG, START, MemberRow, VoterRow, first_rows
from dfs.ha.timers import Timers
from tests.crash_sweep import sweep
from tests.unit.failover.member_rig import NameNode, Storage

EPOCHS = 4
WAIT_S = 20
MEMBER, (VOTER,) = first_rows(cluster="c", member="A", voters=("v",))


class Told:
    """What was said, kept outside; and the newest epoch promised by it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.said = threading.Event()

    def send(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            assert isinstance(letter.body, Promise | Ack), letter
            self._file.write_text(str(letter.body.epoch))
            self.said.set()

    def epoch(self) -> int:
        return int(self._file.read_text()) if self._file.exists() else 1


def live_as_voter(folder: Path) -> None:
    told, path = Told(folder / "told"), folder / "row"
    if not path.exists():
        RowFile(path, VoterRow).keep(VOTER)
    host = VoterHost(
        open_voter(path, cluster="c"),
        timers=Timers(),
        sender=told,
        clock=SystemClock(),
        on_failure=_fail,
    )
    _promise_on(host, told, lambda epoch: Letter("c", "A", "v", Prepare(epoch, (1, 0))))


def live_as_member(folder: Path) -> None:
    told, path = Told(folder / "told"), folder / "row"
    if not path.exists():
        RowFile(path, MemberRow).keep(MEMBER)
    storage = Storage({}, kept=1)
    around = Surroundings(
        journal=storage,
        service=NameNode(storage),
        sender=told,
        clock=SystemClock(),
        on_failure=_fail,
    )
    file = RowFile(path, MemberRow)
    host = MemberHost(file, around, timers=Timers(), conduct=Conduct())
    voters = MEMBER.voters
    _promise_on(
        host, told, lambda epoch: Letter("c", "B", "A", Beat(epoch, START, NO_CONFIG, voters))
    )


def _promise_on(host: VoterHost | MemberHost, told: Told, ask: Callable[[int], Letter]) -> None:
    host.start()
    for epoch in range(host.row.promised + 1, EPOCHS):
        told.said.clear()
        host.take(ask(epoch))
        assert told.said.wait(WAIT_S)
    host.stop()


def _fail(why: str) -> None:
    raise AssertionError(why)


LIVES: dict[str, tuple[Callable[[Path], None], type]] = {
    "voter": (live_as_voter, VoterRow),
    "member": (live_as_member, MemberRow),
}


def judge(role: str, folder: Path) -> None:
    """No promise that was told is forgotten, and it promises on."""
    live, kind = LIVES[role]
    file = RowFile(folder / "row", kind)
    row = file.load()
    promised = row.promised if row else 1
    told = Told(folder / "told").epoch()
    assert told <= promised <= told + 1, (told, promised)
    live(folder)
    assert file.load().promised == EPOCHS - 1


if __name__ == "__main__":
    role, root = sys.argv[1:]
    print(sweep(Path(root), EPOCHS, LIVES[role][0], partial(judge, role)))
