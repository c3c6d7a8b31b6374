"""A cluster on paper: the product's own members and voters, on a network and disks that fail.

Machines m1, m2, ... each run a voter; the first ones a NameNode beside it, in the same process.
One seed gives one history.  Everything that happens is an entry of one queue, ordered by true time;
each machine's clock runs at a rate of its own.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any

from dfs.base.entropy import Random
from dfs.ha import effects as fx
from dfs.ha.leader import Leader
from dfs.ha.messages import Letter
from dfs.ha.rows import VoterRow, first_rows, joining_row
from dfs.ha.timers import Timers
from tests.unit.ha.ha_oracle import Oracle
from tests.unit.ha.paper_machine import CLUSTER, Faults, Machine, Request, Shape


class Client:
    """Writes one thing after another, each until it is told that it is done; reads in between."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.made = 0
        self.now: Request | None = None
        self.at = world.rng.choice(world.members)
        self.asked_s = 0.0

    def act(self) -> None:
        world = self.world
        world.at(world.rng.expovariate(1 / world.client_pause_s), self.act)
        machine = world.machines[self.at]
        if world.rng.random() < 0.3:
            acked = world.oracle.acked_end.txid
            target = world.machines[world.rng.choice(world.members)]
            if target.up:
                strict = world.rng.random() < 0.2
                target.after(world.delay_s(), lambda: target.read(acked, strict=strict))
        if self.now and world.now_s - self.asked_s < 0.7:
            return
        if self.now is None:
            self.made += 1
            self.now = Request(f"{self.name}.{self.made}", world.now_s, self)
        else:
            self.at = world.rng.choice(world.members)
            machine = world.machines[self.at]
        self.asked_s = world.now_s
        if machine.up:
            machine.after(world.delay_s(), machine.ask, self.now)


