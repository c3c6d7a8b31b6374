"""Pure: which disk of a DataNode gives to which, and how much, so that all are used alike.

Use is the share of a disk's size that block files take.  A disk is out of line when its use differs
from the mean by more than `threshold` times the mean.  The fullest gives to the emptiest, never
more than brings either to the mean: so each move lessens the difference, and levelling ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dfs.base.records import VolumeStatus
from dfs.base.states import VolumeState


@dataclass(frozen=True, slots=True)
class DiskMove:
    """So much may go from one volume to another."""

    source: str
    target: str
    size_bytes: int
    reason: str


def next_move(volumes: Sequence[VolumeStatus], *, threshold: float) -> DiskMove | None:
    """The next step towards the mean; None when every disk is near enough, or nothing can move."""
    disks = _disks(volumes)
    if len(disks) < 2:
        return None
    mean = _mean(disks)
    source = max(disks, key=_use)
    target = min((disk for disk in disks if disk is not source), key=_use)
    if all(abs(_use(disk) - mean) <= mean * threshold for disk in disks):
        return None
    size = min(_excess(source, mean), -_excess(target, mean), target.free_bytes)
    if size <= 0:
        return None
    reason = f"{_use(source):.1%} of {source.path} is used, {_use(target):.1%} of {target.path}"
    return DiskMove(source.volume, target.volume, size, reason)


def left_bytes(volumes: Sequence[VolumeStatus]) -> int:
    """What lies above the mean: the most that is left to move."""
    disks = _disks(volumes)
    if not disks:
        return 0
    mean = _mean(disks)
    return sum(max(0, _excess(disk, mean)) for disk in disks)


def _disks(volumes: Sequence[VolumeStatus]) -> list[VolumeStatus]:
    return [v for v in volumes if v.state is VolumeState.ONLINE and v.total_bytes > 0]


def _mean(disks: Sequence[VolumeStatus]) -> float:
    return sum(disk.used_bytes for disk in disks) / sum(disk.total_bytes for disk in disks)


def _use(disk: VolumeStatus) -> float:
    return disk.used_bytes / disk.total_bytes


def _excess(disk: VolumeStatus, mean: float) -> int:
    return disk.used_bytes - int(mean * disk.total_bytes)
