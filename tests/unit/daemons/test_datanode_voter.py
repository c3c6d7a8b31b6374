"""In which data folder a DataNode's voter lives, and that it lives nowhere else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import Starting
from dfs.base.events import Event, RecordingEmitter
from dfs.daemons.datanode_voter import DatanodeVoter
from dfs.failover.row_file import RowFile
from dfs.failover.voter_house import VOTER_FILE
from dfs.ha.rows import VoterRow, VoterSet

CLUSTER = "c" * 32


@pytest.fixture
def disks(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("one", "two", "three")]
    for each in made:
        each.mkdir()
    return made


@pytest.fixture
def begin() -> Iterator[Callable[..., DatanodeVoter]]:
    made: list[DatanodeVoter] = []

    def start(*folders: Path, log: RecordingEmitter | None = None) -> DatanodeVoter:
        for each in made:
            each.stop()
        made.append(DatanodeVoter(clock=SystemClock(), emit=log or RecordingEmitter()))
        made[-1].open(folders, cluster=CLUSTER)
        return made[-1]

    yield start
    for each in made:
        each.stop()


def keep(folder: Path, voter: str, *, promised: int = 0, number: int = 0) -> None:
    row = VoterRow(voter, CLUSTER, VoterSet(1, number, (voter,)), promised)
    RowFile(folder / VOTER_FILE, VoterRow).keep(row)


def with_rows(disks: list[Path]) -> list[str]:
    return [each.name for each in disks if (each / VOTER_FILE).exists()]


def test_first_start_makes_one_voter_in_the_first_folder(begin, disks: list[Path]) -> None:
    voter = begin(*disks).voter
    assert voter
    assert with_rows(disks) == ["one"]
    assert begin(*disks).voter == voter


def test_voter_is_found_whatever_the_order_of_the_folders_and_when_some_are_added(
    begin, disks: list[Path]
) -> None:
    voter = begin(disks[1]).voter
    assert begin(*disks).voter == voter
    assert begin(disks[2], disks[1], disks[0]).voter == voter
    assert with_rows(disks) == ["two"]


def test_start_without_the_disk_of_the_voter_makes_another_one(begin, disks: list[Path]) -> None:
    voter = begin(*disks).voter
    other = begin(*disks[1:]).voter
    assert other not in {"", voter}
    assert with_rows(disks) == ["one", "two"]


@pytest.mark.parametrize(
    ("one", "two", "chosen"),
    [
        ({}, {}, "v1"),
        ({"promised": 3}, {}, "v1"),
        ({"promised": 3}, {"promised": 4}, "v2"),
        ({"promised": 4}, {"promised": 4, "number": 2}, "v2"),
    ],
)
def test_of_two_voters_the_one_speaks_that_promised_last(
    begin, disks: list[Path], one: dict[str, int], two: dict[str, int], chosen: str
) -> None:
    keep(disks[0], "v1", **one)
    keep(disks[1], "v2", **two)
    assert begin(*disks).voter == chosen
    assert begin(*reversed(disks)).promised == max(each.get("promised", 0) for each in (one, two))


def test_damaged_voter_stays_as_it_is_and_another_is_made_elsewhere(
    begin, disks: list[Path]
) -> None:
    (disks[0] / VOTER_FILE).write_bytes(b"rubbish")
    log = RecordingEmitter()
    made = begin(*disks, log=log)
    assert (made.voter != "", made.failed) == (True, "")
    assert with_rows(disks) == ["one", "two"]
    assert (disks[0] / VOTER_FILE).read_bytes() == b"rubbish"
    assert [event for event, _facts in log.events] == [Event.VOTER_FAILED]


def test_datanode_without_a_folder_for_a_voter_goes_on_without(begin, disks: list[Path]) -> None:
    (disks[0] / VOTER_FILE).write_bytes(b"rubbish")
    for made in (begin(disks[0]), begin()):
        assert (made.voter, made.promised, made.version, made.state()) == ("", 0, 0, None)
        with pytest.raises(Starting):
            made.receive(b"")
    assert "damaged" in begin(disks[0]).failed


def test_voter_of_another_cluster_is_left_alone(begin, disks: list[Path]) -> None:
    RowFile(disks[0] / VOTER_FILE, VoterRow).keep(VoterRow("foreign", "d" * 32, promised=9))
    assert begin(*disks).voter not in {"", "foreign"}
    assert with_rows(disks) == ["one", "two"]
