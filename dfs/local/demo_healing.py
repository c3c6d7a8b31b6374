"""The second act of the demo: the cluster heals what it lost, finds what rots, makes room, is well.

What is watched here the cluster does by itself; the demo only does the damage.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.records import LocatedExtent, NodeView
from dfs.base.states import NodeState
from dfs.base.units import format_size
from dfs.client import DfsClient
from dfs.local.demo_stage import Progress, Stage
from dfs.local.roster import DATANODE
from dfs.wire import routes
from dfs.wire.balance_api import BalanceReply, BalanceRequest
from dfs.wire.check_api import FsckRequest
from dfs.wire.codec import block_file_name
from dfs.wire.health_api import Check, HealthReport, HealthRequest, HealthStatus
from dfs.wire.nodes_api import RemoveNodeRequest
from dfs.wire.scrub_api import ScrubReply, ScrubStartRequest
from dfs.wire.shapes import Nothing

REPAIR_WITHIN_S: Final = 240.0
SCRUB_WITHIN_S: Final = 180.0
HEAL_WITHIN_S: Final = 60.0
LEVEL_WITHIN_S: Final = 180.0
WELL_WITHIN_S: Final = 45.0
REPORTED_WITHIN_S: Final = 3.0  # what a node found is in the catalog by then
LEVEL_SHARE: Final = 0.15  # of the mean use, that a node may be off it
LEVEL_BYTES_PER_S: Final = 400 * 1024 * 1024
FLIPPED_BIT: Final = 0x40
WELL_KEPT: Final = frozenset({"healthy", "excess"})
# What the disk of this machine is like is not the cluster's doing: all its DataNodes share it.
OF_THE_MACHINE: Final = frozenset({"disk_full", "space_discrepancy", "clock_skew"})


class Healing:
    """The steps, in the order they are told.

    Args:
        target: the directory in DFS with everything, and `large` the file in it with many blocks.
    """

    def __init__(self, stage: Stage, client: DfsClient, *, target: str, large: str) -> None:
        self._stage = stage
        self._screen = stage.screen
        self._client = client
        self._target = target
        self._large = f"{target}/{large}"

    def watch_repair(self, killed: str) -> None:
        """Every block gets its second copy again, from the one that is left."""
        self._screen.step(f"Watch the cluster make again what {killed} held.")
        watch = _RepairWatch(self, killed)
        with self._screen.timed("repaired"):
            done = self._stage.follow("repair", watch.look, within_s=REPAIR_WITHIN_S)
        self._stage.command("dfs-admin", f"fsck {self._target}")
        self._screen.prove(
            "what was down to one copy has two again, without a person",
            f"{watch.most:,} blocks",
            held=done and watch.most > 0,
        )

    def flip_and_scrub(self, killed: str) -> None:
        """A byte rots on one disk; the scrubber finds it and repair heals it."""
        self._screen.step("Flip one byte of a block file on a DataNode's disk, and scrub.")
        member, path = self._pick_file()
        self._screen.alarm(f"{member}: {path.name}, {_flip(path)}")
        before = self._scrub_status()
        ordered = self._client.link.call(routes.SCRUB_START, ScrubStartRequest())
        watch = _ScrubWatch(self, ordered.nodes, ordered.run)
        with self._screen.timed("every copy re-read", _held_bytes(before, ordered.nodes)):
            passed = self._stage.follow("scrub", watch.look, within_s=SCRUB_WITHIN_S)
        found = watch.found(before)
        self._screen.prove(
            "the flipped byte is found", f"{found} bad copy on {member}", held=passed and found == 1
        )
        gone = parse_node_name(killed)
        heal = _HealWatch(self, self._stage.clock)
        with self._screen.timed("healed, and every copy of the file re-read"):
            healed = self._stage.follow("heal", heal.look, within_s=HEAL_WITHIN_S)
            verdicts = [v for v in self._client.verify(self._large) if v.node != gone]
        aside = list((path.parents[3] / "quarantine").iterdir())
        self._stage.command("dfs-admin", "scrub status")
        intact = sum(verdict.intact for verdict in verdicts)
        self._screen.prove(
            "the bad copy is healed from the good one, and kept aside",
            f"{intact} of {len(verdicts)} copies intact, {len(aside)} in quarantine",
            held=healed and bool(aside) and intact == len(verdicts),
        )

    def grow_and_level(self, killed: str) -> None:
        """A DataNode more, and blocks move to it until all are about as full."""
        self._screen.step(f"Forget {killed}, add another DataNode, and level all of them.")
        self._client.link.call(routes.REMOVE_NODE, RemoveNodeRequest(name=killed))
        with self._screen.timed("a new DataNode serves"):
            added = self._stage.cluster.add_datanode().name
        nodes = [node for node in self._nodes() if node.state is NodeState.LIVE]
        mean_bytes = sum(node.usage.used_bytes for node in nodes) / len(nodes)
        total_bytes = max(node.usage.total_bytes for node in nodes)
        request = BalanceRequest(
            threshold_percent=100 * LEVEL_SHARE * mean_bytes / total_bytes,
            bandwidth_bytes=LEVEL_BYTES_PER_S,
        )
        self._client.link.call(routes.BALANCE_START, request)
        with self._screen.timed("levelled"):
            self._stage.follow("rebalance", self._look_level, within_s=LEVEL_WITHIN_S)
        reply = self._balance()
        words = ", ".join(
            f"{node_name(NodeId(share.node))} {format_size(share.used_bytes)}"
            for share in reply.nodes
            if share.side != "out"
        )
        self._screen.say(f"{format_size(reply.moved_bytes)} moved; now {words}")
        self._screen.prove(
            f"{added} carries its part",
            f"every DataNode within {LEVEL_SHARE:.0%} of the mean",
            held=reply.state == "done" and reply.moved_bytes > 0,
        )

    def ask_health(self) -> None:
        """Nothing is left to worry about."""
        self._screen.step("Ask how the cluster is.")
        well = self._stage.follow("health", self._look_well, within_s=WELL_WITHIN_S)
        self._stage.command("dfs-admin", "health", fine=range(4))
        report = self._health()
        asides = [check.id for check in report.checks if check.status is not HealthStatus.OK]
        self._screen.prove(
            "the cluster says that all is well",
            f"{len(report.checks)} checks"
            + (f"; of this machine's own: {', '.join(asides)}" if asides else ""),
            held=well,
        )

    # ---- what is looked at

    def badly_kept(self) -> int:
        """Blocks below the target that have not the copies they should have."""
        bad, cursor = 0, ""
        while True:
            request = FsckRequest(path=self._target, cursor=cursor)
            reply = self._client.link.call(routes.FSCK, request)
            kept = reply.totals.blocks_by_health
            bad += sum(count for health, count in kept.items() if health not in WELL_KEPT)
            cursor = reply.next
            if not cursor:
                return bad

    def state_of(self, name: str) -> NodeState:
        """How the NameNode sees a DataNode."""
        wanted = parse_node_name(name)
        return next(node.state for node in self._nodes() if node.node == wanted)

    def scrub_status(self) -> ScrubReply:
        """How far the scrubbers are."""
        return self._scrub_status()

    def _scrub_status(self) -> ScrubReply:
        return self._client.link.call(routes.SCRUB_STATUS, Nothing())

    def _nodes(self) -> Sequence[NodeView]:
        return self._client.link.call(routes.NODES, Nothing()).nodes

    def _balance(self) -> BalanceReply:
        return self._client.link.call(routes.BALANCE_STATUS, Nothing())

    def _health(self) -> HealthReport:
        return self._client.link.call(routes.HEALTH, HealthRequest(probe=True))

    def _look_level(self) -> Progress:
        reply = self._balance()
        whole = max(1, reply.moved_bytes + reply.left_bytes)
        words = f"{format_size(reply.moved_bytes)} moved, {format_size(reply.left_bytes)} left"
        return Progress(reply.moved_bytes / whole, words, reply.state != "running")

    def _look_well(self) -> Progress:
        bad = _not_well(self._health())
        words = ", ".join(check.id for check in bad) or "all is well"
        return Progress(0.0 if bad else 1.0, words, not bad)

    def _pick_file(self) -> tuple[str, Path]:
        """A DataNode that lives, and the file of a block of the large file on its disk."""
        extents = self._client.locate(self._large).extents
        for extent in extents[len(extents) // 2 :]:
            for name, data in self._living_holders(extent):
                pattern = f"*/*/{block_file_name(extent.name)}"
                for path in (data / "blocks").glob(pattern):
                    return name, path
        raise AssertionError("a file that was just repaired has block files")

    def _living_holders(self, extent: LocatedExtent) -> list[tuple[str, Path]]:
        ports = Counter(
            holder.address.grpc_port
            for holder in extent.holders
            if holder.node_state is NodeState.LIVE
        )
        folder = self._stage.cluster.folder
        members = folder.load().of(DATANODE)
        return [(one.name, folder.data(one)) for one in members if one.port in ports]


class _RepairWatch:
    """Follows a repair: first the node must count as lost, then blocks get whole."""

    def __init__(self, healing: Healing, killed: str) -> None:
        self._healing = healing
        self._killed = killed
        self.most = 0

    def look(self) -> Progress:
        """Where it is."""
        state = self._healing.state_of(self._killed)
        owed = self._healing.badly_kept()
        self.most = max(self.most, owed)
        if not self.most:
            return Progress(0.0, f"{self._killed} is {state.value}; it may come back")
        words = f"{self.most - owed:,} of {self.most:,} blocks have two copies again"
        over = owed == 0 and state is NodeState.DEAD
        return Progress(1 - owed / self.most, words, over)


class _ScrubWatch:
    """Follows a scrub pass over the nodes it was ordered of."""

    def __init__(self, healing: Healing, nodes: Sequence[int], run: int) -> None:
        self._healing = healing
        self._nodes = frozenset(nodes)
        self._run = run
        self._last: ScrubReply | None = None

    def look(self) -> Progress:
        """Where it is."""
        self._last = self._healing.scrub_status()
        mine = [node.scrub for node in self._last.nodes if node.node in self._nodes]
        done = [scrub.run == self._run and scrub.run_done for scrub in mine]
        total = sum(scrub.total_bytes for scrub in mine)
        read = sum(
            scrub.total_bytes if is_done else scrub.pass_bytes * (scrub.run == self._run)
            for scrub, is_done in zip(mine, done, strict=True)
        )
        words = f"{format_size(read)} of {format_size(total)} verified"
        return Progress(read / max(1, total), words, all(done))

    def found(self, before: ScrubReply) -> int:
        """Bad copies found since."""
        assert self._last is not None
        earlier = {node.node: node.scrub.found for node in before.nodes}
        return sum(node.scrub.found - earlier.get(node.node, 0) for node in self._last.nodes)


class _HealWatch:
    """Follows a healing, which may be over before one looks."""

    def __init__(self, healing: Healing, clock: Clock) -> None:
        self._healing = healing
        self._clock = clock
        self._quiet_s = clock.monotonic_s() + REPORTED_WITHIN_S

    def look(self) -> Progress:
        """Where it is; over when nothing is left to heal for a while, and every block is whole."""
        blocks, now_s = self._healing.scrub_status().blocks, self._clock.monotonic_s()
        left = blocks.healing + blocks.lost
        if left:
            self._quiet_s = now_s + REPORTED_WITHIN_S
        over = now_s >= self._quiet_s and not self._healing.badly_kept()
        return Progress(0.0 if left else 1.0, f"{left} to heal", over)


def _held_bytes(status: ScrubReply, nodes: Sequence[int]) -> int:
    return sum(node.scrub.total_bytes for node in status.nodes if node.node in nodes)


def _not_well(report: HealthReport) -> list[Check]:
    return [
        check
        for check in report.checks
        if check.status is not HealthStatus.OK and check.id not in OF_THE_MACHINE
    ]


def _flip(path: Path) -> str:
    """Change one bit in the middle of the file, as rot does it; in words which."""
    with path.open("r+b") as file:
        at = file.seek(0, 2) // 2
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ FLIPPED_BIT]))
    return f"byte {at:,}: {byte:#04x} is {byte ^ FLIPPED_BIT:#04x} now"