class World:
    """See the module."""

    def __init__(
        self, seed: int, *, shape: Shape | None = None, faults: Faults | None = None
    ) -> None:
        self.rng = Random(seed)
        self.shape, self.faults = shape or Shape(), faults or Faults()
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entries = 0
        self.cuts: Counter[tuple[str, str]] = Counter()
        self.is_stormy = True
        self.client_pause_s = 0.15
        self.answered_s: dict[str, tuple[int, float]] = {}
        self.notes: list[tuple[float, str, fx.Note]] = []
        self.trace: list[str] | None = None
        total = max(self.shape.voters + self.shape.spare_voters, self.shape.members)
        names = [f"m{i + 1}" for i in range(total)]
        self.members = names[: self.shape.members]
        self.machines = {
            name: Machine(self, name, is_member=name in self.members) for name in names
        }
        self.oracle = Oracle(self)
        self._format()
        for machine in self.machines.values():
            machine.start()

    def _format(self) -> None:
        names = list(self.machines)
        voters = tuple(f"v-{name}" for name in names[: self.shape.voters])
        member, rows = first_rows(cluster=CLUSTER, member="m1", voters=voters)
        for name, row in zip(names, rows, strict=False):
            self.machines[name].disk.voter = row
        for name in names[len(rows) :]:
            self.machines[name].disk.voter = VoterRow(f"v-{name}", CLUSTER)
        self.machines["m1"].disk.member = member
        for name in self.members[1:]:
            self.machines[name].disk.member = joining_row(cluster=CLUSTER, member=name)

    def voter_rows(self) -> dict[str, VoterRow]:
        rows = [m.disk.voter for m in self.machines.values()]
        return {row.voter: row for row in rows if row is not None}

    # Time.

    def at(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self._entries += 1
        heapq.heappush(self._queue, (self.now_s + seconds, self._entries, what, args))

    def go(self, until_s: float) -> None:
        queue = self._queue
        while queue and queue[0][0] <= until_s:
            self.now_s, _, what, args = heapq.heappop(queue)
            what(*args)
        self.now_s = until_s

    def disk_s(self) -> float:
        slow = self.is_stormy and self.rng.random() < 0.03
        return self.rng.random() if slow else self.rng.uniform(0.001, 0.01)

    def delay_s(self) -> float:
        chance = self.rng.random()
        if not self.is_stormy or chance > self.faults.late + self.faults.stale:
            return self.rng.uniform(0.0005, 0.004)
        return self.rng.uniform(0.004, 0.4 if chance > self.faults.stale else 20.0)

    # The network.

    def reaches(self, source: Machine, target: Machine) -> bool:
        return source is target or self.cuts[source.name, target.name] <= 0

    def post(self, source: Machine, letter: Letter) -> None:
        name = letter.to.removeprefix("v-")
        target = self.machines.get(name)
        if target is None or not self.reaches(source, target):
            return
        if self.trace is not None:
            self.trace.append(f"{self.now_s:.3f} {letter.sender}->{letter.to} {letter.body}")
        rng, faults = self.rng, self.faults
        if source is target:
            self.at(0.0002, self._deliver, target, letter)
            return
        if self.is_stormy and rng.random() < faults.lost:
            return
        self.at(self.delay_s(), self._deliver, target, letter)
        if self.is_stormy and rng.random() < faults.doubled:
            self.at(self.delay_s() + rng.random(), self._deliver, target, letter)

    def _deliver(self, target: Machine, letter: Letter) -> None:
        if target.up:
            target._resume(target.run, target.receive, (letter,))

    def on_note(self, machine: Machine, note: fx.Note) -> None:
        self.oracle.count[note.kind.value] += 1
        if self.trace is not None:
            self.trace.append(f"{self.now_s:.3f} {machine.name}: {note.kind} {note.text}")

    # Clients.

    def answer(self, request: Request, txid: int) -> None:
        if request.number in self.answered_s:
            return
        self.answered_s[request.number] = (txid, self.now_s)
        self.oracle.on_answer(request.number, request.asked_s, txid)
        if request.client.now is request:
            request.client.now = None

    # What goes wrong.

    def dies_here(self, machine: Machine) -> bool:
        if self.is_stormy and self.rng.random() < self.faults.crash_in_step:
            self._crash(machine, 2.0)
            return True
        return False

    def _crash(self, machine: Machine, for_s: float) -> None:
        machine.crash()
        self.at(self.rng.random() * for_s, self._restart, machine)

    def _restart(self, machine: Machine) -> None:
        if not machine.up:
            machine.start()

    def storm(self) -> None:
        if not self.is_stormy:
            return
        self.at(self.rng.expovariate(1 / self.faults.every_s), self.storm)
        rng, machines = self.rng, list(self.machines.values())
        chance = rng.random()
        if chance < self.faults.commands:
            self._command()
        elif chance < 0.35:
            self._crash(rng.choice(machines), rng.choice([0.2, 1.0, 5.0, 15.0]))
        elif chance < 0.38:
            for machine in machines:
                self._crash(machine, rng.choice([1.0, 10.0]))
        elif chance < 0.8:
            leader = self.leader()
            often = leader if leader and rng.random() < 0.5 else rng.choice(machines)
            self._cut(often, rng.uniform(0.3, 12.0))
        else:
            machine = rng.choice(machines)
            machine.paused_until_s = self.now_s + rng.uniform(0.1, self.faults.pause_max_s)

    def _cut(self, machine: Machine, for_s: float) -> None:
        rng = self.rng
        others = [name for name in self.machines if name != machine.name]
        if rng.random() < 0.6:
            others = [rng.choice(others)]
        ways = rng.choice(["to", "from", "both", "both"])
        pairs = [(machine.name, o) for o in others if ways != "from"]
        pairs += [(o, machine.name) for o in others if ways != "to"]
        self.cuts.update(pairs)
        self.at(for_s, self.cuts.subtract, pairs)

    def leader(self) -> Machine | None:
        leading = [m for m in self.machines.values() if m.up and m.epoch]
        return max(leading, key=lambda m: m.epoch, default=None)

    def _command(self) -> None:
        leader = self.leader()
        if leader is None or leader.paused_until_s > self.now_s:
            return
        if self.shape.spare_voters and self.rng.random() < 0.5:
            role = leader.member.role  # type: ignore[union-attr]
            assert isinstance(role, Leader)
            voting = role.register.voters.voters
            spare = [v for v in self.voter_rows() if v not in voting]
            fresh, old = self.rng.choice(spare or [""]), self.rng.choice(voting)
            leader.after(0, leader.tell, fx.ReplaceVoter(old, fresh if len(voting) < 5 else ""))
        else:
            to = self.rng.choice([m for m in self.members if m != leader.name])
            leader.after(0, leader.tell, fx.Switchover(to))

    def calm(self) -> None:
        """Everything is well again."""
        self.is_stormy = False
        self.cuts.clear()
        for machine in self.machines.values():
            machine.paused_until_s = 0.0
            if not machine.up:
                machine.start()

    def live(self, *, storm_s: float = 40.0, calm_s: float = 20.0, clients: int = 3) -> "World":
        """A history: a storm, then peace; the invariants are held all the while."""
        for number in range(clients):
            self.at(self.rng.random(), Client(self, f"c{number}").act)
        self.at(3.0, self.storm)
        self.go(storm_s)
        self.calm()
        self.go(storm_s + calm_s)
        self.oracle.check_end()
        return self


def world_of(seed: int, **classes: Any) -> World:
    """What the seed stands for: mostly three machines; also more of all, and other rules."""
    kind = seed % 10
    shape = Shape(**classes)
    if kind == 1:
        shape.members, shape.voters = 3, 3
    elif kind == 2:
        shape.members, shape.voters, shape.kept_records = 3, 5, 20
    elif kind in (3, 4):
        shape.spare_voters = 2
    elif kind == 5:
        shape.may_shrink = False
    elif kind == 6:
        shape.preferred = "m2"
        shape.timers = Timers(settled_s=5.0).scaled(0.4)
    return World(seed, shape=shape)


__all__ = ["Faults", "Machine", "Shape", "World", "world_of"]
