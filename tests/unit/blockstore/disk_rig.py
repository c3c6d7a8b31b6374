"""A block store on real folders that tests open, fill, hurt and open again."""

from pathlib import Path

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import ManualClock
from dfs.base.events import RecordingEmitter
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.base.units import MiB
from dfs.blockstore.disk import Disk
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.store import BlockStore
from dfs.settings.sections import DatanodeConfig

CLUSTER = "c" * 32


def block_name(block: int, generation: int = 1, *, file: int = 7, number: int = 0) -> BlockName:
    return BlockName(InodeId(file), number, BlockId(block), Generation(generation))


class DiskRig:
    """Opens stores over the same folders again and again, with the same clock and emitter."""

    def __init__(self, root: Path) -> None:
        self.folders = [root / "disk"]
        self.clock = ManualClock()
        self.emit = RecordingEmitter()
        self.disk: Disk | None = None
        self.config = DatanodeConfig(reserve_bytes=0, reserve_percent=0, sync=False)
        self.store: BlockStore = self.open()

    @property
    def folder(self) -> Path:
        return self.folders[0]

    def open(self) -> BlockStore:
        self.store = BlockStore.open(
            self.folders, config=self.config, clock=self.clock, emit=self.emit, disk=self.disk
        )
        if self.store.identity is None:
            self.store.adopt(NodeIdentity(CLUSTER, self.store.uuid, 3, "secret"))
        return self.store

    def reopen(self, *, clean: bool = True) -> BlockStore:
        self.store.close(clean=clean)
        return self.open()

    def names_in(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.folder / folder).iterdir())

    def path(self, name: BlockName) -> Path:
        folder = f"{name.file:016x}"
        file = f"{name.number:06d}.{name.block:016x}.{name.generation:016x}"
        return self.folder / "blocks" / folder[-2:] / folder / file

    def put(
        self,
        name: BlockName,
        data: bytes,
        *,
        path: str = "/a file",
        is_stream: bool = False,
        pack: bytes = b"",
    ) -> BlockTruth:
        with self.store.begin(
            name,
            path=path,
            length_max=max(len(data), 64 * MiB),
            length=None if is_stream else len(data),
            pack=pack,
        ) as writer:
            for offset in range(0, len(data), 1 * MiB):
                piece = data[offset : offset + 1 * MiB]
                writer.write(offset, piece, chunk_hashes(piece))
            return writer.finish(length=len(data), hash=block_hash(data))

    def get(self, name: BlockName, *ranges: tuple[int, int]) -> bytes:
        return b"".join(piece.data for piece in self.store.read(name, ranges))
