"""`dfs-local`: what its command line refuses before anything is made."""

from pathlib import Path

import pytest

from dfs.local.cluster import DATANODES_MAX, NAMENODES_MAX
from dfs.local.main import main


@pytest.mark.parametrize("count", ["0", "-1", str(DATANODES_MAX + 1), "some"])
def test_up_refuses_no_datanodes_and_too_many_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    folder = tmp_path / "cluster"
    with pytest.raises(SystemExit, match="2"):
        main(["up", "--data", str(folder), f"--datanodes={count}"])
    assert (
        f"--datanodes: a number from 1 to {DATANODES_MAX}, not {count}" in capsys.readouterr().err
    )
    assert not folder.exists()


@pytest.mark.parametrize("count", ["0", str(NAMENODES_MAX + 1), "two"])
def test_up_refuses_no_namenodes_and_too_many_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    folder = tmp_path / "cluster"
    with pytest.raises(SystemExit, match="2"):
        main(["up", "--data", str(folder), f"--namenodes={count}"])
    assert (
        f"--namenodes: a number from 1 to {NAMENODES_MAX}, not {count}" in capsys.readouterr().err
    )
    assert not folder.exists()


def test_help_says_that_the_machines_are_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "the machines are simulated" in " ".join(capsys.readouterr().out.split())
