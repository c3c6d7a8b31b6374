"""Compaction over a real namespace and database, with real DataNodes on loopback."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import select

from dfs.base.checksum import block_hash, file_checksum
from dfs.base.clock import ManualClock, SystemClock
from dfs.base.events import Event
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockName, FileStatus, NodeAddress, NodeView
from dfs.base.states import BlockState
from dfs.blocks.redundancy import Standings, standings
from dfs.meta.cluster_tables import BLOCK_KEY
from dfs.meta.tables import BLOCK, EXTENT, LEASE, REPLICA
from dfs.namespace.block_paths import paths_of_inodes
from dfs.settings.sections import CompactConfig
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.transfer.node_memory import NodeMemory
from dfs.upkeep.block_upload import BlockUpload
from dfs.upkeep.compaction import CompactionParts, CompactionReport, Compactor
from dfs.upkeep.compaction_pack import Rewriter, RewriterParts
from dfs.upkeep.compaction_reads import StretchReader
from dfs.wire.compact_api import CompactReply
from dfs.wire.data_api import CompleteItem, CompleteRequest
from dfs.wire.pack_api import PackedBlock
from tests.builders import a_node
from tests.datanode_rig import KEY, NOW_MS, RigNode
from tests.metadata_checks import check_metadata
from tests.namespace_rig import ADMIN, NamespaceRig, only
from tests.pack_rig import begin_pack, commit, laid_out, locate_many

KEEP_S = 600.0
CONFIG = CompactConfig(
    interval_s=3600, age_s=60, pack_bytes=1 << 20, small_file_bytes_max=64 << 10, dead_percent=50
)


class CompactionRig(NamespaceRig):
    """A NameNode's metadata and as many DataNodes; `clock` is set by hand, from now on."""

    def __init__(self, folder: Path, *, nodes: int = 2, config: CompactConfig = CONFIG) -> None:
        self.real: dict[NodeId, RigNode] = {}
        self.doubted: list[tuple[int, int]] = []
        self.wait = ""
        self.compact = config
        views: list[NodeView] = []
        for number in range(1, nodes + 1):
            node = NodeId(number)
            self.real[node] = RigNode(folder / f"dn-{number}", node=number, stall_s=3)
            address = NodeAddress(node, "127.0.0.1", self.real[node].server.port, 1)
            views.append(replace(a_node(number), address=address))
        (folder / "nn").mkdir()
        super().__init__(
            folder / "nn", nodes=views, clock=ManualClock(now_ms=SystemClock().now_ms())
        )
        row = {"id": 1, "secret": KEY.secret, "created_ms": NOW_MS, "expires_ms": KEY.expires_ms}
        self.change(lambda txn: txn.put(BLOCK_KEY, row))
        self.keys.reload()
        self.channels = Channels(clock=SystemClock(), stall_s=5)
        self.uploads = BlockUpload(self.channels, NodeMemory(clock=SystemClock()))
        self.compactor = self.a_compactor()

    def a_compactor(self) -> Compactor:
        """The job, as each start of a NameNode makes it."""
        self.parts = RewriterParts(
            writer=self.writer,
            reader=self.reader,
            packs=self.space.packing,
            blocks=self,
            stretches=StretchReader(
                self.channels, self.keys, nodes=self, doubts=self, standings=self.standings
            ),
            standings=self.standings,
            paths_of=paths_of_inodes,
            why_wait=lambda: self.wait,
            keep_ms=int(KEEP_S * 1000),
            pack_bytes=self.compact.pack_bytes,
        )
        return Compactor(
            CompactionParts(
                writer=self.writer,
                reader=self.reader,
                rewriter=Rewriter(self.parts),
                why_wait=lambda: self.wait,
                clock=self.clock,
                emit=self.emit,
                config=self.compact,
            )
        )

    def close(self) -> None:
        self.channels.close()
        for node in self.real.values():
            node.close()
        super().close()

    # ---- what the job asks

    def standings(self) -> Standings:
        fresh = frozenset(view.node for view in self.nodes)
        return standings(self.nodes, fresh=fresh, urgent_after_s=60)

    def address(self, node: NodeId) -> NodeAddress:
        return next(view.address for view in self.nodes if view.node == node)

    def doubt(self, name: BlockName, node: NodeId, *, actor: str, why: str) -> None:
        self.doubted.append((name.block, node))

    def write(self, allocated, path, content, *, pack=b""):
        """Between these two a test may do what it likes."""
        self.before_write()
        written = self.uploads.write(allocated, path, content, pack=pack)
        self.after_write()
        return written

    def before_write(self) -> None:
        """Nothing."""

    def after_write(self) -> None:
        """Nothing."""

    # ---- files

    def put_lone(self, path: str, content: bytes, **more: object) -> FileStatus:
        opened = self.create(path, size_bytes=len(content), **more)
        block = self.uploads.write(opened.blocks[0], opened.path, content)
        item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[block])
        body = CompleteRequest(items=[item])
        work = self.space.completing.complete
        return only(self.change(lambda txn: work(txn, ADMIN, body))).status

    def put_packed(self, files: Mapping[str, bytes], *, replication: int = 2) -> None:
        content = b"".join(files.values())
        pack = begin_pack(self, len(content), replication=replication)
        block = self.uploads.write(pack.block, "", content, pack=b"")
        done = PackedBlock(inode=pack.inode, lease=pack.lease, block=block)
        reply = commit(self, laid_out(files, replication=replication), [done])
        assert not reply.refused

    def read(self, path: str, *, as_of: int | None = None) -> bytes:
        """The file as it is served, held against its checksum."""
        found = locate_many(self, path, as_of=as_of)
        (file,) = found.files
        if file.value is None:
            raise AssertionError(file.error)
        pieces = []
        for extent in file.value.extents:
            window = found.windows[extent.window]
            block = found.blocks[window.block]
            holder = found.nodes[block.holders[0].node]
            pieces.append(self.fetch(block.name, window.token, holder, extent))
        found_sum = file_checksum((len(piece), block_hash(piece)) for piece in pieces)
        assert found_sum == file.value.checksum
        return b"".join(pieces)

    def fetch(self, name: BlockName, token: bytes, holder: NodeAddress, extent) -> bytes:
        with self.channels.to(holder) as channel:
            return b"".join(
                bytes(piece)
                for piece in channel.download(
                    BlockAccess(name, "", token),
                    offset=extent.block_offset,
                    length_bytes=extent.length_bytes,
                )
            )

    # ---- looking

    def blocks(self, state: BlockState = BlockState.COMMITTED) -> list[int]:
        wanted = select(BLOCK.c.id).where(BLOCK.c.state == state).order_by(BLOCK.c.id)
        return list(self.look(lambda c: c.execute(wanted).scalars().all()))

    def leases(self) -> int:
        return len(self.look(lambda c: c.execute(select(LEASE)).all()))

    def extents_of(self, block: int) -> int:
        wanted = select(EXTENT).where(EXTENT.c.block == block)
        return len(self.look(lambda c: c.execute(wanted).all()))

    def spoil_row(self, block: int, node: int, state: str) -> None:
        row = {"block": block, "node": node, "state": state, "verified_ms": 1}
        wanted = select(BLOCK.c.generation).where(BLOCK.c.id == block)
        generation = self.look(lambda c: c.execute(wanted).scalar_one())
        self.change(lambda txn: txn.put(REPLICA, {**row, "generation": generation}))

    def holds(self, node: int, name: BlockName) -> bool:
        return self.real[NodeId(node)].store.entry(name) is not None

    def told(self, event: Event) -> list[dict[str, object]]:
        return [dict(fields) for name, fields in self.emit.events if name is event]

    # ---- doing

    def round(self) -> CompactReply:
        """A round now, to its end, the clock going on as it must."""
        self.advance(self.compact.age_s + 1)
        self.compactor.start(by="ada")
        return self.finish()

    def finish(self) -> CompactReply:
        for _ in range(1_000):
            self.pass_once()
            if self.compactor.status().state != "running":
                break
        else:
            raise AssertionError("it does not end")
        self.look(check_metadata)
        return self.compactor.status()

    def pass_once(self) -> CompactionReport:
        self.clock.advance(1)
        return self.compactor.run_once()


def block_of(rig: CompactionRig, path: str) -> BlockId:
    """The block a file lies in."""
    (block,) = locate_many(rig, path).blocks
    return block.truth.block
