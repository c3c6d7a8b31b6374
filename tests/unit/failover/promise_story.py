"""A voter that is asked for one epoch after the other, ended at every crash point.

Run as a program of its own (`python -m tests.unit.failover.voter_story FOLDER`), as it
forks.  Prints one JSON object: the points passed, and the promises broken.
"""

import json
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dfs.base import crashpoint
from dfs.base.clock import SystemClock
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import VoterHost, open_voter
from dfs.ha.messages import Letter, Prepare, Promise
from dfs.ha.rows import VoterRow, first_rows
from dfs.ha.timers import Timers
from tests.unit.blockstore.crash_story import in_child, passed

EPOCHS = 4
WAIT_S = 20


class Told:
    """What was said, kept outside the voter; and the newest epoch promised by it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.said = threading.Event()

    def send(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            assert isinstance(letter.body, Promise), letter
            self._file.write_text(str(letter.body.epoch))
            self.said.set()

    def epoch(self) -> int:
        return int(self._file.read_text()) if self._file.exists() else 1


def live(folder: Path) -> None:
    told = Told(folder / "told")
    path = folder / "voter"
    if not path.exists():
        RowFile(path, VoterRow).keep(first_rows(cluster="c", member="A", voters=("v",))[1][0])
    file = open_voter(path, cluster="c")
    timers, clock = Timers(), SystemClock()
    failed: list[str] = []
    host = VoterHost(file, timers=timers, sender=told, clock=clock, on_failure=failed.append)
    host.start()
    for epoch in range(host.row.promised + 1, EPOCHS):
        told.said.clear()
        host.take(Letter("c", "A", "v", Prepare(epoch, (1, 0))))
        assert told.said.wait(WAIT_S)
    host.stop()
    assert failed == []


def judge(folder: Path) -> None:
    """No promise that was told is forgotten, and it promises on."""
    row = RowFile(folder / "voter", VoterRow).load()
    promised = row.promised if row else 1
    told = Told(folder / "told").epoch()
    assert told <= promised <= told + 1, (told, promised)
    live(folder)
    last = RowFile(folder / "voter", VoterRow).load()
    assert last is not None
    assert last.promised == EPOCHS - 1


def main(root: Path) -> None:
    log, golden, broken = root / "passed", root / "golden", []
    golden.mkdir()
    assert in_child(partial(live, golden), {"DFS_CRASHPOINT_LOG": str(log)}) == 0
    points = passed(log, EPOCHS)
    for point in points:
        folder = root / point
        folder.mkdir()
        died = in_child(partial(live, folder), {"DFS_CRASHPOINT": point})
        if died != crashpoint.CRASH_EXIT_CODE or in_child(partial(judge, folder), {}) != 0:
            broken.append(point)
    print(json.dumps({"points": points, "broken": broken}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
