"""Damage to block files, and what the metadata says of blocks, for tests with real processes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from dfs.base.states import BlockState, ReplicaState
from dfs.meta.tables import BLOCK, EXTENT, REPLICA
from tests.cluster_rig import KIB, RigCluster, files_now, wait_until
from tests.e2e.refusal_rig import User

# Of a block file: content, then the label, then a trailer of this size.
TRAILER_BYTES = 64
HEAL_S = 60.0
SMALL_BYTES = 7 * KIB  # in `/data`, of a file that shares its block

# Timers of the tests that are about repair: a DataNode counts as dead quickly.
QUICK = {"dead_after_s": "4s", "stale_after_s": "1500ms", "urgent_after_s": "3s"}


@dataclass(frozen=True)
class Copy:
    """A replica as the metadata has it."""

    block: int
    node: int
    generation: int
    state: str


@dataclass(frozen=True)
class Kept:
    """A committed block and its replicas."""

    block: int
    wanted: int
    copies: tuple[Copy, ...]

    @property
    def live(self) -> tuple[int, ...]:
        """Nodes with a good copy."""
        return tuple(copy.node for copy in self.copies if copy.state == ReplicaState.LIVE)


def kept_blocks(cluster: RigCluster) -> list[Kept]:
    """Every committed block, from a copy of the metadata."""
    with cluster.metadata() as connection:
        blocks = connection.execute(
            select(BLOCK.c.id, BLOCK.c.generation, BLOCK.c.replication).where(
                BLOCK.c.state == BlockState.COMMITTED
            )
        ).all()
        copies: dict[int, list[Copy]] = {}
        for row in connection.execute(select(REPLICA)):
            copies.setdefault(row.block, []).append(
                Copy(row.block, row.node, row.generation, row.state)
            )
    return [
        Kept(
            block,
            wanted,
            tuple(copy for copy in copies.get(block, ()) if copy.generation == generation),
        )
        for block, generation, wanted in blocks
    ]


TOLD_OF_COPIES = ("replica", "copy", "repair", "safe_mode", "storm", "node.", "job.failed")


def not_whole(cluster: RigCluster, *, without: tuple[int, ...] = ()) -> list[Kept]:
    """Blocks with fewer good copies than wanted, those on some nodes not counted."""
    return [
        kept
        for kept in kept_blocks(cluster)
        if len([node for node in kept.live if node not in without]) < kept.wanted
    ]


def wait_healed(
    cluster: RigCluster, *, without: tuple[int, ...] = (), within_s: float = HEAL_S
) -> None:
    """Wait until every block has the copies it should have."""
    try:
        wait_until(
            lambda: not not_whole(cluster, without=without),
            "every block has its copies",
            within_s=within_s,
        )
    except AssertionError as exc:
        log = cluster.folder.log(cluster.folder.load().find("nn-1")).read_text().splitlines()
        said = [line for line in log if any(word in line for word in TOLD_OF_COPIES)]
        told = "\n".join([str(exc), *map(str, not_whole(cluster, without=without)), *said[-30:]])
        raise AssertionError(told) from None


def node_number(name: str) -> int:
    """The id of a DataNode by its name."""
    return int(name.removeprefix("dn-"))


def block_paths(cluster: RigCluster, name: str) -> list[Path]:
    """Every block file of a DataNode, in order of name."""
    return sorted(files_now(cluster.data(name) / "blocks", "*/*/*"))


def pack_path(cluster: RigCluster, name: str) -> Path:
    """The file of a block on a DataNode that several files share."""
    query = select(EXTENT.c.block).group_by(EXTENT.c.block).having(func.count() > 1)
    with cluster.metadata() as connection:
        packs = set(connection.scalars(query))
    return next(path for path in block_paths(cluster, name) if block_of(path) in packs)


def block_of(path: Path) -> int:
    """The id of the block whose file that is."""
    return int(path.name.split(".")[1], 16)


def quarantined(cluster: RigCluster, name: str) -> list[Path]:
    """What a DataNode put aside."""
    return sorted((cluster.data(name) / "quarantine").iterdir())


# ---- damage


def flip(path: Path) -> None:
    """One byte of the content is another, as rot does it; size and times stay."""
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 0x40]))


def truncate(path: Path) -> None:
    """The second half is gone."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def fill_with_zeros(path: Path) -> None:
    """The size is right and every byte is zero, as after a power cut without a flush."""
    path.write_bytes(bytes(path.stat().st_size))


def extend(path: Path) -> None:
    """Something was appended."""
    with path.open("ab") as file:
        file.write(b"more" * 16)


def spoil_trailer(path: Path) -> None:
    """The content is right and the trailer is not."""
    with path.open("r+b") as file:
        file.seek(-TRAILER_BYTES, 2)
        file.write(b"\xff" * TRAILER_BYTES)


def make_unreadable(path: Path) -> None:
    """The file cannot be opened."""
    target = path.with_suffix(".away")
    path.rename(target)
    path.symlink_to(target)


def swap(path: Path, other: Path) -> None:
    """Two files change places: a write that went astray."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def remove(path: Path) -> None:
    """The file is gone."""
    path.unlink()


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a flipped byte": flip,
    "a truncated file": truncate,
    "a file of zeros": fill_with_zeros,
    "an extended file": extend,
    "a bad trailer": spoil_trailer,
    "an unreadable file": make_unreadable,
    "a file that is gone": remove,
}


# ---- files


def put_files(dfs: User, here: Path, *, count: int, size: int = 100 * KIB) -> Path:
    """That many files of different content in `/data`; the local tree they came from.

    As many small ones go with them, which share a block or two.
    """
    tree = here / "data"
    tree.mkdir()
    for number in range(count):
        start = number.to_bytes(4, "big")
        (tree / f"file-{number:03d}").write_bytes(start + bytes(range(256)) * (size // 256))
        (tree / f"small-{number:03d}").write_bytes(start * (SMALL_BYTES // 4) + start[: number % 4])
    dfs("put", "-r", str(tree), "/").done()
    return tree


def assert_same(dfs: User, tree: Path) -> None:
    """Every file reads back as it was."""
    back = tree.parent / "back"
    dfs("get", "-r", "/data", str(back)).done()
    for path in sorted(tree.iterdir()):
        assert (back / path.name).read_bytes() == path.read_bytes(), path.name
    shutil.rmtree(back)


def admin_json(dfs: User, *words: str, codes: tuple[int, ...] = (0,)):
    """What `dfs-admin ... --json` printed."""
    ran = dfs.admin(*words, "--json")
    assert ran.code in codes, (words, ran.code, ran.out, ran.err)
    return json.loads(ran.out)


def log_count(cluster: RigCluster, name: str, event: str) -> int:
    """How often a daemon's log tells of an event."""
    log = cluster.folder.log(cluster.folder.load().find(name))
    return log.read_text().count(f'"{event}"') if log.exists() else 0
