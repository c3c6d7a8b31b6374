"""Where many files are, in one answer that says each block, node and token once.

Small files share blocks, so what is said of a block is said for all files in it.  Neighbouring
stretches that the caller may read are put together into windows, each with one token: thousands of
files of one pack cost one signature.  What lies between windows - files of others, or removed - no
token of the answer reads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from dfs.accounts.block_keys import BlockKeys, TokenWish
from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.errors import PathNotFound
from dfs.base.ids import BlockId, InodeId
from dfs.base.records import NodeAddress, NodeView, Principal
from dfs.blocks.blockmap import LocatedBlock, locate
from dfs.namespace.batch import attempt
from dfs.namespace.inode_rows import Entry, Inode, find_children
from dfs.namespace.locating import (
    ExtentOf,
    extents_of,
    readable,
    require_readable,
    too_many,
    window_of,
    within_limit,
)
from dfs.namespace.many_paths import ManyPaths, Names
from dfs.namespace.resolve import Resolver
from dfs.settings.sections import LimitsConfig
from dfs.wire.pack_api import (
    LocateManyReply,
    LocateManyRequest,
    ManyExtent,
    ManyFile,
    SharedBlock,
    SharedHolder,
    Window,
)
from dfs.wire.shapes import Outcome, error_body
from dfs.wire.tokens import Mode


class LocatingMany:
    """See the module.

    Args:
        nodes: every DataNode as of now.
        keys: signs the tokens with which clients read.
    """

    def __init__(
        self,
        *,
        nodes: Callable[[], Sequence[NodeView]],
        keys: BlockKeys,
        limits: LimitsConfig,
    ) -> None:
        self._nodes = nodes
        self._keys = keys
        self._extents_max = limits.locate_extents_max

    def locate_many(
        self, connection: Connection, who: Principal, body: LocateManyRequest
    ) -> LocateManyReply:
        """The extents of each file, who holds their blocks, and tokens to read them."""
        found = _find(Resolver(connection, who, as_of=body.as_of), connection, body)
        inodes = [each.value for each in found if each.value is not None]
        extents = extents_of(connection, [inode.id for inode in inodes], as_of=body.as_of)
        allowed = {inode.id for inode in within_limit(inodes, extents, self._extents_max)}
        rows = [row for inode in sorted(allowed) for row in extents[inode]]
        nodes = {view.node: view for view in self._nodes()}
        blocks = locate(connection, {BlockId(row.block) for row in rows}, nodes)
        shared = _Shared(blocks)
        windows = _Windows(rows)
        return LocateManyReply(
            files=[self._answer(each, extents, allowed, windows) for each in found],
            blocks=shared.blocks,
            windows=self._signed(who, blocks, windows, shared),
            nodes=shared.nodes,
        )

    def _answer(
        self,
        found: Outcome[Inode],
        extents: Mapping[InodeId, Sequence[ExtentOf]],
        allowed: set[InodeId],
        windows: "_Windows",
    ) -> Outcome[ManyFile]:
        inode = found.value
        if inode is None:
            return Outcome(error=found.error)
        if inode.id not in allowed:
            return Outcome(error=error_body(too_many(self._extents_max)))
        pieces = [
            ManyExtent(row.file_offset, row.length_bytes, windows.of(row), row.block_offset)
            for row in extents[inode.id]
        ]
        return Outcome(
            value=ManyFile(
                inode.id,
                inode.version,
                inode.size_bytes,
                inode.checksum,
                inode.mode,
                inode.modified_ms,
                pieces,
            )
        )

    def _signed(
        self,
        who: Principal,
        blocks: Mapping[BlockId, LocatedBlock],
        windows: "_Windows",
        shared: "_Shared",
    ) -> list[Window]:
        wishes = [
            TokenWish(
                blocks[block].name,
                0,
                "",
                window=window_of(offset, end - offset, blocks[block].truth),
            )
            for block, offset, end in windows.all
        ]
        tokens = self._keys.mint_many(user=who.name, mode=Mode.READ, wishes=wishes)
        return [
            Window(shared.place[block], offset, end - offset, token)
            for (block, offset, end), token in zip(windows.all, tokens, strict=True)
        ]


class _Windows:
    """Stretches of blocks, those that touch or overlap put together."""

    def __init__(self, rows: Iterable[ExtentOf]) -> None:
        self.all: list[tuple[BlockId, int, int]] = []  # block, offset, end
        self._of: dict[tuple[int, int], int] = {}
        stretches = sorted((row.block, row.block_offset, row.length_bytes) for row in rows)
        for block, offset, length_bytes in stretches:
            end = offset + length_bytes
            if self.all and self.all[-1][0] == block and offset <= self.all[-1][2]:
                _, first, before = self.all.pop()
                self.all.append((BlockId(block), first, max(end, before)))
            else:
                self.all.append((BlockId(block), offset, end))
            self._of[block, offset] = len(self.all) - 1

    def of(self, row: ExtentOf) -> int:
        """Which window that extent lies in."""
        return self._of[row.block, row.block_offset]


class _Shared:
    """Blocks and the nodes that hold them, each once."""

    def __init__(self, located: Mapping[BlockId, LocatedBlock]) -> None:
        self.nodes: list[NodeAddress] = []
        self.blocks: list[SharedBlock] = []
        self.place: dict[BlockId, int] = {}
        known: dict[int, int] = {}
        for block, found in located.items():
            holders = []
            for holder in found.holders:
                address = holder.address
                if address.node not in known:
                    known[address.node] = len(self.nodes)
                    self.nodes.append(address)
                holders.append(
                    SharedHolder(known[address.node], holder.state, holder.node_state.value)
                )
            self.place[block] = len(self.blocks)
            self.blocks.append(SharedBlock(found.truth, found.name, holders))


def _find(
    resolver: Resolver, connection: Connection, body: LocateManyRequest
) -> list[Outcome[Inode]]:
    """The file of each path, or why it cannot be read; each directory is asked once."""
    many = ManyPaths()
    parsed = [attempt(lambda path=path: many.parse(path)) for path in body.paths]  # type: ignore[misc]
    wanted: dict[Names, list[str]] = {}
    for each in parsed:
        if each.value:
            wanted.setdefault(each.value[0], []).append(each.value[1])
    there: dict[Names, dict[str, Entry]] = {}

    def one(path: str, above: Names, name: str) -> Inode:
        if not name or body.as_of is not None:
            return readable(resolver, path).inode
        if above not in there:
            directory = resolver.directory(above)
            resolver.require(directory, Access.EXECUTE, paths.build(above))
            there[above] = find_children(connection, directory.id, wanted[above])
        entry = there[above].get(name)
        if entry is None:
            raise PathNotFound(f"no such file or directory: {path}")
        require_readable(resolver, entry.inode, path)
        return entry.inode

    return [
        Outcome(error=each.error)
        if each.value is None
        else attempt(lambda path=path, each=each: one(path, *each.value))  # type: ignore[misc]
        for path, each in zip(body.paths, parsed, strict=True)
    ]
