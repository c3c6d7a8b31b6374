"""The balancing job over real rows; only what copies and deletes is played."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, JobConflict
from dfs.base.ids import Generation, NodeId
from dfs.base.records import NodeUsage, NodeView
from dfs.base.states import BlockState, NodeState, ReplicaState
from dfs.base.units import MiB
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.txn import Txn
from dfs.settings.sections import BalanceConfig, RepairConfig
from dfs.upkeep.balance import BalanceParts, Balancer
from dfs.upkeep.executor import CopyOutcome
from dfs.upkeep.retiring import Retirement
from dfs.upkeep.steps import CopyBlock, DropReplica
from dfs.wire.balance_api import BalanceReply, BalanceRequest
from tests.builders import a_node, a_volume
from tests.metadata_rig import MetadataRig

TOTAL = 100 * MiB


class PlayedCluster:
    """Nodes whose use is what their rows say; it is the mover, the stock and the holds at once."""

    def __init__(self, metadata: MetadataRig, *, nodes: int) -> None:
        self.metadata = metadata
        self.nodes = {NodeId(node): a_node(node) for node in range(1, nodes + 1)}
        self.unknown: set[NodeId] = set()
        self.hold = ""
        self.copy_error = ""
        self.retire_error = ""
        self.peak = self._now = 0
        self._lock = threading.Lock()

    def store(self, first: int, *, count: int, node: int, size: int = MiB) -> None:
        blocks = range(first, first + count)
        self.metadata.change(lambda txn: txn.put(BLOCK, *(_block(n, size) for n in blocks)))
        self._change(lambda txn: txn.put(REPLICA, *(_copy(n, node) for n in blocks)))

    def _change(self, work: Callable[[Txn], None]) -> None:
        self.metadata.change(work)

    def held(self) -> dict[int, int]:
        """Blocks of each node."""
        rows = self.metadata.look(lambda c: c.execute(select(REPLICA)).all())
        return dict(Counter(row.node for row in rows))

    # What the job asks.

    def views(self) -> list[NodeView]:
        wanted = select(REPLICA.c.node, BLOCK.c.length_bytes).join(
            BLOCK, BLOCK.c.id == REPLICA.c.block
        )
        used: Counter[int] = Counter()
        for node, size in self.metadata.look(lambda c: c.execute(wanted).all()):
            used[node] += size
        return [_used(view, used[view.node], self._told_ms()) for view in self.nodes.values()]

    def _told_ms(self) -> int:
        return self.metadata.clock.now_ms() + 5_000

    def fresh(self) -> frozenset[NodeId]:
        return frozenset(set(self.nodes) - self.unknown)

    def why_hold(self) -> str:
        return self.hold

    def submit(self, step: CopyBlock, then: Callable[[CopyOutcome], None] | None = None) -> bool:
        assert then is not None
        assert step.source != step.target
        with self._lock:
            self._now += 1
            self.peak = max(self.peak, self._now)
        threading.Thread(target=self._run, args=(step, then)).start()
        return True

    def _run(self, step: CopyBlock, then: Callable[[CopyOutcome], None]) -> None:
        block, target = step.truth.block, step.target
        if not self.copy_error:
            self._change(lambda txn: txn.put(REPLICA, _copy(block, target)))
        with self._lock:
            self._now -= 1
        then(CopyOutcome(step, 0.1, self.copy_error))

    def drop(self, step: DropReplica) -> Retirement:
        if self.retire_error:
            return Retirement(done=False, why_not=self.retire_error)
        self._change(lambda txn: txn.drop(REPLICA, (step.name.block, step.node)))
        return Retirement(done=True)


def _block(number: int, size: int) -> dict[str, object]:
    return {
        "id": number,
        "generation": 1,
        "length_bytes": size,
        "hash": b"h" * 16,
        "state": BlockState.COMMITTED,
        "file": 7,
        "number": number,
        "replication": 1,
        "created_ms": 1,
        "acked": "1",
    }


def _copy(block: int, node: int) -> dict[str, object]:
    return {
        "block": block,
        "node": node,
        "generation": Generation(1),
        "state": ReplicaState.LIVE,
        "verified_ms": 1,
    }


def _used(view: NodeView, used: int, at_ms: int) -> NodeView:
    usage = NodeUsage(TOTAL, TOTAL - used, used, 1.0, 0, at_ms=at_ms)
    volume = a_volume(free_bytes=TOTAL - used, total_bytes=TOTAL)
    return replace(view, usage=usage, volumes=(volume,))


@pytest.fixture
def cluster(metadata: MetadataRig) -> PlayedCluster:
    return PlayedCluster(metadata, nodes=3)


@pytest.fixture
def start(
    cluster: PlayedCluster, metadata: MetadataRig, clock: ManualClock
) -> Callable[[], Balancer]:
    """Makes the job's service, as each start of a NameNode does."""

    def make() -> Balancer:
        parts = BalanceParts(
            writer=metadata.writer,
            reader=metadata.reader,
            views=cluster.views,
            stock=cluster,
            mover=cluster,
            holds=(cluster.why_hold,),
            clock=clock,
            emit=metadata.emit,
            config=BalanceConfig(),
            repair=RepairConfig(),
        )
        return Balancer(parts)

    return make


