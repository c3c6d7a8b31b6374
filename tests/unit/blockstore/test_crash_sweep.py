"""A block store that dies at any of its crash points keeps its promises."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("sweep")
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.blockstore.crash_story", str(root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[str]] = json.loads(done.stdout)
    found["stderr"] = [done.stderr[-4000:]]
    return found


def test_store_keeps_its_promises_whichever_point_it_dies_at(
    swept: dict[str, list[str]],
) -> None:
    assert swept["broken"] == [], swept["stderr"][0]


def test_sweep_passes_every_crash_point_of_the_disk(swept: dict[str, list[str]]) -> None:
    named = {
        name
        for path in (ROOT / "dfs" / "blockstore").glob("*.py")
        for name in re.findall(r'crashpoint\.reach\("([^"]+)"\)', path.read_text())
    }
    assert named == {point.partition(":")[0] for point in swept["points"]}
    assert all(name.startswith("dn.") for name in named)
