import os
import subprocess
import sys
from pathlib import Path

import pytest

from dfs.base.crashpoint import CRASH_EXIT_CODE
from tests.unit.blocks.gc_run import opened

ROOT = Path(__file__).resolve().parents[3]


def collect(database: Path, disks: Path, *, crash_at: str = "") -> int:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.blocks.gc_run", str(database), str(disks)],
        cwd=ROOT,
        env=os.environ | {"DFS_CRASHPOINT": crash_at},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, CRASH_EXIT_CODE), run.stderr
    return run.returncode


@pytest.mark.parametrize(
    "crash_at",
    [
        "nn.gc.acknowledged:2",
        "nn.gc.ordered",
        "nn.gc.ordered:2",
        "nn.gc.forgotten",
        "nn.stock.full:2",
        "nn.node.registered:2",
        "nn.commit.before:3",
        "nn.commit.after:4",
    ],
)
def test_gc_ends_what_a_crash_interrupted_and_touches_nothing_else(
    database: Path, tmp_path: Path, crash_at: str
) -> None:
    disks = tmp_path / "disks"
    with opened(database) as rig:
        nodes = [rig.join(), rig.join()]
        rig.put_garbage(1, holders=nodes)
        rig.put_block(2, holders=nodes)
    for node in nodes:
        (disks / str(node)).mkdir(parents=True)
        for block in ("1", "2"):
            (disks / str(node) / block).touch()
    assert collect(database, disks, crash_at=crash_at) == CRASH_EXIT_CODE
    assert collect(database, disks) == 0
    with opened(database) as rig:
        assert rig.blocks() == {2}
        assert rig.queued() == set()
        for node in nodes:
            assert [file.name for file in (disks / str(node)).iterdir()] == ["2"]
            assert set(rig.locations(node)) == {2}
