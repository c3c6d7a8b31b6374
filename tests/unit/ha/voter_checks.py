"""What a voter has to do, as checks that any class of voter can be put to."""

from dfs.ha.effects import Effects, Tick
from dfs.ha.messages import (
    Accept,
    Accepted,
    Body,
    Canvass,
    Denied,
    Letter,
    OtherVoters,
    Prepare,
    Promise,
    Version,
    VoterBeat,
    VoterBeatOk,
    VoteView,
)
from dfs.ha.rows import Hint, SyncConfig, VoterRow, VoterSet, first_rows
from dfs.ha.timers import Timers
from dfs.ha.voter import Voter

TIMERS = Timers()
VOTERS = ("v1", "v2", "v3")
NOW_S = 1_000.0


class Booth:
    """A voter, its disk, and a clock."""

    def __init__(self, kind: type[Voter], row: VoterRow | None = None) -> None:
        self.kind = kind
        self.row = row or first_rows(cluster="c", member="A", voters=VOTERS)[1][0]
        self.now_s = NOW_S
        self.runs = 0
        self.restart()

    def restart(self) -> None:
        self.runs += 1
        run = f"run{self.runs}"
        self.voter = self.kind(self.row, timers=TIMERS, run=run, now_s=self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self._keep(self.voter.step(self.now_s, Tick()))

    def hear(self, sender: str, body: Body) -> list[Body]:
        effects = self.voter.step(self.now_s, Letter("c", sender, self.row.voter, body))
        self._keep(effects)
        return [letter.body for letter in effects.letters]

    def _keep(self, effects: Effects) -> None:
        if effects.row is not None:
            assert isinstance(effects.row, VoterRow)
            self.row = effects.row

    def beat(self, sender: str, epoch: int, number: int, permit_to: str = "") -> list[Body]:
        run = f"run{self.runs}" if permit_to else ""
        hint = Hint(0, number)
        return self.hear(
            sender, VoterBeat(epoch, number, (1, 0), hint, permit_to=permit_to, run=run)
        )

    def prepare(self, sender: str, epoch: int, version: Version = (1, 0)) -> Body:
        (answer,) = self.hear(sender, Prepare(epoch, version))
        return answer

    def accept(self, config: SyncConfig, voters: VoterSet | None = None) -> Body:
        known = voters or VoterSet(1, 0, VOTERS)
        (answer,) = self.hear(config.leader, Accept(config, known, Hint()))
        return answer


def check_promise_outlives_the_process(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("B", 2), Promise)
    assert (booth.row.promised, booth.row.promised_to) == (2, "B"), "before the answer is out"
    booth.restart()
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("A", 2), Denied), "a second candidate of the same epoch"
    assert isinstance(booth.accept(SyncConfig(1, 5, "A", ("A",))), Denied)


def check_epoch_is_promised_once(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("B", 2), Promise)
    assert isinstance(booth.prepare("C", 2), Denied)
    assert isinstance(booth.prepare("B", 2), Promise), "asked again, answered again"


def check_older_epochs_are_refused(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(TIMERS.stickiness_s)
    booth.prepare("B", 2)
    assert [type(a) for a in booth.beat("A", 1, 9)] == [Denied]
    assert isinstance(booth.accept(SyncConfig(1, 1, "A", ("A",))), Denied)
    assert booth.row.accepted == SyncConfig(1, 0, "A", ("A",))


def check_no_vote_for_a_lease_after_a_start(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(100)
    booth.beat("A", 1, 1)
    booth.restart()
    assert isinstance(booth.prepare("B", 2), Denied)
    booth.wait(TIMERS.stickiness_s * 0.99)
    assert isinstance(booth.prepare("B", 2), Denied)
    assert isinstance(booth.prepare("A", 2), Promise), "the leader itself may"


def check_beats_turn_the_voter_to_the_leader(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("B", 2), Promise)
    booth.beat("C", 2, 1)  # C was elected in 2 by the others
    assert isinstance(booth.prepare("B", 3), Denied), "C has a lease that rests on this voter"


def check_voter_holds_to_a_leader_that_it_hears(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.wait(100)
    booth.beat("A", 1, 1)
    booth.wait(TIMERS.lease_s * (1 + 2 * TIMERS.drift_max))
    (view,) = booth.hear("B", Canvass((1, 0)))
    assert isinstance(view, VoteView)
    assert "may have been here" in view.refusal
    assert isinstance(booth.prepare("B", 2), Denied)
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("B", 2), Promise)


def check_permits_end_with_the_next_beat(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.beat("A", 1, 1)
    booth.beat("A", 1, 2, permit_to="B")
    (view,) = booth.hear("B", Canvass((1, 0)))
    assert isinstance(view, VoteView)
    assert view.refusal == ""
    booth.beat("A", 1, 3)
    booth.beat("A", 1, 2, permit_to="B")  # late
    assert isinstance(booth.prepare("B", 2), Denied)


def check_permits_end_with_the_process(kind: type[Voter]) -> None:
    """The beat that took a permit back is forgotten; a late one that gives it may still come."""
    booth = Booth(kind)
    booth.beat("A", 1, 1)
    late = VoterBeat(1, 2, (1, 0), Hint(), permit_to="B", run="run1")
    booth.beat("A", 1, 3)
    booth.restart()
    booth.hear("A", late)
    assert isinstance(booth.prepare("B", 2), Denied)


def check_hint_is_on_the_disk_when_that_is_asked(kind: type[Voter]) -> None:
    booth = Booth(kind)
    booth.hear("A", VoterBeat(1, 1, (1, 0), Hint(0, 7)))
    assert booth.row.hint == Hint(), "at leisure"
    booth.hear("A", VoterBeat(1, 2, (1, 0), Hint(0, 7), durable=True))
    assert booth.row.hint == Hint(0, 7)
    booth.hear("A", VoterBeat(1, 3, (1, 0), Hint(0, 8)))
    booth.wait(TIMERS.hint_s)
    assert booth.row.hint == Hint(0, 8)


def check_sync_sets_only_move_on(kind: type[Voter]) -> None:
    booth = Booth(kind)
    newest = SyncConfig(1, 2, "A", ("A", "B"))
    assert isinstance(booth.accept(newest), Accepted)
    booth.accept(SyncConfig(1, 1, "A", ("A",)))  # late
    assert booth.row.accepted == newest


def check_lost_disk_is_another_voter(kind: type[Voter]) -> None:
    """It has no vote until a leader writes it in, and letters for the old one are not its."""
    booth = Booth(kind, VoterRow("v9", "c"))
    booth.wait(TIMERS.stickiness_s)
    assert isinstance(booth.prepare("B", 2), Denied)
    letter = Letter("c", "A", "v1", VoterBeat(1, 1, (1, 0), Hint()))
    assert booth.voter.step(booth.now_s, letter).letters == []
    other = Letter("another", "A", "v9", VoterBeat(1, 1, (1, 0), Hint()))
    assert booth.voter.step(booth.now_s, other).letters == []
    config = SyncConfig(1, 4, "A", ("A", "B"))
    fresh = VoterSet(1, 1, ("v1", "v2", "v3", "v9"))
    assert isinstance(booth.accept(config, fresh), Accepted)
    assert booth.row.accepted == config
    assert isinstance(booth.prepare("B", 2, (1, 1)), Denied), "a lease may rest on it"
    assert [type(a) for a in booth.beat("A", 1, 1)] == [OtherVoters]
    (ok,) = booth.hear("A", VoterBeat(1, 2, (1, 1), Hint()))
    assert isinstance(ok, VoterBeatOk)


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