@pytest.fixture
def balancer(start: Callable[[], Balancer]) -> Balancer:
    return start()


def finish(balancer: Balancer, clock: ManualClock, *, passes: int = 100) -> BalanceReply:
    """Run passes until the job is over."""
    for _ in range(passes):
        balancer.run_once()
        if balancer.status().state != "running":
            break
        clock.advance(3)
    return balancer.status()


def test_it_moves_until_every_node_is_near_the_mean_and_ends_by_itself(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    begun = balancer.start(BalanceRequest(), by="ada")
    assert (begun.state, begun.by, begun.total_bytes) == ("running", "ada", 30 * MiB)
    ended = finish(balancer, clock)
    assert (ended.state, ended.why) == ("done", "every node is within 10 % of the mean 20 %")
    assert ended.moved_blocks == 30
    assert ended.moved_bytes == 30 * MiB
    assert cluster.held() == {1: 30, 2: 15, 3: 15}
    assert not balancer.run_once()


def test_a_level_cluster_is_done_at_once(balancer: Balancer, cluster: PlayedCluster) -> None:
    cluster.store(1, count=5, node=1)
    answer = balancer.start(BalanceRequest(), by="ada")
    assert answer.state == "done"
    assert answer.why == "every node is within 10 % of the mean 1.67 %"


def test_two_at_once_are_refused(balancer: Balancer, cluster: PlayedCluster) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(), by="ada")
    with pytest.raises(JobConflict, match="already"):
        balancer.start(BalanceRequest(), by="bob")


@pytest.mark.parametrize(
    "body", [BalanceRequest(threshold_percent=0), BalanceRequest(bandwidth_bytes=0)]
)
def test_what_cannot_be_is_refused(balancer: Balancer, body: BalanceRequest) -> None:
    with pytest.raises(BadRequest):
        balancer.start(body, by="ada")


def test_it_can_be_stopped_and_begun_again(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(), by="ada")
    answer = balancer.stop(by="bob")
    assert (answer.state, answer.why) == ("stopped", "stopped by bob")
    assert not balancer.run_once()
    assert cluster.held() == {1: 60}
    with pytest.raises(JobConflict):
        balancer.stop(by="bob")
    balancer.start(BalanceRequest(), by="ada")
    assert finish(balancer, clock).state == "done"


