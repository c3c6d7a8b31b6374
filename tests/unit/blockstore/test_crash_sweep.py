"""A block store that dies at any of its crash points keeps its promises."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MEMORY = Path("/dev/shm")  # a dead process loses nothing there, and thousands of folders are cheap


STORIES = ("crash_story", "crash_upkeep")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "hits", [pytest.param(0, id="last hit"), pytest.param(3, id="more", marks=pytest.mark.faults)]
)
def test_store_keeps_its_promises_whichever_crash_point_it_dies_at(hits: int) -> None:
    points = {point.partition(":")[0] for story in STORIES for point in _swept(story, hits)}
    assert points == _named()


def _swept(story: str, hits: int) -> list[str]:
    """The points at which the story was ended, besides their last hit; its promises were kept."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root:
        done = subprocess.run(
            [sys.executable, "-m", f"tests.unit.blockstore.{story}", root, str(hits)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=380,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    swept: dict[str, list[str]] = json.loads(done.stdout)
    assert swept["broken"] == [], done.stderr[-4000:]
    return swept["points"]


def _named() -> set[str]:
    """Every crash point in the package's source."""
    sources = (path.read_text() for path in (ROOT / "dfs" / "blockstore").glob("*.py"))
    return {
        name for text in sources for name in re.findall(r'crashpoint\.reach\("([^"]+)"\)', text)
    }
