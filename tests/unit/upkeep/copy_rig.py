"""The executor of copies on a real database, with real DataNodes on loopback."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import select

from dfs.accounts.block_keys import BlockKeys
from dfs.base.checksum import block_hash
from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import JobConflict, PeerUnreachable
from dfs.base.events import Event
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName, BlockTruth, NodeAddress, NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.blocks.history import read
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import RepairClass, Standings, assess, standings
from dfs.meta.cluster_tables import BLOCK_KEY
from dfs.meta.tables import BLOCK, REPLICA
from dfs.rpc.peers import Peers
from dfs.settings.sections import NamenodeConfig, RepairConfig
from dfs.transfer.channels import Channels
from dfs.upkeep.budget import configured_rates
from dfs.upkeep.caution import Caution
from dfs.upkeep.cluster_view import Watch
from dfs.upkeep.copy_rates import CopyRates
from dfs.upkeep.executor import CopyOutcome, Executor, ExecutorParts
from dfs.upkeep.lost_blocks import LostBlocks
from dfs.upkeep.mini_client import MiniClient
from dfs.upkeep.pending import PendingTable
from dfs.upkeep.repair import RepairJob, RepairParts
from dfs.upkeep.repair_plan import RepairLimits
from dfs.upkeep.repair_settings import RepairSettings
from dfs.upkeep.reprieve import Reprieve
from dfs.upkeep.steps import CopyBlock
from dfs.upkeep.surveyor import Surveyor
from dfs.wire import codec
from dfs.wire.dataNode_pb2_grpc import DataNodeStub
from tests.builders import a_node
from tests.datanode_rig import CLUSTER, KEY, PATH, RigNode, token, upload_messages
from tests.metadata_rig import MetadataRig

DATA = bytes(range(256)) * 4096  # 1 MiB
WAIT_S = 20.0


class CutOff(Peers):
    """The network between a DataNode and the others is gone."""

    @contextlib.contextmanager
    def line(self, address: str) -> Iterator[DataNodeStub]:
        raise PeerUnreachable(f"{address}: no route")
        yield


class Caster(Caution):
    """Cautions that a test sets."""

    def __init__(self) -> None:
        self.no_deletes = self.no_repair = ""
        super().__init__(
            deletes=[lambda: self.no_deletes], repairs=[lambda _urgency: self.no_repair]
        )


class CopyRig:
    """Nodes 1, 2, 3 ... as they are made; blocks of file 21, all of the same content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.metadata = MetadataRig(folder, clock=self.clock)
        writer, reader = self.metadata.writer, self.metadata.reader
        self.emit = self.metadata.emit
        self.nodes: dict[NodeId, RigNode] = {}
        self.views_now: dict[NodeId, NodeView] = {}
        self.not_fresh: set[NodeId] = set()
        self.ordered: list[tuple[int, str, int]] = []
        self.cancelled: list[tuple[int, str, int]] = []
        self.duties: list[tuple[int, str]] = []
        self.before_duty: Callable[[], object] = lambda: None
        row = {"id": 1, "secret": KEY.secret, "created_ms": 0, "expires_ms": KEY.expires_ms}
        self.metadata.change(lambda txn: txn.put(BLOCK_KEY, row))
        self.keys = BlockKeys(writer, reader, self.clock, NamenodeConfig(), CLUSTER, emit=self.emit)
        self.pending = PendingTable(clock=self.clock, attempts_max=3)
        self.relayed: list[CopyBlock] = []
        self.caution = Caster()
        self.client = MiniClient(
            Channels(clock=self.clock, stall_s=5),
            self.keys,
            timeout_s=20,
            relayed=self.relayed.append,
        )
        parts = ExecutorParts(
            reader=reader,
            writer=writer,
            nodes=self,
            client=self.client,
            pending=self.pending,
            caution=self.caution,
            standings=self.standings,
            clock=self.clock,
            emit=self.emit,
        )
        self.executor = Executor(parts, threads=4)
        self.rates = CopyRates(self.clock)
        self.executor.listen(self.rates.take)
        self._build_job(writer, reader)

    def _build_job(self, writer, reader) -> None:
        self.surveyor = Surveyor(reader, source=self, clock=self.clock, interval_s=0.001)
        self.settings = RepairSettings(writer, reader, configured=configured_rates(RepairConfig()))
        watch = Watch(
            self,
            clock=self.clock,
            caution=self.caution,
            survey=lambda: self.surveyor.latest,
            pending=self.pending.snapshot,
            urgent_after_s=60,
        )
        parts = RepairParts(
            surveyor=self.surveyor,
            watch=watch,
            executor=self.executor,
            pending=self.pending,
            settings=self.settings,
            rates=self.rates,
            reprieve=Reprieve(writer, reader, orders=self),
            lost=LostBlocks(writer, reader, emit=self.emit),
            registry=self,
            writer=writer,
            clock=self.clock,
            rng=Random(3),
            emit=self.emit,
        )
        self.job = RepairJob(parts, limits=RepairLimits(2, 8), history_keep_s=3600)

    def close(self) -> None:
        self.executor.close()
        for node in self.nodes.values():
            node.close()
        self.metadata.close()

    # ---- nodes

    def join(self, *, peers: Peers | None = None, rack: str = "/default", disks: int = 1) -> NodeId:
        node = NodeId(len(self.nodes) + 1)
        first, *more = (self.folder / f"dn-{node}{'x' * n}" for n in range(disks))
        self.nodes[node] = RigNode(first, node=node, peers=peers, stall_s=3, more_disks=more)
        port = self.nodes[node].server.port
        view = a_node(node, rack=rack)
        address = NodeAddress(node, "127.0.0.1", port, 1, rack)
        self.views_now[node] = _with(view, address=address)
        return node

    def set(self, node: NodeId, **changes: object) -> None:
        self.views_now[node] = _with(self.views_now[node], **changes)

    def die(self, node: NodeId) -> None:
        self.set(node, state=NodeState.DEAD)

    def views(self) -> tuple[NodeView, ...]:
        return tuple(view for _, view in sorted(self.views_now.items()))

    def fresh(self) -> frozenset[NodeId]:
        live = {n for n, view in self.views_now.items() if view.state is NodeState.LIVE}
        return frozenset(live - self.not_fresh)

    def standings(self) -> Standings:
        return standings(self.views(), fresh=self.fresh(), urgent_after_s=60)

    def address(self, node: NodeId) -> NodeAddress:
        return self.views_now[node].address

    def enqueue(self, node, verb, block=None, *, reason="", value=0) -> bool:
        self.ordered.append((node, str(verb), block.block if block else 0))
        return True

    def cancel(self, node, verb, block=None) -> bool:
        self.cancelled.append((node, str(verb), block.block if block else 0))
        return True

    def set_duty(self, node, duty, *, why_not) -> None:
        self.before_duty()
        if reason := self.metadata.change(lambda txn: why_not(txn.connection)):
            raise JobConflict(reason)
        self.duties.append((node, duty))
        self.set(node, duty=NodeDuty(duty))

    # ---- blocks

    def put(self, block: int, holders: list[NodeId], *, wanted: int = 2) -> BlockName:
        """A committed block, stored on those nodes for real."""
        name = BlockName(InodeId(21), 0, BlockId(block), Generation(block))
        for node in holders:
            self._upload(name, node)
        row = {
            "id": block,
            "generation": block,
            "length_bytes": len(DATA),
            "hash": block_hash(DATA),
            "state": "committed",
            "file": 21,
            "number": 0,
            "replication": wanted,
            "created_ms": 0,
            "acked": "",
        }
        self.metadata.change(lambda txn: txn.put(BLOCK, row))
        for node in holders:
            self.set_row(block, node, "live")
        return name

    def _upload(self, name: BlockName, node: NodeId) -> None:
        ref = codec.block_ref(name, path=PATH, token=token(name=name))
        self.nodes[node].stub.UploadBlock(upload_messages(DATA, block=ref))

    def set_row(self, block: int, node: int, state: str | None) -> None:
        row = {
            "block": block,
            "node": node,
            "generation": block,
            "state": state,
            "verified_ms": 1,
        }
        if state is None:
            self.metadata.change(lambda txn: txn.drop(REPLICA, (block, node)))
        else:
            self.metadata.change(lambda txn: txn.put(REPLICA, row))

    def rows(self, block: int) -> dict[int, str]:
        wanted = select(REPLICA.c.node, REPLICA.c.state).where(REPLICA.c.block == block)
        return self.metadata.look(lambda c: {n: s for n, s in c.execute(wanted)})  # noqa: C416

    def told(self, block: int) -> list[str]:
        found = self.metadata.look(lambda c: read(c, BlockId(block)))
        return [event.what.value for event in found]

    def events(self, event: Event) -> list[dict[str, object]]:
        return [dict(fields) for name, fields in self.emit.events if name is event]

    def file_of(self, node: NodeId, name: BlockName) -> Path:
        folder = self.folder / f"dn-{node}" / "blocks"
        (found,) = folder.glob(f"*/*/*.{name.block:016x}.*")
        return found

    def flip(self, node: NodeId, name: BlockName) -> None:
        file = self.file_of(node, name)
        with file.open("r+b") as handle:
            handle.seek(1000)
            byte = handle.read(1)
            handle.seek(1000)
            handle.write(bytes([byte[0] ^ 1]))

    def content(self, node: NodeId, name: BlockName) -> bytes:
        return self.file_of(node, name).read_bytes()[: len(DATA)]

    def holds(self, node: NodeId, name: BlockName) -> bool:
        return self.nodes[node].store.entry(name) is not None

    # ---- doing

    def step(self, name: BlockName, source: NodeId, target: NodeId) -> CopyBlock:
        truth = BlockTruth(name.block, name.generation, len(DATA), block_hash(DATA))
        return CopyBlock(name, truth, source, target, "a test", RepairClass.UNDER)

    def copy(self, name: BlockName, source: NodeId, target: NodeId) -> CopyOutcome:
        return self.run(self.step(name, source, target))

    def run(self, step: CopyBlock) -> CopyOutcome:
        ended, got = threading.Event(), []

        def then(outcome: CopyOutcome) -> None:
            got.append(outcome)
            ended.set()

        assert self.executor.submit(step, then)
        assert ended.wait(WAIT_S)
        return got[0]

    def rounds(self, count: int = 4) -> None:
        """Passes of the job, each with a survey, and each seen to its end."""
        for _ in range(count):
            self.surveyor.soon()
            deadline_s = self.clock.monotonic_s() + WAIT_S
            while not self.job.run_once().surveyed:
                assert self.clock.monotonic_s() < deadline_s
                self.clock.sleep(0.01)
            while self.pending.snapshot().copies:
                assert self.clock.monotonic_s() < deadline_s
                self.clock.sleep(0.01)

    def sure(self, block: int) -> int:
        kept = self.metadata.look(lambda c: read_kept(c, [BlockId(block)]))[BlockId(block)]
        return len(assess(kept, self.standings()).sure)


def _with(view: NodeView, **changes: object) -> NodeView:
    return replace(view, **changes)
