"""The product with one rule broken, and the quick test that has to find it out.

A table of mutants is a program of its own (`python -m TABLE [NAME ...]`), so that no mutant
outlives its test.  It calls `report`, which prints one JSON object: what became of each test.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 170.0  # for a whole table


@dataclass(frozen=True)
class Mutant:
    """What stands in whose place, and the test that has to fail for it."""

    owner: Any
    name: str
    broken: Any
    caught_by: str


def outcome_of(
    mutant: Mutant, hurry: Callable[[pytest.MonkeyPatch], None] = lambda _patch: None
) -> pytest.ExitCode:
    """Run its test over the mutant.

    Args:
        hurry: shortens what is waited for that cannot come about.
    """
    asked = [f"{ROOT / mutant.caught_by}", "-xq", "--timeout=20", f"--rootdir={ROOT}"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(mutant.owner, mutant.name, mutant.broken)
        hurry(patch)
        return pytest.ExitCode(pytest.main([*asked, "-c", str(ROOT / "setup.cfg")]))


def report(
    mutants: Mapping[str, Mutant],
    hurry: Callable[[pytest.MonkeyPatch], None] = lambda _patch: None,
) -> None:
    """The program of a table."""
    wanted = sys.argv[1:] or list(mutants)
    print(json.dumps({name: outcome_of(mutants[name], hurry).name for name in wanted}))


def outcomes_of(table: str) -> dict[str, str]:
    """Run a table; by mutant, the name of an exit code of pytest."""
    run = subprocess.run(
        [sys.executable, "-m", table],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return found
