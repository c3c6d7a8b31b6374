"""The product with one rule taken out, each time another; every one has to be found out.

A mutant is a subclass that overrides one small method of the product.  Were such a method inlined,
its mutant would do nothing, and the test that it is found would say so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from dfs.ha import effects as fx
from dfs.ha.candidate import Candidate
from dfs.ha.effects import Committed
from dfs.ha.follower import Follower
from dfs.ha.leader import Flight, Leader
from dfs.ha.member import Member
from dfs.ha.messages import Ack, Append, Fetch, SnapshotOffer, VoterBeat
from dfs.ha.register import Register
from dfs.ha.rounds import Rounds
from dfs.ha.rows import SyncConfig
from dfs.ha.tail import Tail
from dfs.ha.voter import Voter
from tests.unit.ha.paper_cluster_ha import Faults, Shape


@dataclass(kw_only=True)
class Mutant:
    """What is broken, and where to look for it."""

    member: type[Member] = Member
    voter: type[Voter] = Voter
    shape_of: Callable[[], Shape] = Shape
    faults: Callable[[], Faults] = Faults

    def shape(self) -> Shape:
        shape = self.shape_of()
        shape.member, shape.voter = self.member, self.voter
        return shape


def _with_candidate(broken: type[Candidate]) -> type[Member]:
    return type("BrokenMember", (Member,), {"candidate": broken})


def _with_leader(broken: type[Leader]) -> type[Member]:
    return type("BrokenMember", (Member,), {"leader": broken})


def _with_follower(broken: type[Follower], tail: type[Tail] | None = None) -> type[Member]:
    return type("BrokenMember", (Member,), {"follower": broken})


# The voters.


class TakesOlderEpochs(Voter):
    """Accepts, and beats, of an epoch that is over count."""

    def _is_over(self, epoch: int) -> bool:
        return False

    def _is_newer(self, ask: Any) -> bool:
        return True

    def _follow(self, epoch: int, member: str) -> None:
        self.row = replace(self.row, promised=epoch, promised_to=member)
        self._urgent = True


class ForgetsPromises(Voter):
    """PySyncObj's bug: what was promised lives in memory only."""

    def __init__(self, row: Any, **others: Any) -> None:
        first = replace(row, promised=1, promised_to="m1")
        super().__init__(first, **others)


class ForgetsAll(Voter):
    """A voter whose disk was lost comes back under its old name."""

    def __init__(self, row: Any, **others: Any) -> None:
        config = SyncConfig(1, 0, "m1", ("m1",))
        super().__init__(replace(row, promised=1, promised_to="m1", accepted=config), **others)


class PromisesTwice(Voter):
    """The same epoch to whoever asks."""

    def _is_promised_to(self, member: str) -> bool:
        return True


class ForgetsTheLease(Voter):
    """After a start it votes at once."""

    def __init__(self, row: Any, **others: Any) -> None:
        super().__init__(row, **others)
        self.heard_s = -1e9


class LeavesAHoleInStickiness(Voter):
    """A beat does not turn the voter back to the leader of an epoch it promised to another."""

    def _follow(self, epoch: int, member: str) -> None:
        if epoch > self.row.promised:
            super()._follow(epoch, member)


class IsNotSticky(Voter):
    """It votes for another although it hears the leader."""

    def _why_not(self, candidate: str) -> str:
        return ""


class KeepsPermits(Voter):
    """Once given, a permit holds."""

    def _on_beat(self, sender: str, beat: VoterBeat) -> None:
        before = self._permit_to
        super()._on_beat(sender, beat)
        self._permit_to = self._permit_to or before


class AnswersBeforeItWrites(Voter):
    """Answers go out; the row is written some time later."""

    def step(self, now_s: float, item: Any) -> fx.Effects:
        effects = super().step(now_s, item)
        if isinstance(item, fx.Tick):
            return fx.Effects(self.row, [], effects.letters)
        return fx.Effects(None, [], effects.letters)


class KeepsPermitsOverARestart(Voter):
    """It does not ask which of its runs a permit was for."""

    def _is_this_run(self, beat: VoterBeat) -> bool:
        return True


class KeepsHintsInMemory(Voter):
    """A hint that has to be on the disk is written at leisure."""

    def _on_beat(self, sender: str, beat: VoterBeat) -> None:
        super()._on_beat(sender, beat)
        self._urgent = False


class LetsSyncSetsGoBack(Voter):
    """The last sync set that comes is kept, not the newest."""

    def _is_newer(self, ask: Any) -> bool:
        return True