def test_it_goes_on_after_a_restart(
    start: Callable[[], Balancer], cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    first = start()
    first.start(BalanceRequest(bandwidth_bytes=MiB), by="ada")
    first.run_once()
    moved = first.status().moved_blocks
    assert 0 < moved < 30
    second = start()
    assert second.status().moved_blocks == moved
    ended = finish(second, clock)
    assert (ended.state, ended.moved_blocks) == ("done", 30)


def test_after_a_restart_it_waits_until_every_node_has_said_what_it_holds(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(), by="ada")
    cluster.unknown = {NodeId(2)}
    balancer.run_once()
    assert balancer.status().why == "waiting to be told what dn-2 holds"
    cluster.unknown.clear()
    silent = cluster.nodes[NodeId(1)]
    cluster.nodes[NodeId(1)] = replace(silent, state=NodeState.JOINED)
    balancer.run_once()
    assert balancer.status().why == "waiting for dn-1, not heard lately"
    assert cluster.held() == {1: 60}
    cluster.nodes[NodeId(1)] = silent
    assert finish(balancer, clock).state == "done"


def test_it_gives_way_to_what_is_more_urgent_and_says_so(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(), by="ada")
    cluster.hold = "3 blocks have one copy left"
    assert not balancer.run_once()
    assert balancer.status().why == cluster.hold
    cluster.hold = ""
    assert finish(balancer, clock).state == "done"


def test_the_budget_is_kept(balancer: Balancer, cluster: PlayedCluster, clock: ManualClock) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(bandwidth_bytes=MiB), by="ada")
    balancer.run_once()
    for _ in range(5):
        before = balancer.status().moved_bytes
        clock.advance(2)
        balancer.run_once()
        assert balancer.status().moved_bytes - before == 2 * MiB
    assert balancer.status().rate_bytes_per_s > 0
    assert balancer.status().eta_s > 0


def test_no_more_moves_at_once_than_configured(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    balancer.start(BalanceRequest(), by="ada")
    finish(balancer, clock)
    assert 1 <= cluster.peak <= BalanceConfig().moves_at_once


def test_it_ends_saying_why_when_nothing_more_can_move(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=1, node=1, size=60 * MiB)
    balancer.start(BalanceRequest(), by="ada")
    ended = finish(balancer, clock)
    assert ended.state == "stuck"
    assert "dn-1 is at 60 %, dn-2 is at 0 %, dn-3 is at 0 %. Nothing more can move" in ended.why
    assert "1 too big for what is left to move" in ended.why


def test_it_gives_up_when_moves_fail_again_and_again(
    balancer: Balancer, cluster: PlayedCluster, clock: ManualClock
) -> None:
    cluster.store(1, count=60, node=1)
    cluster.copy_error = "peer_unreachable: dn-2: connection refused"
    balancer.start(BalanceRequest(), by="ada")
    ended = finish(balancer, clock, passes=1000)
    assert ended.state == "stuck"
    assert "moves failed in a row, the last: peer_unreachable: dn-2" in ended.why
    assert cluster.held() == {1: 60}


def test_a_copy_that_may_not_be_retired_stays_and_counts_as_failed(
    balancer: Balancer, cluster: PlayedCluster
) -> None:
    cluster.store(1, count=60, node=1)
    cluster.retire_error = "another copy is not sure any more"
    balancer.start(BalanceRequest(), by="ada")
    report = balancer.run_once()
    assert report.failed
    assert not report.moved
    assert cluster.held()[1] == 60
    assert balancer.status().moved_bytes == 0


def test_a_dry_run_moves_nothing(balancer: Balancer, cluster: PlayedCluster) -> None:
    cluster.store(1, count=60, node=1)
    plan = balancer.plan(BalanceRequest())
    assert plan.total_bytes == plan.planned_bytes == 30 * MiB
    assert len(plan.moves) == 30
    assert {move.source for move in plan.moves} == {1}
    assert cluster.held() == {1: 60}
    assert balancer.status().state == "idle"


def test_a_dry_run_says_which_files_would_move(balancer: Balancer, cluster: PlayedCluster) -> None:
    cluster.store(1, count=60, node=1)
    balancer.block_paths = lambda _connection, blocks: {each: f"/f{each}" for each in blocks}
    plan = balancer.plan(BalanceRequest())
    assert {move.path for move in plan.moves} == {f"/f{move.block.block}" for move in plan.moves}


def test_where_nodes_stand_is_said_before_anything_was_started(
    balancer: Balancer, cluster: PlayedCluster
) -> None:
    cluster.store(1, count=60, node=1)
    status = balancer.status()
    assert [(node.node, node.side, round(node.percent)) for node in status.nodes] == [
        (1, "over", 60),
        (2, "under", 0),
        (3, "under", 0),
    ]
    assert round(status.mean_percent) == 20
