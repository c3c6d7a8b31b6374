"""A voter's row that is replaced again and again, ended at every crash point, and what is left.

Run as a program of its own (`python -m tests.unit.failover.row_story FOLDER`), as it forks.  Prints
one JSON object: the points passed, and the promises broken.
"""

import sys
from pathlib import Path

from msgspec.structs import replace

from dfs.failover.row_file import RowFile
from dfs.ha.rows import VoterRow
from tests.crash_sweep import sweep

EPOCHS = 4


def live(folder: Path) -> None:
    """Promise one epoch after the other, and tell of each when it is kept."""
    file = RowFile(folder / "voter", VoterRow)
    row = VoterRow("v", "c")
    for epoch in range(1, EPOCHS):
        row = replace(row, promised=epoch, promised_to="A" * 1000 * epoch)
        file.keep(row)
        (folder / "told").write_text(str(epoch))


def judge(folder: Path) -> None:
    """What was told is known, whole; then it goes on."""
    told_file = folder / "told"
    told = int(told_file.read_text()) if told_file.exists() else 0
    row = RowFile(folder / "voter", VoterRow).load()
    promised = row.promised if row else 0
    assert told <= promised <= told + 1, (told, promised)
    assert row is None or row.promised_to == "A" * 1000 * promised
    live(folder)
    last = RowFile(folder / "voter", VoterRow).load()
    assert last is not None
    assert last.promised == EPOCHS - 1


if __name__ == "__main__":
    print(sweep(Path(sys.argv[1]), EPOCHS, live, judge))
