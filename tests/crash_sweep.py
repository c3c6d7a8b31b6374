"""A story that is told in processes of its own, each ended at another crash point it passes.

A story module calls `sweep` and prints what it returns (`python -m STORY ...`, as it forks); a test
calls `swept` with the module's name.
"""

import json
import os
import re
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from dfs.base import crashpoint

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 120


def in_child(act: Callable[[], None], environment: dict[str, str]) -> int:
    """Do it in a forked process; returns its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            crashpoint.arm(environment)
            act()
        except BaseException:  # noqa: BLE001 - a child has nobody to raise to
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def passed(log: Path, hits: int) -> list[str]:
    """The points passed, as `name:nth`: of each the first so many times and the last."""
    names = log.read_text().split()
    total, seen = Counter(names), Counter[str]()
    points = []
    for name in names:
        seen[name] += 1
        if seen[name] <= hits or seen[name] == total[name]:
            points.append(f"{name}:{seen[name]}")
    return points


def sweep(
    root: Path, hits: int, live: Callable[[Path], None], judge: Callable[[Path], None]
) -> str:
    """Live once, and then again to each point passed, in a folder each, and judge what is left.

    Returns:
        One JSON object: the points passed, and those after which a promise was broken.
    """
    log, golden, broken = root / "passed", root / "golden", []
    golden.mkdir()
    assert in_child(partial(live, golden), {"DFS_CRASHPOINT_LOG": str(log)}) == 0
    points = passed(log, hits)
    for point in points:
        folder = root / point
        folder.mkdir()
        died = in_child(partial(live, folder), {"DFS_CRASHPOINT": point})
        if died != crashpoint.CRASH_EXIT_CODE or in_child(partial(judge, folder), {}) != 0:
            broken.append(point)
    return json.dumps({"points": points, "broken": broken})


def swept(story: str, *words: str, within_s: float = WITHIN_S) -> set[str]:
    """The names of the points a story passes; after none of them a promise was broken."""
    done = subprocess.run(
        [sys.executable, "-m", story, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["broken"] == [], done.stderr[-4000:]
    return {point.partition(":")[0] for point in found["points"]}


def named(sources: Iterable[Path]) -> set[str]:
    """Every crash point of those files."""
    texts = (path.read_text() for path in sources)
    return {name for text in texts for name in re.findall(r'crashpoint\.reach\("([^"]+)"\)', text)}
