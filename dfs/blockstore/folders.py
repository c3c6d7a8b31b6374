"""Opening the data folders of one DataNode together: they must agree on whose they are.

Decides who the node is when its folders are opened: new folders take the uuid (and, if it has
joined, the identity) of those that have one; folders of two nodes or clusters are refused.  A
folder whose disk fails is left out and shown as FAILED.
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import BadConfig, DfsError, FolderInUse, ForeignFolder, LocalIoError
from dfs.base.events import Emitter, Event
from dfs.base.records import VolumeStatus
from dfs.base.states import VolumeState
from dfs.blockstore.disk import Disk
from dfs.blockstore.identity import FolderIdentity, NodeIdentity, read_card
from dfs.blockstore.layout import Layout
from dfs.blockstore.volume import Volume
from dfs.settings.sections import DatanodeConfig


@dataclass(frozen=True, slots=True)
class OpenedFolders:
    """What was opened, and what the folders say together."""

    volumes: list[Volume]
    failed: list[VolumeStatus]
    identity: NodeIdentity | None
    uuid: str
    restarts: int  # the highest count of starts of any folder, this one included
    clean_stop: bool
    reached: tuple[int, int]  # the highest epoch seen, and the newest transaction of it
    namenodes: tuple[str, ...]  # that any folder knows of


def open_folders(
    roots: Sequence[Path], *, disk: Disk, config: DatanodeConfig, clock: Clock, emit: Emitter
) -> OpenedFolders:
    """See `BlockStore.open`."""
    assert roots
    _require_distinct(roots)
    uuid = _known_uuid(roots) or new_id()
    failed: list[VolumeStatus] = []
    owned: list[FolderIdentity] = []
    volumes: list[Volume] = []
    try:
        for root in roots:
            try:
                owned.append(FolderIdentity(Layout(root), disk=disk, node_uuid=uuid))
            except OSError as exc:
                failed.append(_failure(root, exc, emit))
        identity = _agree(owned)
        make = partial(Volume, disk=disk, config=config, clock=clock, emit=emit)
        volumes = _recover(owned, failed, identity=identity, make=make, emit=emit)
        if not volumes:
            raise LocalIoError(
                f"no data folder can be opened: {', '.join(str(root) for root in roots)}",
                hint="the log says why, for each; check the disks and the permissions",
            )
        return _opened(volumes, failed, identity, uuid)
    except BaseException:
        for volume in volumes:
            volume.close(clean=False)
        for folder in owned:
            folder.release()
        raise


def _opened(
    volumes: list[Volume], failed: list[VolumeStatus], identity: NodeIdentity | None, uuid: str
) -> OpenedFolders:
    return OpenedFolders(
        volumes,
        failed,
        identity,
        uuid,
        restarts=max(volume.starts for volume in volumes),
        clean_stop=all(volume.identity.was_clean for volume in volumes),
        reached=max(volume.identity.reached for volume in volumes),
        namenodes=tuple(dict.fromkeys(url for each in volumes for url in each.identity.namenodes)),
    )


def _require_distinct(roots: Sequence[Path]) -> None:
    real = [root.resolve() for root in roots]
    for root, at in zip(roots, real, strict=True):
        if real.count(at) > 1:
            raise BadConfig(
                f"the data folder {root} is named more than once", hint="name each folder once"
            )


def _known_uuid(roots: Sequence[Path]) -> str:
    for root in roots:
        layout = Layout(root)
        with contextlib.suppress(OSError):  # a disk that fails is met again, and shown as FAILED
            if layout.version.exists():
                return read_card(layout).uuid
    return ""


def _agree(owned: Sequence[FolderIdentity]) -> NodeIdentity | None:
    """The identity the folders share; those that have not joined take the others'.

    Raises:
        ForeignFolder: they are of different nodes or clusters, or one is a copy of another.
    """
    joined = {folder.card.owner(): folder for folder in owned if folder.card.node}
    uuids = {folder.card.uuid for folder in owned}
    if len(joined) > 1 or len(uuids) > 1:
        raise ForeignFolder(
            "the data folders belong to different DataNodes: "
            + ", ".join(f"{f.layout.root} to {f.card.uuid} of {f.card.cluster}" for f in owned)
        )
    if len({folder.card.volume for folder in owned}) != len(owned):
        raise ForeignFolder("one data folder is a copy of another; serve only one of the two")
    for folder in joined.values():
        return folder.card.identity()
    return None


def _recover(
    owned: list[FolderIdentity],
    failed: list[VolumeStatus],
    *,
    identity: NodeIdentity | None,
    make: Callable[[FolderIdentity], Volume],
    emit: Emitter,
) -> list[Volume]:
    """Every folder at once: they are different disks."""

    def recover(folder: FolderIdentity) -> Volume | VolumeStatus:
        try:
            if identity is not None:
                folder.adopt(identity)
            volume = make(folder)
        except (OSError, DfsError) as exc:
            folder.release()
            return _failure(folder.layout.root, exc, emit)
        _announce(volume, emit)
        return volume

    if not owned:
        return []
    with ThreadPoolExecutor(len(owned), thread_name_prefix="recover") as pool:
        results = list(pool.map(recover, owned))
    failed += [each for each in results if isinstance(each, VolumeStatus)]
    return [each for each in results if isinstance(each, Volume)]


def _announce(volume: Volume, emit: Emitter) -> None:
    met = volume.recovered
    emit.emit(
        Event.VOLUME_OPENED,
        volume=volume.uuid,
        path=str(volume.layout.root),
        clean=volume.identity.was_clean,
        blocks=volume.status().blocks,
        parts_removed=met.parts_removed,
        found=met.found,
        missing=met.missing,
        quarantined=met.quarantined,
        deletes_finished=met.deletes_finished,
        doubted=met.doubted,
    )


def _failure(root: Path, exc: Exception, emit: Emitter) -> VolumeStatus:
    if isinstance(exc, FolderInUse | ForeignFolder):
        raise exc
    emit.emit(Event.VOLUME_FAILED, path=str(root), state=VolumeState.FAILED, why=str(exc))
    return VolumeStatus("", str(root), VolumeState.FAILED, 0, 0, 0, 0, errors=1)
