"""Canaries over a real metadata database and namespace, with imagined DataNodes.

`python -m tests.unit.upkeep.canary_rig FOLDER` plays rounds until one is brought to its end, or a
crash point ends it.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from msgspec.structs import replace

from dfs.base import crashpoint
from dfs.base.checksum import block_hash
from dfs.base.clock import ManualClock
from dfs.base.errors import DfsError, PeerUnreachable
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import (
    AllocatedBlock,
    BlockName,
    BlockTruth,
    NodeCommand,
    NodeView,
    WrittenBlock,
)
from dfs.base.states import ReplicaState
from dfs.blocks.history import BlockEvent, What, note
from dfs.blocks.redundancy import Standings, standings
from dfs.meta.tables import BLOCK, REPLICA
from dfs.nodes.orders import Order
from dfs.settings.sections import Config, ScrubConfig
from dfs.upkeep.canary import Canaries, CanaryParts
from dfs.upkeep.caution import Caution
from dfs.upkeep.survey import Survey
from dfs.upkeep.surveyor import Surveyor
from dfs.wire.scrub_api import CanaryStatus
from dfs.wire.tokens import sign_receipt
from tests.builders import a_node
from tests.namespace_rig import NamespaceRig

INTERVAL_S = 100.0


class Fleet:
    """Three DataNodes that take every order; their stock is known."""

    def __init__(self, nodes: Sequence[NodeView]) -> None:
        self.nodes = list(nodes)
        self.stale_stock: set[NodeId] = set()
        self.orders: list[tuple[NodeId, str, BlockName | None]] = []
        self.withdrawn: list[BlockName | None] = []
        self.takes = True
        self.obeyed: Callable[[NodeId, NodeCommand], None] = lambda _node, _command: None

    def views(self) -> tuple[NodeView, ...]:
        return tuple(self.nodes)

    def fresh(self) -> frozenset[NodeId]:
        return frozenset(view.node for view in self.nodes) - self.stale_stock

    def enqueue(
        self,
        node: NodeId,
        verb: str,
        block: BlockName | None = None,
        *,
        reason: str = "",
        value: int = 0,
    ) -> bool:
        if self.takes:
            self.orders.append((node, verb, block))
            self.obeyed(node, NodeCommand(len(self.orders), verb, 1, block))
        return self.takes

    def cancel(self, node: NodeId, verb: str, block: BlockName | None = None) -> bool:
        self.withdrawn.append(block)
        return False

    def spoiled(self) -> list[tuple[NodeId, BlockId]]:
        return [
            (node, block.block)
            for node, verb, block in self.orders
            if verb == Order.SPOIL_CANARY and block
        ]


class Standing:
    """What the fleet's copies are worth."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def standings(self) -> Standings:
        return standings(self._fleet.views(), fresh=self._fleet.fresh(), urgent_after_s=60)


