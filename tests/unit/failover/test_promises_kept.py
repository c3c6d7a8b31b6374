"""No promise that somebody was told of is forgotten, wherever the process dies."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("role", ["voter", "member"])
def test_promise_that_was_told_is_kept_whichever_crash_point_its_process_dies_at(
    role: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.failover.promise_story", role, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    swept = json.loads(done.stdout)
    assert swept["broken"] == [], done.stderr[-4000:]
    assert {point.partition(":")[0] for point in swept["points"]} == _named(
        "row_file.py", f"{role}_host.py"
    )


def _named(*files: str) -> set[str]:
    """Every crash point that such a host passes."""
    sources = ((ROOT / "dfs" / "failover" / file).read_text() for file in files)
    return {
        name for text in sources for name in re.findall(r'crashpoint\.reach\("([^"]+)"\)', text)
    }