class ReadsLettersForOthers(Voter):
    """It answers for the voter whose disk was lost."""

    def _is_for_us(self, letter: Any) -> bool:
        return True


# Candidates.


class LeadsWithoutBeingInSync(Candidate):
    """Whoever is elected leads, complete or not."""

    def _is_complete(self, best: SyncConfig) -> bool:
        return True

    def _has_regressed(self, gap: int) -> bool:
        return False


class IgnoresTheHint(Candidate):
    """It leads although voters know of more than its disk has."""

    def _has_regressed(self, gap: int) -> bool:
        return False


class CountsOnePromise(Candidate):
    """One voter is enough to know who is in sync."""

    def _evaluate(self) -> None:
        if not self._best and self._promises:
            self._best = next(iter(self._promises.values())).accepted
            self._stand_or_fetch()


# Leaders.


class AcksBeforeTheFollower(Leader):
    """Asynchronous replication: our own disk is enough."""

    def _has_all_acks(self, flight: Flight) -> bool:
        return True

    def _needs_voters(self, flight: Flight) -> bool:
        return False


class StopsRequiringEarly(Leader):
    """A standby that is being written out of the sync set is no longer waited for."""

    def _has_all_acks(self, flight: Flight) -> bool:
        newest = self.register.newest.sync
        return set(newest) <= flight.acks | {self.ground.me}

    def _drop_silent(self) -> None:
        super()._drop_silent()
        self._try_commit()

    def _needs_voters(self, flight: Flight) -> bool:
        return False


class StopsRequiringEarlyOnly(Leader):
    """As the one before, but voters still confirm what we commit alone."""

    def _has_all_acks(self, flight: Flight) -> bool:
        return set(self.register.newest.sync) <= flight.acks | {self.ground.me}

    def _drop_silent(self) -> None:
        super()._drop_silent()
        self._try_commit()


class RequiresLate(Leader):
    """A standby is published first and waited for afterwards."""

    def _has_all_acks(self, flight: Flight) -> bool:
        return set(self.register.config.sync) <= flight.acks | {self.ground.me}


class AcksAloneWithoutVoters(Leader):
    """Alone in the sync set, its own commit is enough."""

    def _needs_voters(self, flight: Flight) -> bool:
        return False


class CountsLeaseFromTheAnswer(Rounds):
    """The lease runs from when the answers are in."""

    def _lease_from(self, sent_s: float) -> float:
        return self._ground.now_s + self._ground.timers.lease_s


class LeasesFromLateAnswers(Leader):
    def __init__(self, ground: Any, config: SyncConfig) -> None:
        super().__init__(ground, config)
        self.rounds = CountsLeaseFromTheAnswer(ground, epoch=config.epoch, lineage=config.lineage)


class ServesWithoutALease(Leader):
    """It was elected once, so it leads."""

    def why_no_lease(self) -> str:
        return ""


class ReadsWhatItTookOver(Leader):
    """Reads show what an older leader left, before the sync set is known to have it."""

    def _owns_its_journal(self) -> bool:
        return True


class KeepsLeaseInHandover(Leader):
    """Reads go on while voters may vote for another."""

    def why_no_lease(self) -> str:
        return "" if self.ground.now_s < self._last_lease_s() else "no lease"

    def _last_lease_s(self) -> float:
        self._best_lease_s = max(getattr(self, "_best_lease_s", -1e9), self.rounds.lease_until_s)
        return self._best_lease_s


class KeepsAckingAfterItsEnd(Member):
    """A COMMIT that ends after we stood down is acknowledged all the same."""

    def _happen(self, item: Any) -> None:
        super()._happen(item)
        if isinstance(item, Committed) and not self.is_leader:
            self.ground.act(fx.Acknowledge(item.position.txid))


# Followers and donors.


class TruncatesTheCurrentEpoch(Tail):
    """Any snapshot is installed."""

    def _would_truncate(self, offer: SnapshotOffer) -> bool:
        return False


class TakesAnySnapshot(Follower):
    def __init__(self, ground: Any, *, leader: str = "") -> None:
        super().__init__(ground, leader=leader)
        self._tail = TruncatesTheCurrentEpoch(ground, epoch=ground.row.promised)

    def _believe(self, sender: str, epoch: int) -> bool:
        known = super()._believe(sender, epoch)
        if type(self._tail) is Tail:
            self._tail = TruncatesTheCurrentEpoch(self._ground, epoch=self._tail.epoch)
        return known


