"""No promise that somebody was told of is forgotten, wherever the process dies."""

from pathlib import Path

import pytest

from tests.crash_sweep import ROOT, named, swept

FAILOVER = ROOT / "dfs" / "failover"


@pytest.mark.parametrize("role", ["voter", "member"])
def test_promise_that_was_told_is_kept_whichever_crash_point_its_process_dies_at(
    role: str, tmp_path: Path
) -> None:
    points = swept("tests.unit.failover.promise_story", role, str(tmp_path))
    assert points == named([FAILOVER / "row_file.py", FAILOVER / f"{role}_host.py"])
