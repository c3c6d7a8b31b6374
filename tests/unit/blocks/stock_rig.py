"""A NameNode's knowledge of three DataNodes and their stock, on a real database."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.clock import Clock
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockKey, NodeCommand, StockEntry
from dfs.base.states import BlockState, ReplicaState, StoredState
from dfs.blocks import history
from dfs.blocks.acknowledged import Acknowledgements
from dfs.blocks.bad_copies import BadCopies
from dfs.blocks.gc import GarbageCollector, GcReport
from dfs.blocks.intake import StockIntake
from dfs.blocks.judging import Bench
from dfs.blocks.redundancy import Standings, standings
from dfs.blocks.second_looks import SecondLooks
from dfs.blocks.stray_collector import StrayCollector
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, GC_QUEUE, REPLICA, STRAY
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.registry import ClusterFacts, NodeRegistry
from dfs.settings.sections import LivenessConfig
from dfs.wire.nodes_api import (
    Beat,
    JoinRequest,
    NodeRegistration,
    StockDigests,
    StockReply,
    StockReport,
)
from dfs.wire.stock_sums import StockSums, bucket_of
from tests.builders import a_name, a_usage, a_volume

CONTENT = b"content"
CLUSTER = "c" * 32
KEEP_S = 86_400.0  # how long orphans are kept
NUMBERS_TAKEN = 100_000  # what the tests number blocks with was handed out

T = TypeVar("T")


class NoKeys:
    """A ring that lacks nothing."""

    def keys_missing_from(self, ids: Sequence[int]) -> list[BlockKey]:
        return []


def an_entry(
    block: int = 1,
    *,
    generation: int | None = None,
    state: StoredState = StoredState.FINAL,
    content: bytes = CONTENT,
    verified_ms: int = 1,
) -> StockEntry:
    name = a_name(block, generation=block if generation is None else generation)
    return StockEntry(name, len(content), block_hash(content), state, verified_ms)


def a_report(
    *entries: StockEntry,
    sequence: int = 1,
    full: bool = False,
    page: int = 0,
    last_page: bool = True,
    gone: Sequence[StockEntry] = (),
    epoch: int = 1,
    buckets: Sequence[int] = (),
) -> StockReport:
    return StockReport(
        epoch=epoch,
        sequence=sequence,
        full=full,
        page=page,
        last_page=last_page,
        entries=list(entries),
        gone=list(gone),
        buckets=list(buckets),
    )


C = TypeVar("C", bound=Clock)


class StockRig(Generic[C]):
    """Blocks have the generation of their id and lie as part 0 of file 7."""

    def __init__(self, writer: Writer, reader: Reader, clock: C) -> None:
        self.writer, self.reader, self.clock = writer, reader, clock
        self.emit = RecordingEmitter()
        self.why_no_deletes = ""
        for sequence in ("block", "generation"):
            self.do(lambda txn, name=sequence: txn.take(name, NUMBERS_TAKEN))
        self.restart()

    def restart(self) -> None:
        """A new run of the NameNode on the same database."""
        self.registry = NodeRegistry(
            self.writer,
            self.reader,
            clock=self.clock,
            emit=self.emit,
            config=LivenessConfig(),
            keys=NoKeys(),
            facts=ClusterFacts(
                cluster=CLUSTER, namenodes=(), block_tokens=True, join_token_life_s=60
            ),
        )
        self.presence = self.registry.presence
        self.intake = StockIntake(
            self.writer,
            self.reader,
            registrations=self.presence,
            orders=self.registry,
            clock=self.clock,
            emit=self.emit,
        )
        bench = Bench(
            writer=self.writer,
            reader=self.reader,
            standings=self.standings,
            orders=self.registry,
            why_no_deletes=lambda: self.why_no_deletes,
            clock=self.clock,
            emit=self.emit,
        )
        self.acknowledged = Acknowledgements(self.writer, answers=self.presence, emit=self.emit)
        self.gc = GarbageCollector(
            self.writer,
            self.reader,
            stock=self.presence,
            orders=self.registry,
            why_no_deletes=lambda: self.why_no_deletes,
            clock=self.clock,
        )
        self.strays = StrayCollector(bench, keep_s=KEEP_S)
        self.looks = SecondLooks(bench)
        self.bad = BadCopies(bench)

    def standings(self) -> Standings:
        return standings(self.registry.views(), fresh=self.presence.fresh(), urgent_after_s=60.0)

    def collect(self) -> GcReport:
        """What nodes said they did is heard, then one pass over the garbage."""
        self.acknowledged.run_once()
        return self.gc.run_once()

    def do(self, work: Callable[[Txn], T]) -> T:
        return self.writer.submit(work)

    # ---- nodes

    def join(self) -> NodeId:
        token = self.registry.create_join_token(1).token
        uuid = f"{len(self.registry.views()) + 1:032x}"
        node = NodeId(self.registry.join(JoinRequest(token=token, uuid=uuid)).node)
        self.register(node)
        return node

    def register(self, node: NodeId) -> None:
        registration = NodeRegistration(
            cluster=CLUSTER,
            host="127.0.0.1",
            grpc_port=9866 + node,
            http_port=9864,
            rack="/r",
            version="1",
            restarts=0,
            clean_stop=True,
            usage=a_usage(),
            volumes=[a_volume(f"v{node}")],
        )
        self.registry.register(node, registration)

    def beat(self, node: NodeId, acknowledged: Sequence[int] = ()) -> list[NodeCommand]:
        beat = Beat(usage=a_usage(), volumes=[], epoch=1, keys=[], acknowledged=list(acknowledged))
        return self.registry.beat(node, beat).commands

    def full(self, node: NodeId, *entries: StockEntry, sequence: int = 1) -> StockReply:
        return self.intake.take(node, a_report(*entries, sequence=sequence, full=True))

    def report(self, node: NodeId, *entries: StockEntry, sequence: int = 1) -> list[int]:
        """A full report as a DataNode makes it: sums first; the buckets it had to list."""
        held = StockSums()
        held.add_entries(entries)
        digests = StockDigests(epoch=1, sequence=sequence, counts=held.counts, sums=held.sums)
        buckets = self.intake.compare(node, digests).buckets
        if buckets:
            listed = [entry for entry in entries if bucket_of(entry.name.block) in buckets]
            page = a_report(*listed, sequence=sequence, full=True, buckets=buckets)
            self.intake.take(node, page)
        return buckets

    def obey(self, node: NodeId) -> list[NodeCommand]:
        """The node does what it is told, and says so."""
        commands = self.beat(node)
        self.beat(node, [command.command for command in commands])
        self.acknowledged.run_once()
        return commands

    # ---- blocks

    def put_block(
        self,
        block: int = 1,
        *,
        state: BlockState = BlockState.COMMITTED,
        holders: Sequence[int] = (),
        verified_ms: int = 0,
    ) -> None:
        row = {
            "id": block,
            "generation": block,
            "length_bytes": len(CONTENT),
            "hash": b"" if state is BlockState.ALLOCATED else block_hash(CONTENT),
            "state": state,
            "file": 7,
            "number": 0,
            "replication": 2,
            "created_ms": 0,
            "acked": "",
        }
        copies = [
            {
                "block": block,
                "node": node,
                "generation": block,
                "state": "live",
                "verified_ms": verified_ms,
            }
            for node in holders
        ]
        self.do(lambda txn: txn.put(BLOCK, row))
        self.do(lambda txn: txn.put(REPLICA, *copies))

    def put_garbage(
        self,
        block: int = 1,
        *,
        holders: Sequence[int] = (),
        not_before_ms: int = 0,
        committed: bool = True,
    ) -> None:
        self.put_block(block, state=BlockState.GARBAGE, holders=holders)
        if not committed:
            self.do(lambda txn: txn.put(BLOCK, dict(txn.get(BLOCK, block) or {}) | {"hash": b""}))
        row = {
            "block": block,
            "generation": block,
            "not_before_ms": not_before_ms,
            "reason": "test",
        }
        self.do(lambda txn: txn.put(GC_QUEUE, row))

    def locations(self, node: NodeId) -> dict[int, str]:
        """The state of that node's copies, by block."""
        return {row.block: row.state for row in self._rows(REPLICA) if row.node == node}

    def blocks(self) -> set[int]:
        return {row.id for row in self._rows(BLOCK)}

    def kinds(self, node: NodeId) -> dict[int, str]:
        """What kind of stray lies on that node, by block."""
        return {row.block: row.kind for row in self._rows(STRAY) if row.node == node}

    def set_state(self, block: int, node: NodeId, state: ReplicaState) -> None:
        """Know a copy in another state."""

        def write(txn: Txn) -> None:
            row = txn.get(REPLICA, block, node)
            assert row is not None
            txn.put(REPLICA, dict(row) | {"state": state})

        self.do(write)

    def history(self, block: int) -> list[str]:
        """What is remembered of a block."""
        with self.reader.view() as connection:
            return [event.what.value for event in history.read(connection, BlockId(block))]

    def queued(self) -> set[int]:
        return {row.block for row in self._rows(GC_QUEUE)}

    def said(self, event: Event) -> list[dict[str, object]]:
        return [dict(fields) for name, fields in self.emit.events if name is event]

    def _rows(self, table: Any) -> list[Any]:
        with self.reader.view() as connection:
            return list(connection.execute(table.select()))


def gone(block: int) -> StockEntry:
    """What a node says of a block it deleted."""
    return replace(an_entry(block), state=StoredState.DELETING)


def block_ids(*numbers: int) -> list[BlockId]:
    return [BlockId(number) for number in numbers]