class TakesOlderLeaders(Follower):
    """Records of an epoch that is over are taken, and acknowledged."""

    def _is_over(self, epoch: int) -> bool:
        return False


class AcksBeforeItWrites(Follower):
    """What was received is acknowledged before it is on the disk."""

    def _on_append(self, sender: str, append: Append) -> None:
        super()._on_append(sender, append)
        if append.records and self._ground.job is not None:
            self._ground.send(sender, Ack(append.epoch, append.records[-1].position))


class DonatesWithoutPromise(Member):
    """A donor of a journal goes on to acknowledge its leader, or its clients."""

    def _promise_candidate(self, sender: str, fetch: Fetch) -> None:
        pass


class ForgetsItsOwnPromise(Member):
    """A candidate's own promise is not kept: after a start it takes an older leader's records."""

    def step(self, now_s: float, item: Any) -> fx.Effects:
        effects = super().step(now_s, item)
        return fx.Effects(None, effects.actions, effects.letters)


class ReplacesVotersAtOnce(Register):
    """One voter goes and another comes in a single step, without a joint majority."""

    @property
    def sets(self) -> Any:
        return (self._fresh,) if self._fresh and self._joint else (self.voters,)

    def replace_voter(self, old: str, fresh: str) -> str:
        reason = super().replace_voter(old, fresh)
        if not reason and self._later and fresh and old:
            assert self._fresh is not None
            self._fresh = replace(self._fresh, voters=self._later.pop(0))
            self._join()
        return reason


class ChangesVotersInOneStep(Leader):
    def __init__(self, ground: Any, config: SyncConfig) -> None:
        super().__init__(ground, config)
        self.register = ReplacesVotersAtOnce(ground, config)


def _lying() -> Faults:
    return Faults(lying_disks=0.3)


def _voters_change() -> Shape:
    return Shape(voters=3, spare_voters=2)


MUTANTS: dict[str, Mutant] = {
    "voters take older epochs": Mutant(voter=TakesOlderEpochs),
    "voters forget promises": Mutant(voter=ForgetsPromises),
    "voters forget all": Mutant(voter=ForgetsAll),
    "voters promise twice": Mutant(voter=PromisesTwice),
    "voters forget the lease": Mutant(voter=ForgetsTheLease),
    "voters leave a hole in stickiness": Mutant(voter=LeavesAHoleInStickiness),
    "voters are not sticky": Mutant(voter=IsNotSticky),
    "voters keep permits": Mutant(voter=KeepsPermits),
    "voters answer before they write": Mutant(voter=AnswersBeforeItWrites),
    "lead without being in sync": Mutant(member=_with_candidate(LeadsWithoutBeingInSync)),
    "ignore the hint": Mutant(member=_with_candidate(IgnoresTheHint), faults=_lying),
    "count one promise": Mutant(member=_with_candidate(CountsOnePromise)),
    "ack before the follower": Mutant(member=_with_leader(AcksBeforeTheFollower)),
    "stop requiring early": Mutant(member=_with_leader(StopsRequiringEarly)),
    "stop requiring early only": Mutant(member=_with_leader(StopsRequiringEarlyOnly)),
    "require late": Mutant(member=_with_leader(RequiresLate)),
    "ack alone without voters": Mutant(member=_with_leader(AcksAloneWithoutVoters)),
    "count the lease from the answer": Mutant(member=_with_leader(LeasesFromLateAnswers)),
    "serve without a lease": Mutant(member=_with_leader(ServesWithoutALease)),
    "read what was taken over": Mutant(
        member=_with_leader(ReadsWhatItTookOver), shape_of=lambda: Shape(may_shrink=False)
    ),
    "keep the lease in a handover": Mutant(member=_with_leader(KeepsLeaseInHandover)),
    "ack after the end": Mutant(member=KeepsAckingAfterItsEnd),
    "snapshots truncate": Mutant(member=_with_follower(TakesAnySnapshot)),
    "followers take older leaders": Mutant(member=_with_follower(TakesOlderLeaders)),
    "followers ack before they write": Mutant(member=_with_follower(AcksBeforeItWrites)),
    "donors do not promise": Mutant(member=DonatesWithoutPromise),
    "members forget their promise": Mutant(member=ForgetsItsOwnPromise),
    "voters change in one step": Mutant(
        member=_with_leader(ChangesVotersInOneStep), shape_of=_voters_change
    ),
}
