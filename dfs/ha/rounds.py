"""Pure: a leader's beats to voters, and what follows when a majority answered one.

R1  the lease runs from when the beat was sent, not from when answers came: a voter holds to us
    from when it heard the beat, which is later
R2  a beat with a permit gives no lease: voters that heard it may vote for another at once
R3  a transaction that a durable beat carried is known to every future leader
"""

import math
from collections.abc import Sequence

import msgspec

from dfs.ha.ground import Ground
from dfs.ha.messages import VoterBeat, VoterBeatOk
from dfs.ha.rows import VoterSet

ROUNDS_MAX = 64


class Round(msgspec.Struct):
    """A beat under way."""

    sent_s: float
    hint_txid: int
    permit_to: str
    reads: int
    answered: set[str]


class Rounds:
    """See the module.

    Attributes:
        lease_until_s: until then nobody else can have been elected.
        known_txid: up to here, transactions are on the disks of a majority of voters (as numbers).
        confirmed_reads: strict reads up to this number came before a beat that was answered.
        permitted: the permit that a majority of voters hold.
        heard_s: when each voter answered last.
    """

    def __init__(self, ground: Ground, *, epoch: int, lineage: int) -> None:
        self._ground = ground
        self._epoch = epoch
        self._lineage = lineage
        self._beat = 0
        self._open: dict[int, Round] = {}
        self._runs: dict[str, str] = {}
        self.lease_until_s = -math.inf
        self.known_txid = 0
        self.confirmed_reads = 0
        self.permitted = ""
        self.heard_s: dict[str, float] = {}

    def send(self, sets: Sequence[VoterSet], *, durable: bool, permit_to: str, reads: int) -> None:
        """One beat to every voter."""
        ground = self._ground
        self._beat += 1
        txid = ground.head.txid
        known = txid if durable else 0
        self._open[self._beat] = Round(ground.now_s, known, permit_to, reads, set())
        if len(self._open) > ROUNDS_MAX:
            del self._open[next(iter(self._open))]
        hint = ground.hint(self._epoch, self._lineage)
        version = sets[-1].version
        for voter in {voter: None for each in sets for voter in each.voters}:
            run = self._runs.get(voter, "") if permit_to else ""
            beat = VoterBeat(self._epoch, self._beat, version, hint, durable, permit_to, run)
            ground.send(voter, beat)
        self._count(self._beat, sets)

    def on_ok(self, sender: str, ok: VoterBeatOk, sets: Sequence[VoterSet]) -> None:
        """A voter answered."""
        self.heard_s[sender] = self._ground.now_s
        self._runs[sender] = ok.run
        if ok.epoch == self._epoch and ok.beat in self._open:
            self._open[ok.beat].answered.add(sender)
            self._count(ok.beat, sets)

    def _count(self, number: int, sets: Sequence[VoterSet]) -> None:
        found = self._open[number]
        if not all(each.carried_by(found.answered) for each in sets):
            return
        for older in [beat for beat in self._open if beat <= number]:
            del self._open[older]
        self.permitted = found.permit_to
        if not found.permit_to:
            self.lease_until_s = max(self.lease_until_s, self._lease_from(found.sent_s))
        self.known_txid = max(self.known_txid, found.hint_txid)
        self.confirmed_reads = max(self.confirmed_reads, found.reads)

    def _lease_from(self, sent_s: float) -> float:
        return sent_s + self._ground.timers.lease_s

    def give_up_lease(self) -> None:
        """Before the first permit goes out; what is under way may not bring it back."""
        self.lease_until_s = -math.inf
        for each in self._open.values():
            each.permit_to = each.permit_to or "-"

    def take_permit_back(self) -> None:
        """From the next beat on; answers to beats with a permit no longer matter."""
        self.permitted = ""
        for each in self._open.values():
            each.permit_to = each.permit_to or "-"
