"""What must hold at every step of a simulated cluster, whatever happens to it.

The numbers are those of the invariants in dfs/ha/DESIGN.md.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from dfs.ha.messages import Accept, Ack, Append, Body, Letter, Promise
from dfs.ha.rows import Position, SyncConfig, VoterRow, VoterSet
from tests.unit.ha.paper_disk import Journal, make_record

if TYPE_CHECKING:
    from tests.unit.ha.paper_cluster_ha import World
    from tests.unit.ha.paper_machine import Machine


class Violation(AssertionError):
    """An invariant was broken."""


class Oracle:
    """See the module."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.acked: dict[int, bytes] = {}
        self.acked_end = Position(0, 0, bytes(16))
        self.answered: dict[str, tuple[float, int]] = {}
        self.leaders: dict[int, str] = {}
        self.sent: dict[tuple[int, int], bytes] = {}
        self.winners: dict[int, str] = {}
        self.promises: dict[tuple[str, int], str] = {}
        self.reads: list[tuple[int, Position]] = []
        self.count: Counter[str] = Counter()
        self.disks_lie = False

    def require(self, holds: object, invariant: str, text: str) -> None:
        if not holds:
            raise Violation(f"{invariant} at {self.world.now_s:.3f}: {text}")

    # Steps.

    def on_leader(self, machine: "Machine", epoch: int) -> None:
        """H1, H3, H10: one leader an epoch, and it has everything that was acknowledged."""
        self.count["elections"] += 1
        name = machine.name
        self.require(self.leaders.setdefault(epoch, name) == name, "H1", f"two lead in {epoch}")
        self.require(not machine.disk.under_way, "H6", f"{name} leads with a write under way")
        if self.disks_lie:
            return
        journal = machine.disk.journal
        self.require(journal.has(self.acked_end), "H3", f"{name} leads without what was acked")

    def on_ack_to_client(self, machine: "Machine", txid: int) -> None:
        """H2: every member of any sync set that a majority may yet tell has it on its disk."""
        journal = machine.disk.journal
        self.require(journal.head.txid >= txid, "H2", f"{machine.name} acks what it has not")
        for number in range(self.acked_end.txid + 1, txid + 1):
            self.acked[number] = journal.at(number).hash
        known = self.acked.get(txid)
        self.require(known in (None, journal.at(txid).hash), "G3", f"two acked transaction {txid}")
        if txid > self.acked_end.txid:
            self.require(journal.has(self.acked_end), "G3", "the acked journal forks")
            self.acked_end = journal.at(txid)
        if self.disks_lie:
            return
        for config in self._configs_that_may_win():
            for member in config.sync:
                has = self.world.machines[member].disk.journal.has(journal.at(txid))
                self.require(has, "H2", f"{member} lacks {txid}, acked by {machine.name}")

    def _configs_that_may_win(self) -> Iterator[SyncConfig]:
        rows = self.world.voter_rows()
        seen = set()
        for voters in {row.voters for row in rows.values()}:
            for config in _outcomes(voters, rows):
                if config.order not in seen:
                    seen.add(config.order)
                    yield config

    def on_letter(self, machine: "Machine", letter: Letter) -> None:
        """H1, H2, H6 and H5: what is said is on the disk of who says it."""
        body = letter.body
        if isinstance(body, Append):
            for record in body.records:
                kept = self.sent.setdefault((record.epoch, record.txid), record.hash)
                self.require(kept == record.hash, "H6", f"two records {record.epoch}/{record.txid}")
        elif isinstance(body, Ack):
            has = machine.disk.journal.has(body.head)
            self.require(has, "H2", f"{machine.name} acks {body.head.txid} and has it not")
            row = machine.disk.member
            assert row is not None
            self.require(row.promised <= body.epoch, "H3", f"{machine.name} acks an older epoch")
        elif isinstance(body, Promise):
            self._check_promise(machine, letter.to, body)
        elif isinstance(body, Accept):
            row = machine.disk.member
            assert row is not None
            epoch, name = body.config.epoch, machine.name
            self.require(row.promised >= epoch, "H3", f"{name} stands for what it has not promised")
            won = self.winners.setdefault(epoch, name) == name
            self.require(won, "H1", f"two have the promises for {epoch}")

    def _check_promise(self, machine: "Machine", to: str, body: Promise) -> None:
        row = machine.disk.voter
        assert row is not None
        self.require(row.promised >= body.epoch, "H5", f"{row.voter} says what it has not kept")
        if self.winners.get(body.epoch) == to:
            return  # repeated to who has won: a beat or accept of the winner turned the voter to it
        first = self.promises.setdefault((row.voter, body.epoch), to) == to
        self.require(first, "H1", f"{row.voter} promised {body.epoch} twice")

    def on_voter_row(self, before: VoterRow, after: VoterRow) -> None:
        """H5: nothing that was promised or accepted is taken back."""
        self.require(after.promised >= before.promised, "H5", f"{after.voter} forgot a promise")
        self.require(after.accepted.order >= before.accepted.order, "H5", "a sync set went back")
        self.require(after.voters.version >= before.voters.version, "H5", "voters went back")

    def on_install(self, machine: "Machine", old: Journal, new: Journal, epoch: int) -> None:
        """H7: what was written in the current epoch stays."""
        self.count["installs"] += 1
        if old.head.epoch == epoch:
            self.require(new.has(old.head), "H7", f"{machine.name} lost {old.head} of {epoch}")

    def on_read(self, machine: "Machine", acked_before: int, head: Position) -> None:
        """H11: a read shows everything that was acknowledged before it was asked."""
        self.count["reads"] += 1
        text = f"{machine.name} shows {head.txid} when {acked_before} was acknowledged"
        self.require(head.txid >= acked_before, "H11", text)
        self.reads.append((acked_before, head))

    def on_answer(self, request: str, asked_s: float, txid: int) -> None:
        """G12: a request is later in the journal than all answered before it began."""
        self.count["writes"] += 1
        self.answered[request] = (asked_s, txid)

    # The end.

    def check_end(self) -> None:
        world = self.world
        leaders = [m for m in world.machines.values() if m.serves()]
        self.require(len(leaders) == 1, "live", f"{len(leaders)} lead after all is well")
        leader = leaders[0]
        journal = leader.disk.journal
        self.require(not journal.twice, "G12", f"done twice: {journal.twice[:3]}")
        if not self.disks_lie:
            for request, (_, txid) in self.answered.items():
                self.require(journal.done.get(request) == txid, "G1", f"{request} is lost")
            for _, head in self.reads:
                self.require(journal.has(head), "H11", f"a read showed {head.txid}, which went")
            self._check_order()
        for machine in world.machines.values():
            if machine.member is None:
                continue
            self.require(not machine.disk.journal.twice, "G12", "done twice at a follower")
            short = journal.head.txid - machine.disk.journal.head.txid
            self.require(-1 <= short <= 2, "live", f"{machine.name} is {short} behind")
            role = leader.member.role  # type: ignore[union-attr]
            required = role.register.required()  # type: ignore[union-attr]
            self.require(machine.name in required, "live", f"{machine.name} never came into sync")
            ends = min(journal.head.txid, machine.disk.journal.head.txid) - 1
            same = journal.at(ends) == machine.disk.journal.at(ends)
            self.require(same, "same", f"{machine.name} has another journal")

    def _check_order(self) -> None:
        """If one was answered before another was asked, it comes first in the journal."""
        ends = sorted((done, txid) for txid, done in self.world.answered_s.values())
        asked = sorted((asked_s, txid) for asked_s, txid in self.answered.values())
        newest, at = 0, 0
        for asked_s, txid in asked:
            while at < len(ends) and ends[at][0] < asked_s:
                newest = max(newest, ends[at][1])
                at += 1
            self.require(txid >= newest or txid == 0, "G12", f"{txid} came before {newest}")


def _outcomes(voters: VoterSet, rows: dict[str, VoterRow]) -> Iterator[SyncConfig]:
    """What each majority would tell a candidate that asks it."""
    able = [rows[v] for v in voters.voters if rows[v].voters.version <= voters.version]
    for some in combinations(able, len(voters.voters) // 2 + 1):
        yield max((row.accepted for row in some), key=lambda config: config.order)


def body_name(body: Body) -> str:
    return type(body).__name__


__all__ = ["Oracle", "Violation", "make_record"]
