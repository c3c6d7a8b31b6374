"""The part of a fake NameNode that knows of packs: each is a write of one block, and of no path."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from dfs.base.checksum import file_checksum
from dfs.base.errors import DfsError
from dfs.base.ids import InodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    FileStatus,
    LocatedExtent,
    LocatedFile,
)
from dfs.base.states import InodeKind
from dfs.wire import data_api as d
from dfs.wire import pack_api as pk
from dfs.wire.shapes import Outcome, error_body

NOW_MS = 1_700_000_000_000


@dataclass
class Entry:
    status: FileStatus
    extents: tuple[LocatedExtent, ...] = ()


@dataclass
class Write:
    new: d.NewFile
    inode: int
    lease: str
    block_size: int
    allocated: dict[int, AllocatedBlock] = field(default_factory=dict)


class FakePacks:
    """Mixed into `tests.fake_catalog.FakeCatalog`."""

    def _begin(self, body: pk.BeginPacksRequest):
        def begin(new: pk.NewPack) -> pk.OpenedPack:
            inode = self._next()
            as_file = d.NewFile(path="", replication=new.replication)
            write = Write(as_file, inode, f"lease-{inode}", new.size_bytes)
            (block,) = self._blocks(write, 0, 1, frozenset())
            self.writes[inode] = write
            copies = new.replication or self.replication
            return pk.OpenedPack(inode, write.lease, copies, self.min_acks, block)

        return self._each(body.packs, begin)

    def _commit(self, body: pk.CommitFilesRequest) -> pk.CommitFilesReply:
        self.largest["commit"] = max(self.largest["commit"], len(body.files))
        owed, names = [], []
        for pack in body.packs:
            write = self._leased(pack.inode, pack.lease)
            copies = write.new.replication or self.replication
            names.append(write.allocated[pack.block.truth.block].name)
            assert len(pack.block.receipts) >= min(self.min_acks, copies)
            owed.append(max(0, copies - len(pack.block.receipts)))
            del self.writes[pack.inode]
        refused = []
        for index, file in enumerate(body.files):
            try:
                self._make_packed(file, names, [pack.block.truth for pack in body.packs])
            except DfsError as exc:
                refused.append(pk.RefusedFile(index, error_body(exc)))
        return pk.CommitFilesReply(owed=owed, refused=refused)

    def _make_packed(self, file: pk.PackedFile, names, truths) -> None:
        self._check_new(d.NewFile(path=file.path, overwrite=file.overwrite, parents=file.parents))
        extents: tuple[LocatedExtent, ...] = ()
        if file.length_bytes:
            truth, name = truths[file.pack], names[file.pack]
            assert file.offset + file.length_bytes <= truth.length_bytes
            extents = (LocatedExtent(0, file.length_bytes, file.offset, truth, name, (), b""),)
        status = replace(
            self._status(file.path, InodeKind.FILE, mode=file.mode),
            inode=InodeId(self._next()),
            size_bytes=file.length_bytes,
            modified_ms=file.modified_ms or NOW_MS,
            checksum=file_checksum([(file.length_bytes, file.hash)] if extents else []),
        )
        self.entries[file.path] = Entry(status, extents)

    def _locate_many(self, body: pk.LocateManyRequest) -> pk.LocateManyReply:
        located = self._each(body.paths, self._located).outcomes
        blocks: list[pk.SharedBlock] = []
        windows: list[pk.Window] = []
        place: dict[BlockName, int] = {}
        serial = {node.node: at for at, node in enumerate(self.nodes)}

        def window(extent: LocatedExtent) -> int:
            if extent.name not in place:
                place[extent.name] = len(blocks)
                holders = [
                    pk.SharedHolder(serial[h.address.node], h.state, h.node_state.value)
                    for h in extent.holders
                ]
                blocks.append(pk.SharedBlock(extent.truth, extent.name, holders))
                windows.append(pk.Window(len(windows), 0, extent.truth.length_bytes, extent.token))
            return place[extent.name]

        def many(found: LocatedFile) -> pk.ManyFile:
            status = found.status
            return pk.ManyFile(
                status.inode,
                status.version,
                status.size_bytes,
                status.checksum,
                status.mode,
                status.modified_ms,
                [
                    pk.ManyExtent(e.file_offset, e.length_bytes, window(e), e.block_offset)
                    for e in found.extents
                ],
            )

        files = [
            Outcome(error=o.error) if o.error else Outcome(value=many(o.value)) for o in located
        ]
        nodes = [node.address for node in self.nodes]
        return pk.LocateManyReply(files=files, blocks=blocks, windows=windows, nodes=nodes)