class CanaryRig(NamespaceRig):
    """A NameNode whose canaries' bytes go to imagined disks; `rounds` are of INTERVAL_S."""

    def __init__(self, folder: Path, *, nodes: int = 3) -> None:
        self.fleet = Fleet([a_node(node) for node in range(1, nodes + 1)])
        self.held_back = ""
        self.refusal: DfsError | None = None
        self.broken: set[NodeId] = set()
        config = Config(scrub=ScrubConfig(canary_interval_s=INTERVAL_S))
        super().__init__(folder, config=config, nodes=self.fleet.nodes, clock=ManualClock())

    def open(self) -> None:
        super().open()
        self.canaries = Canaries(
            CanaryParts(
                writer=self.writer,
                reader=self.reader,
                nodes=self.fleet,
                stock=self.fleet,
                files=self.space.canaries,
                blocks=self,
                caution=Caution(changes=[lambda: self.refusal], deletes=[lambda: self.held_back]),
                clock=self.clock,
                rng=Random(1),
                emit=self.emit,
                config=self.config,
            )
        )
        self.fleet.obeyed = self.canaries.heard

    # ---- the DataNodes, as a `BlockWriter` sees them

    def write(self, allocated: AllocatedBlock, path: str, content: bytes) -> WrittenBlock:
        truth = BlockTruth(
            allocated.name.block, allocated.name.generation, len(content), block_hash(content)
        )
        key = self.keys.ring().newest()
        takers = [target.node for target in allocated.targets if target.node not in self.broken]
        if not takers:
            raise PeerUnreachable("nobody answers")
        receipts = tuple(sign_receipt(truth, node=node, epoch=1, key=key) for node in takers)
        return WrittenBlock(truth, receipts)

    def set_copy(
        self, block: int, node: int, state: ReplicaState | None, *, verified_ms: int | None = None
    ) -> None:
        """What is known of a copy changes, as by a stock report or a repair."""

        def work(txn) -> None:
            row = txn.get(BLOCK, block)
            assert row is not None
            if state is None:
                txn.drop_soft(REPLICA, (block, node))
                return
            txn.put_soft(
                REPLICA,
                {
                    "block": block,
                    "node": node,
                    "generation": row["generation"],
                    "state": state,
                    "verified_ms": txn.now_ms if verified_ms is None else verified_ms,
                },
            )

        self.change(work)

    def tell_bad(self, block: int, node: int) -> None:
        """The history knows that the node proved its copy bad."""
        event = BlockEvent(BlockId(block), self._generation(block), What.CORRUPT, NodeId(node))
        self.change(lambda txn: note(txn, [event]))

    def _generation(self, block: int):
        return self.look(
            lambda c: c.execute(BLOCK.select().where(BLOCK.c.id == block)).one()
        ).generation

    # ---- what tests say

    def pass_on(self, seconds: float = 1.0):
        """Let time pass, then the job."""
        self.advance(seconds)
        return self.canaries.run_once()

    def status(self, node: int) -> CanaryStatus:
        return next(one for one in self.canaries.statuses() if one.node == node)

    def place(self):
        """The first canaries of all, written."""
        self.pass_on(0)
        return self.pass_on(INTERVAL_S)

    def survey(self) -> Survey:
        """What a survey of all blocks finds now."""
        source = Standing(self.fleet)
        return Surveyor(self.reader, source=source, clock=self.clock, interval_s=1.0).survey_now()

    def block_of(self, node: int) -> int:
        block = self.canaries._canary(NodeId(node)).block
        assert block
        return block

    def heal(self, block: int, bad: int, target: int) -> None:
        """Its node reports the copy bad, and repair makes another elsewhere."""
        self.set_copy(block, bad, ReplicaState.CORRUPT)
        self.canaries.run_once()
        self.set_copy(block, target, ReplicaState.LIVE)

    def silence(self, node: int, **changes: object) -> None:
        at = next(i for i, view in enumerate(self.fleet.nodes) if view.node == node)
        self.fleet.nodes[at] = replace(self.fleet.nodes[at], **changes)  # type: ignore[arg-type]


@contextlib.contextmanager
def opened(folder: Path, *, nodes: int = 3) -> Iterator[CanaryRig]:
    rig = CanaryRig(folder, nodes=nodes)
    try:
        yield rig
    finally:
        rig.close()


def play(rig: CanaryRig) -> None:
    """Until each canary was healed once more, whatever was known at the start."""
    goal = {one.node: one.rounds + 1 for one in rig.canaries.statuses()}
    for _ in range(60):
        rig.pass_on(INTERVAL_S / 4)
        for one in rig.canaries.statuses():
            block = rig.block_of(one.node) if one.path else 0
            if one.state == "spoiled":
                rig.set_copy(block, one.node, ReplicaState.CORRUPT)
            elif one.state == "found":
                rig.set_copy(block, 1 + one.node % 3, ReplicaState.LIVE)
                rig.set_copy(block, 1 + (one.node + 1) % 3, ReplicaState.LIVE)
        done = rig.canaries.statuses()
        if len(done) == 3 and all(one.rounds >= goal.get(one.node, 1) for one in done):
            return
    raise AssertionError(f"no round came to its end: {rig.canaries.statuses()}")


if __name__ == "__main__":
    crashpoint.arm(os.environ)
    with opened(Path(sys.argv[1])) as played:
        play(played)
