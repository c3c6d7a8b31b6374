"""A seeded storm over a cluster of real processes, and what must be true while it blows and after.

Writers keep an oracle: of every path the contents that may be there.  Faults come from one thread
in the order that the seed gives; a block file is damaged only while another intact copy of that
block lies on some disk.  Two questions are asked all the while: does every committed block have an
intact copy somewhere, and is nothing read but what was written?  Afterwards, when every fault has
stopped, the cluster must become whole by itself.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from dfs.base.entropy import Random
from dfs.base.errors import DfsError, JobConflict
from dfs.base.states import BlockState, NodeDuty, ReplicaState
from dfs.local import processes
from dfs.meta.tables import BLOCK, REPLICA, STRAY
from dfs.wire import routes
from dfs.wire.balance_api import BalanceRequest
from dfs.wire.check_api import FsckReply, FsckRequest
from dfs.wire.health_api import HealthReport, HealthRequest, HealthStatus
from dfs.wire.routes import Q, R, Route
from dfs.wire.safety_api import DutyRequest
from dfs.wire.scrub_api import ScrubStartRequest
from dfs.wire.shapes import NameRequest, Nothing
from tests.cluster_rig import RigCluster
from tests.e2e.fuzz_disks import Lying, bereft, intact_copies, is_intact, lying, truths
from tests.e2e.fuzz_writer import Writer
from tests.e2e.integrity_rig import DAMAGE, node_number

FUZZ_SETTINGS = {
    "give_up_s": "15s",
    "transfer_give_up_s": "15s",
    "stock_full_s": "4s",
    "quarantine_keep_s": "4s",
    "stray_keep_s": "2s",
    "dead_after_s": "5s",
    "stale_after_s": "1500ms",
    "urgent_after_s": "3s",
    "clean_stop_s": "10s",
    "new_after_s": "5s",
    "quick_interval_s": "5s",
    "slo_s": "20s",
    "doubt_percent": "100",
    "doubt_blocks": "1000",
    "sweep_interval_s": "2s",
}
LOOK_EVERY_S = 5


# ---- faults


@dataclass
class Storm:
    """Faults, one after the other, in the order that the seed gives."""

    cluster: RigCluster
    rng: Random
    down: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    without: frozenset[str] = frozenset()
    began_s: float = field(default_factory=time.monotonic)

    def faults(self) -> list[Callable[[], str]]:
        """What may happen, as often as it is likely."""
        weights = {
            self.kill: 4,
            self.stop: 2,
            self.freeze: 3,
            self.thaw: 4,
            self.start: 6,
            self.damage: 6,
            self.scrub: 2,
            self.balance: 2,
            self.unbalance: 1,
            self.compact: 3,
            self.duty: 4,
            self.in_service: 4,
            self.namenode: 2,
            self.catalog: 1,
        }
        return [
            fault
            for fault, weight in weights.items()
            for _ in range(weight)
            if fault.__name__ not in self.without
        ]

    def blow(self) -> None:
        """One fault."""
        fault = self.rng.choice(self.faults())
        try:
            said = fault()
        except DfsError as err:
            said = f"refused: {err.code}: {err.message[:80]}"
        if said:
            at_s = time.monotonic() - self.began_s
            self.log.append(f"{at_s:6.1f} {fault.__name__} {said}")

    def _up(self) -> list[str]:
        return [n for n in self.cluster.datanodes if n not in self.down | self.frozen]

    def _pick(self, names: Sequence[str]) -> str:
        return self.rng.choice(sorted(names)) if names else ""

    def kill(self) -> str:
        """SIGKILL for a DataNode."""
        name = self._pick(sorted({*self._up(), *self.frozen})) if len(self._up()) > 2 else ""
        if name:
            self.cluster.kill(name)
            self.down.add(name)
            self.frozen.discard(name)
        return name

    def stop(self) -> str:
        """SIGTERM for one."""
        name = self._pick(self._up()) if len(self._up()) > 2 else ""
        if name:
            self.cluster.stop(name)
            self.down.add(name)
        return name

    def freeze(self) -> str:
        """SIGSTOP for one."""
        name = self._pick(self._up()) if len(self._up()) > 2 else ""
        if name:
            self._signal(name, signal.SIGSTOP)
            self.frozen.add(name)
        return name

    def thaw(self) -> str:
        """SIGCONT for one."""
        name = self._pick(sorted(self.frozen))
        if name:
            self._signal(name, signal.SIGCONT)
            self.frozen.discard(name)
        return name

    def start(self) -> str:
        """One that is down comes back."""
        name = self._pick(sorted(self.down))
        if name:
            self.cluster.start(name)
            self.down.discard(name)
        return name

    def catalog(self) -> str:
        """One that is down loses its catalog."""
        name = self._pick(sorted(self.down))
        if name:
            for tail in ("", "-wal", "-shm"):
                (self.cluster.data(name) / f"catalog.sqlite{tail}").unlink(missing_ok=True)
        return name

    def namenode(self) -> str:
        """SIGKILL for the NameNode, and a start."""
        self.cluster.kill("nn-1")
        time.sleep(self.rng.uniform(0, 2))
        self.cluster.start("nn-1")
        return "nn-1"

    def damage(self) -> str:
        """Spoil a file, when another intact one of that block lies elsewhere and is not leaving."""
        files = intact_copies(self.cluster)
        there = {b: [f for f in found if f.at == "blocks"] for b, found in files.items()}
        # Three: one may be on its way out by the NameNode's word at this moment.
        rich = sorted(b for b, found in there.items() if len({f.node for f in found}) >= 3)
        rich = rich or sorted(b for b, found in self._settled(there).items() if len(found) >= 2)
        if not rich:
            return ""
        block = self.rng.choice(rich)
        file = self.rng.choice(sorted(there[block], key=lambda f: f.node))
        how = self.rng.choice(sorted(DAMAGE))
        with contextlib.suppress(FileNotFoundError):
            DAMAGE[how](file.path)
        return f"{how}: block {block} on {file.node}"

    def _settled(self, there: dict[int, list[Lying]]) -> dict[int, list[Lying]]:
        """Blocks with exactly the copies wanted, so that none of them is about to leave."""
        wanted = {block: want for block, (_, want) in truths(self.cluster).items()}
        return {b: found for b, found in there.items() if len(found) <= wanted.get(b, 0)}

    def scrub(self) -> str:
        """Verify everything now."""
        self._call(routes.SCRUB_START, ScrubStartRequest())
        return "all"

    def balance(self) -> str:
        """Level the nodes, as finely as can be."""
        self._call(routes.BALANCE_START, BalanceRequest(threshold_percent=1.0))
        return "started"

    def unbalance(self) -> str:
        """Level them no more."""
        self._call(routes.BALANCE_STOP, Nothing())
        return "stopped"

    def compact(self) -> str:
        """Gather small files, and rewrite packs with holes."""
        self._call(routes.COMPACT_START, Nothing())
        return "started"

    def duty(self) -> str:
        """A node is to leave, or rests."""
        name = self._pick(self.cluster.datanodes)
        duty = self.rng.choice((NodeDuty.DECOMMISSIONING, NodeDuty.MAINTENANCE))
        self._call(routes.SET_DUTY, DutyRequest(name=name, duty=duty))
        return f"{name} {duty}"

    def in_service(self) -> str:
        """It stays, after all."""
        name = self._pick(self.cluster.datanodes)
        self._call(routes.SET_DUTY, DutyRequest(name=name, duty=NodeDuty.IN_SERVICE))
        return name

    def calm(self) -> None:
        """Every fault ends."""
        for name in sorted(self.frozen):
            self._signal(name, signal.SIGCONT)
        self.frozen.clear()
        self.down.clear()
        self.cluster.up()
        for name in self.cluster.datanodes:
            self._call(routes.SET_DUTY, DutyRequest(name=name, duty=NodeDuty.IN_SERVICE))
            self._call(routes.TRUST_NODE, NameRequest(name=name))
        with contextlib.suppress(JobConflict):  # none runs
            self._call(routes.BALANCE_STOP, Nothing())
        self.log.append(f"{time.monotonic() - self.began_s:6.1f} calm")

    def _call(self, route: Route[Q, R], body: Q) -> R:
        return ask(self.cluster, route, body)

    def _signal(self, name: str, number: signal.Signals) -> None:
        member = self.cluster.folder.load().find(name)
        processes.send(member.pid, member.started, number)  # another may have its number now


# ---- afterwards


def ask(cluster: RigCluster, route: Route[Q, R], body: Q) -> R:
    """What the NameNode answers an administrator."""
    with cluster.client() as client:
        return client.link.call(route, body)


def unsettled(cluster: RigCluster, *, strays_stay: bool = False) -> str:
    """What is not yet as it should be when all is well; "" when all is.

    Args:
        strays_stay: full reports are too rare for strays to leave.
    """
    with cluster.metadata() as connection:
        replicas = connection.execute(select(REPLICA)).all()
        strays = {(row.block, row.generation) for row in connection.execute(select(STRAY))}
        states = {row[0] for row in connection.execute(select(BLOCK.c.state).distinct())}
    if odd := [row for row in replicas if row.state != ReplicaState.LIVE]:
        return f"replicas that are not live: {odd[:3]}"
    if states - {BlockState.COMMITTED}:
        return f"blocks are {states}"
    if strays and not strays_stay:
        return f"strays: {sorted(strays)[:3]}"
    if parts := cluster.parts():
        return f"half-written: {parts[:3]}"
    holders: dict[int, set[int]] = {}
    for row in replicas:
        holders.setdefault(row.block, set()).add(row.node)
    return _disks_differ(cluster, holders, strays) or _ill(cluster)


def _disks_differ(
    cluster: RigCluster, holders: dict[int, set[int]], strays: set[tuple[int, int]]
) -> str:
    """What lies on disks and is not in rows, or the other way round."""
    known = truths(cluster)
    for block, (_, wanted) in known.items():
        if len(holders.get(block, ())) != min(wanted, len(cluster.datanodes)):
            return f"block {block} has {sorted(holders.get(block, ()))} of {wanted}"
    on_disk: dict[int, set[int]] = {}
    for file in lying(cluster):
        if (file.name.block, file.name.generation) in strays:
            continue
        if file.at == "quarantine" or file.name.block not in known:
            return f"on {file.node}, not wanted in {file.at}: {file.path.name}"
        if not is_intact(file, known[file.name.block][0]):
            return f"on {file.node} and not intact: {file.path.name}"
        on_disk.setdefault(file.name.block, set()).add(node_number(file.node))
    differ = [block for block in known if on_disk.get(block) != holders.get(block)]
    return "".join(
        f"block {block}: on disks {on_disk.get(block)}, in rows {holders.get(block)}"
        for block in differ[:1]
    )


def _ill(cluster: RigCluster) -> str:
    health: HealthReport = ask(cluster, routes.HEALTH, HealthRequest())
    if health.status is HealthStatus.CRITICAL:
        bad = [check for check in health.checks if check.status is HealthStatus.CRITICAL]
        return f"health: {bad[:2]}"
    check: FsckReply = ask(cluster, routes.FSCK, FsckRequest())
    odd = {k: n for k, n in check.totals.blocks_by_health.items() if k != "healthy"}
    return f"fsck: {odd}" if any(odd.values()) else ""


@dataclass(frozen=True)
class Plan:
    """How long, and on how much."""

    seed: str
    datanodes: int
    writers: int
    blow_s: float
    calm_s: float
    pause_s: float = 1.0
    without: frozenset[str] = frozenset()
    strays_stay: bool = False


def weather(cluster: RigCluster, plan: Plan) -> list[str]:
    """Let it blow, and say what was wrong; nothing when all was well."""
    storm = Storm(cluster, Random(f"{plan.seed} storm"), without=plan.without)
    writers = [Writer(cluster, number, plan.seed) for number in range(plan.writers)]
    with cluster.client() as client:
        for writer in writers:
            client.mkdir(writer.directory)
    for writer in writers:
        writer.start()
    try:
        wrong = _while_it_blows(cluster, storm, writers, plan)
    finally:
        for writer in writers:
            writer.stop()
    for writer in writers:
        writer.join()
    storm.calm()
    wrong += [each for writer in writers for each in writer.wrong]
    if not wrong:
        wrong += _afterwards(cluster, writers, plan)
    done, refused = sum(w.done for w in writers), sum(w.refused for w in writers)
    print(f"{done} done, {refused} refused, {len(storm.log)} faults", flush=True)
    if wrong:
        print("\n".join(storm.log), flush=True)
    return wrong


def _while_it_blows(
    cluster: RigCluster, storm: Storm, writers: Sequence[Writer], plan: Plan
) -> list[str]:
    looked_s = time.monotonic()
    until_s = looked_s + plan.blow_s
    wrong: list[str] = []
    while time.monotonic() < until_s and not wrong:
        time.sleep(storm.rng.uniform(0, plan.pause_s))  # the random moment
        storm.blow()
        if time.monotonic() - looked_s > LOOK_EVERY_S:
            looked_s = time.monotonic()
            wrong += [f"no intact copy of block {block}" for block in bereft(cluster)]
            wrong += [each for writer in writers for each in writer.wrong]
    return wrong


def _afterwards(cluster: RigCluster, writers: Sequence[Writer], plan: Plan) -> list[str]:
    began_s = time.monotonic()
    why, well = "not looked", 0
    while well < 2:  # once might be between two things
        if time.monotonic() - began_s > plan.calm_s:
            return [f"not whole after {plan.calm_s:.0f} s: {why}"]
        try:
            why = unsettled(cluster, strays_stay=plan.strays_stay)
        except DfsError as err:
            why = f"{err.code}: {err.message}"
        well = 0 if why else well + 1
        time.sleep(0.5)
    print(f"whole after {time.monotonic() - began_s:.1f} s", flush=True)
    for writer in writers:
        writer.check_at_last()
    cluster.check_metadata()
    return [each for writer in writers for each in writer.wrong]
