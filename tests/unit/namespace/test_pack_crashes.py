"""A NameNode killed while packs are begun or committed shows all of their files or none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.meta.tables import BLOCK
from tests.metadata_checks import check_metadata, check_replay
from tests.namespace_rig import NamespaceRig
from tests.unit.namespace.pack_run import FILES

ROOT = Path(__file__).resolve().parents[3]


def put(folder: Path, *, crash_at: str = "") -> int:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.namespace.pack_run", str(folder)],
        cwd=ROOT,
        env=os.environ | {"DFS_CRASHPOINT": crash_at},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, CRASH_EXIT_CODE), run.stderr
    return run.returncode


@pytest.mark.parametrize(
    ("crash_at", "committed"),
    [
        ("nn.packs.begun", False),
        ("nn.commit.after:1", False),
        ("nn.packs.committed", False),
        ("nn.commit.before:2", False),
        ("nn.commit.after:2", True),
    ],
)
def test_files_of_a_pack_are_all_there_or_none_after_a_crash(
    tmp_path: Path, crash_at: str, *, committed: bool
) -> None:
    NamespaceRig(tmp_path).close()
    assert put(tmp_path, crash_at=crash_at) == CRASH_EXIT_CODE
    rig = NamespaceRig(tmp_path)
    assert [rig.exists(path) for path in FILES] == [committed] * len(FILES)
    rig.look(check_metadata)
    rig.close()
    assert put(tmp_path) == 0
    rig = NamespaceRig(tmp_path)
    assert all(rig.exists(path) for path in FILES)
    rig.advance(rig.config.namenode.lease_hard_s + 1)
    rig.expire_leases()
    states = rig.look(lambda c: c.execute(select(BLOCK.c.state)).scalars().all())
    assert sorted(set(states)) in (["committed"], ["committed", "garbage"])
    rig.look(check_metadata)
    rig.look(lambda c: check_replay(c, tmp_path))
    rig.close()
