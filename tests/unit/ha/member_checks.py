"""What a member has to do, as checks that any class of member can be put to.

`Seat` is one member, A, with everybody else played by hand: voters v1, v2, v3 and a member B.
"""

from typing import Any

from dfs.base.entropy import Random
from dfs.ha import effects as fx
from dfs.ha.ground import Conduct
from dfs.ha.member import Member
from dfs.ha.messages import (
    Accept,
    Accepted,
    Ack,
    Append,
    Beat,
    Body,
    Denied,
    Fetch,
    JournalRecord,
    Letter,
    Prepare,
    Promise,
    SnapshotOffer,
    TakeOver,
    VoterBeat,
    VoterBeatOk,
    VoteView,
)
from dfs.ha.rows import Hint, MemberRow, Position, SyncConfig, VoterSet, first_rows
from dfs.ha.timers import Timers
from tests.unit.ha.paper_disk import Journal, make_record

TIMERS = Timers()
VOTERS = ("v1", "v2", "v3")
ALONE = SyncConfig(1, 0, "A", ("A",))
BOTH = SyncConfig(1, 1, "A", ("A", "B"))


def a_journal(*epochs: int) -> Journal:
    journal = Journal()
    for number, epoch in enumerate(epochs):
        journal.append([make_record(journal.head, epoch, [f"r{number}"])])
    return journal


class Seat:
    """See the module."""

    def __init__(
        self,
        kind: type[Member] = Member,
        *,
        journal: Journal | None = None,
        voters: tuple[str, ...] = VOTERS,
        row: MemberRow | None = None,
        **conduct: Any,
    ) -> None:
        self.journal = journal or a_journal(1, 1)
        self.now_s = 50.0
        self.row = row or first_rows(cluster="c", member="A", voters=voters)[0]
        self.member = kind(
            self.row,
            head=self.journal.head,
            timers=TIMERS,
            conduct=Conduct(peers=("B",), **conduct),
            rng=Random(7),
            now_s=self.now_s,
        )
        self.letters: list[Letter] = []
        self.actions: list[fx.Action] = []

    def do(self, item: Any) -> fx.Effects:
        effects = self.member.step(self.now_s, item)
        if isinstance(effects.row, MemberRow):
            self.row = effects.row
        self.letters, self.actions = effects.letters, effects.actions
        return effects

    def hear(self, sender: str, body: Body) -> fx.Effects:
        return self.do(Letter("c", sender, "A", body))

    def wait(self, seconds: float) -> fx.Effects:
        self.now_s += seconds
        return self.do(fx.Tick())

    def said(self, kind: type) -> list[Any]:
        return [letter.body for letter in self.letters if isinstance(letter.body, kind)]

    def did(self, kind: type) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]

    def stand(self) -> int:
        """Be silent towards it until it asks for promises; the epoch."""
        self.wait(TIMERS.election_max_s)
        self.hear("v1", VoteView(1, ALONE, Hint()))
        self.hear("v2", VoteView(1, ALONE, Hint()))
        (prepare, *_) = self.said(Prepare)
        return int(prepare.epoch)

    def lead(self, best: SyncConfig = ALONE) -> int:
        epoch = self.stand()
        for voter in ("v1", "v2"):
            self.hear(voter, Promise(epoch, best, Hint()))
        for voter in ("v1", "v2"):
            self.hear(voter, Accepted(epoch, 0, (1, 0)))
        assert self.member.is_leader
        self.answer_beats()
        self.own()
        return epoch

    def own(self) -> None:
        """Its first record, so that it may serve."""
        record = self.propose()
        if self.did(fx.CommitRecord):
            self.commit(record)
            self.answer_beats()

    def answer_beats(self, voters: tuple[str, ...] = ("v1", "v2")) -> None:
        beats = [(letter.to, letter.body) for letter in self.letters]
        for to, body in beats:
            if to in voters and isinstance(body, VoterBeat):
                self.hear(to, VoterBeatOk(body.epoch, body.beat, "run"))

    def propose(self) -> JournalRecord:
        record = make_record(self.journal.head, self.member.epoch, ["w"])
        self.do(fx.Propose(record))
        return record

    def commit(self, record: JournalRecord) -> None:
        self.journal.append([record])
        self.do(fx.Committed(record.position))

    def grow(self, *, settle: bool = True) -> int:
        """B has everything: it comes into the sync set."""
        epoch = self.member.epoch
        self.hear("B", Ack(epoch, self.journal.head))
        (accept, *_) = self.said(Accept)
        assert accept.config.sync == ("A", "B")
        if settle:
            self.hear("v1", Accepted(epoch, accept.config.seq, (1, 0)))
            self.hear("v2", Accepted(epoch, accept.config.seq, (1, 0)))
        return int(accept.config.seq)


def check_standby_is_required_before_it_is_published(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.grow(settle=False)
    record = seat.propose()
    assert not seat.did(fx.CommitRecord), "voters may know that B is in sync"
    seat.hear("B", Ack(seat.member.epoch, record.position))
    assert seat.did(fx.CommitRecord)


def check_standby_is_required_until_it_is_written_out(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    seq = seat.grow() + 1
    seat.propose()
    seat.wait(TIMERS.ack_s)
    assert seat.said(Accept)[0].config.sync == ("A",)
    assert not seat.did(fx.CommitRecord)
    seat.hear("v1", Accepted(epoch, seq, (1, 0)))
    assert not seat.did(fx.CommitRecord), "one voter is no majority"
    seat.hear("v2", Accepted(epoch, seq, (1, 0)))
    assert seat.did(fx.CommitRecord)


def check_standby_is_never_written_out_where_none_may_be(kind: type[Member]) -> None:
    seat = Seat(kind, may_shrink=False)
    seat.lead()
    seat.grow()
    seat.propose()
    for _ in range(20):
        seat.wait(TIMERS.beat_s)
        assert not seat.said(Accept)
        assert not seat.did(fx.CommitRecord)


def check_change_waits_for_the_standby(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    seat.grow()
    record = seat.propose()
    assert [letter.to for letter in seat.letters] == ["B"]
    assert not seat.did(fx.CommitRecord)
    seat.hear("B", Ack(epoch - 1, record.position))
    assert not seat.did(fx.CommitRecord), "an answer to another leader"
    seat.hear("B", Ack(epoch, record.position))
    assert not seat.did(fx.Acknowledge), "not on our own disk yet"
    seat.commit(record)
    assert seat.did(fx.Acknowledge) == [fx.Acknowledge(record.txid)]


def check_change_made_alone_waits_for_voters(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    record = seat.propose()
    seat.commit(record)
    assert not seat.did(fx.Acknowledge)
    beats = seat.said(VoterBeat)
    assert all(beat.durable and beat.hint.txid == record.txid for beat in beats)
    seat.hear("v1", VoterBeatOk(beats[0].epoch, beats[0].beat, "run"))
    assert not seat.did(fx.Acknowledge)
    seat.hear("v3", VoterBeatOk(beats[0].epoch, beats[0].beat, "run"))
    assert seat.did(fx.Acknowledge) == [fx.Acknowledge(record.txid)]


def check_nothing_is_acknowledged_after_the_end(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    record = seat.propose()
    assert seat.did(fx.CommitRecord)
    seat.hear("v3", Denied(epoch, epoch + 1, "another leads"))
    assert seat.did(fx.StandDown)
    seat.commit(record)
    assert not seat.did(fx.Acknowledge)


def check_record_under_way_is_abandoned_at_the_end(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    seat.grow()
    record = seat.propose()
    seat.hear("B", Beat(epoch + 1, seat.journal.head, ALONE, VoterSet(1, 0, VOTERS)))
    assert [a.txid for a in seat.did(fx.AbandonRecord)] == [record.txid]
    assert seat.member.known_leader == "B"


def check_failed_commit_ends_the_process(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.propose()
    seat.do(fx.CommitFailed("disk full"))
    assert seat.did(fx.Exit)


def check_commit_that_was_rolled_back_never_was_where_nobody_else_has_it(
    kind: type[Member],
) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.propose()
    seat.do(fx.CommitFailed("disk full", rolled_back=True))
    assert not seat.did(fx.Exit)
    record = seat.propose()
    assert [a.position for a in seat.did(fx.CommitRecord)] == [record.position]


def check_commit_that_was_rolled_back_ends_the_process_where_others_have_it(
    kind: type[Member],
) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.grow()
    record = seat.propose()
    seat.hear("B", Ack(seat.member.epoch, record.position))
    seat.do(fx.CommitFailed("disk full", rolled_back=True))
    assert seat.did(fx.Exit)


def check_lease_runs_from_the_beat(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.wait(TIMERS.beat_s)
    sent_s, letters = seat.now_s, seat.letters
    seat.now_s += TIMERS.lease_s * 0.9
    seat.letters = letters
    seat.answer_beats()
    assert seat.member.why_no_service(sent_s + TIMERS.lease_s * 0.99) == ""
    assert seat.member.why_no_service(sent_s + TIMERS.lease_s) != ""
    seat.propose()
    assert seat.said(Append) == [] or seat.did(fx.CommitRecord)


def check_no_service_without_a_majority(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    for _ in range(20):
        seat.wait(TIMERS.beat_s)
        seat.answer_beats(("v1",))
    assert seat.member.is_leader
    assert "no majority" in seat.member.why_no_service(seat.now_s)
    seat.propose()
    assert seat.did(fx.AbandonRecord)


def check_no_service_while_the_lead_is_handed_over(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.grow()
    seat.do(fx.Switchover("B"))
    assert {beat.permit_to for beat in seat.said(VoterBeat)} == {"B"}
    assert seat.member.why_no_service(seat.now_s) != ""
    assert not seat.said(TakeOver)
    seat.answer_beats()
    assert seat.said(TakeOver), "only once a majority holds the permit"
    seat.propose()
    assert not seat.did(fx.AbandonRecord), "it waits: the switchover may be called off"
    assert not seat.did(fx.CommitRecord)
    seat.wait(TIMERS.handover_s)
    assert {beat.permit_to for beat in seat.said(VoterBeat)} == {""}
    assert seat.member.why_no_service(seat.now_s) != "", "not before voters dropped the permit"
    seat.answer_beats()
    assert seat.member.why_no_service(seat.now_s) == ""


def check_strict_reads_wait_for_voters(kind: type[Member]) -> None:
    seat = Seat(kind)
    seat.lead()
    seat.do(fx.ReadBarrier(1))
    assert not seat.did(fx.ConfirmReads)
    letters = seat.letters
    seat.hear("v1", VoterBeatOk(letters[0].body.epoch, letters[0].body.beat, "run"))  # type: ignore[union-attr]
    assert not seat.did(fx.ConfirmReads)
    seat.hear("v2", VoterBeatOk(letters[0].body.epoch, letters[0].body.beat, "run"))  # type: ignore[union-attr]
    assert seat.did(fx.ConfirmReads) == [fx.ConfirmReads(1)]


def check_majority_promises_before_it_stands(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.stand()
    seat.hear("v1", Promise(epoch, ALONE, Hint()))
    assert not seat.said(Accept)
    seat.hear("v3", Promise(epoch, SyncConfig(1, 5, "B", ("B",)), Hint()))
    assert not seat.said(Accept), "the newest sync set counts, and A is not in it"
    assert seat.said(Fetch)


def check_own_promise_is_on_the_disk_first(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.stand()
    assert seat.row.promised == epoch
    again = Seat(kind, row=seat.row)
    again.hear("B", Append(1, again.journal.head, (), again.journal.head))
    assert again.said(Denied), "a leader of before the promise"


def check_only_complete_members_lead(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.stand()
    elsewhere = SyncConfig(1, 3, "B", ("B",))
    for voter in ("v1", "v2"):
        seat.hear(voter, Promise(epoch, elsewhere, Hint()))
    assert not seat.said(Accept)
    assert seat.said(Fetch)
    theirs = Journal(seat.journal.records)
    theirs.append([make_record(theirs.head, 1, ["more"])])
    more = Append(epoch, seat.journal.head, tuple(theirs.records[-1:]), theirs.head)
    seat.hear("B", more)
    assert seat.did(fx.ApplyRecords)
    seat.do(fx.Applied(theirs.head))
    (accept, *_) = seat.said(Accept)
    assert accept.config == SyncConfig(epoch, 0, "A", ("A",))


def check_member_whose_disk_lost_records_does_not_lead(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.stand()
    for voter in ("v1", "v2"):
        seat.hear(voter, Promise(epoch, ALONE, Hint(0, 3)))
    assert not seat.said(Accept)
    assert not seat.member.is_leader
    assert fx.NoteKind.LOCAL_LOG_REGRESSED in [note.kind for note in seat.did(fx.Note)]


def check_donor_serves_no_older_epoch(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    seat.grow()
    record = seat.propose()
    seat.hear("B", Fetch(epoch + 5, seat.journal.head))
    assert seat.row.promised == epoch + 5
    assert seat.did(fx.StandDown)
    assert seat.said(Append)[0].goal == seat.journal.head
    seat.hear("B", Ack(epoch, record.position))
    assert not seat.did(fx.CommitRecord)
    seat.hear("B", Append(epoch, seat.journal.head, (record,), seat.journal.head))
    assert seat.said(Denied)
    assert not seat.did(fx.ApplyRecords)


def check_donor_waits_for_its_disk(kind: type[Member]) -> None:
    seat = Seat(kind)
    epoch = seat.lead()
    seat.propose()
    assert seat.did(fx.CommitRecord)
    seat.hear("B", Fetch(epoch + 5, seat.journal.head))
    assert not seat.said(Append), "a COMMIT is under way"


def check_follower_takes_no_older_leader(kind: type[Member]) -> None:
    seat = Seat(kind)
    head = seat.journal.head
    record = make_record(head, 1, ["x"])
    seat.hear("B", Beat(4, head, SyncConfig(4, 0, "B", ("B",)), VoterSet(1, 0, VOTERS)))
    assert seat.row.promised == 4
    seat.hear("C", Append(3, head, (record,), head))
    assert [denied.promised for denied in seat.said(Denied)] == [4]
    assert not seat.did(fx.ApplyRecords)


def check_follower_acknowledges_what_is_on_its_disk(kind: type[Member]) -> None:
    seat = Seat(kind)
    head = seat.journal.head
    record = make_record(head, 4, ["x"])
    seat.hear("B", Append(4, head, (record,), head))
    assert seat.did(fx.ApplyRecords)
    assert not seat.said(Ack)
    seat.do(fx.Applied(record.position))
    assert seat.said(Ack) == [Ack(4, record.position)]
    seat.hear("B", Append(4, head, (record,), head))
    assert seat.said(Ack) == [Ack(4, record.position)], "doubled letters do no harm"
    assert not seat.did(fx.ApplyRecords)


def check_follower_puts_records_nowhere_else(kind: type[Member]) -> None:
    seat = Seat(kind)
    other = a_journal(1, 2)
    record = make_record(other.head, 4, ["x"])
    seat.hear("B", Append(4, other.head, (record,), other.head))
    assert not seat.did(fx.ApplyRecords)
    assert seat.said(Ack) == [Ack(4, seat.journal.head)]


def check_follower_acks_nothing_to_a_leader_of_before(kind: type[Member]) -> None:
    seat = Seat(kind)
    head = seat.journal.head
    record = make_record(head, 4, ["x"])
    seat.hear("B", Append(4, head, (record,), head))
    seat.hear("C", Beat(5, head, SyncConfig(5, 0, "C", ("C",)), VoterSet(1, 0, VOTERS)))
    seat.do(fx.Applied(record.position))
    assert "B" not in [letter.to for letter in seat.letters]


def check_snapshot_takes_nothing_of_its_epoch(kind: type[Member]) -> None:
    """Judged when it is installed: records came while it was on its way."""
    seat = Seat(kind)
    head = seat.journal.head
    offer = SnapshotOffer(4, Position(3, 4, b"x" * 16), "snap")
    seat.hear("B", offer)
    assert seat.did(fx.FetchSnapshot)
    first, second = make_record(head, 4, ["x"]), None
    seat.hear("B", Append(4, head, (first,), head))
    seat.do(fx.Applied(first.position))
    second = make_record(first.position, 4, ["y"])
    seat.hear("B", Append(4, first.position, (second,), head))
    seat.do(fx.Applied(second.position))
    seat.do(fx.SnapshotFetched("snap", sound=True))
    assert not seat.did(fx.InstallSnapshot)


def check_snapshot_replaces_what_an_older_epoch_left(kind: type[Member]) -> None:
    seat = Seat(kind, journal=a_journal(1, 1, 1))
    offer = SnapshotOffer(4, Position(2, 1, b"x" * 16), "snap")
    seat.hear("B", offer)
    seat.do(fx.SnapshotFetched("snap", sound=True))
    assert seat.did(fx.InstallSnapshot) == [fx.InstallSnapshot("snap", offer.position, aside=True)]
    damaged = Seat(kind)
    damaged.hear("B", offer)
    damaged.do(fx.SnapshotFetched("snap", sound=False))
    assert not damaged.did(fx.InstallSnapshot)


def check_reads_wait_for_the_first_record(kind: type[Member]) -> None:
    """Where the other stays in the sync set, it may lead without what we took over."""
    seat = Seat(kind, may_shrink=False)
    epoch = seat.lead(best=BOTH)
    assert "taken over" in seat.member.why_no_service(seat.now_s)
    record = make_record(seat.journal.head, epoch, ["w"])
    seat.hear("B", Ack(epoch, record.position))
    assert seat.did(fx.CommitRecord)
    seat.commit(record)
    assert seat.member.why_no_service(seat.now_s) == ""


def check_voter_is_replaced_in_two_steps(kind: type[Member]) -> None:
    """The new one knows the sync set before anybody counts on it."""
    seat = Seat(kind)
    epoch = seat.lead()
    seat.do(fx.ReplaceVoter("v3", "v4"))
    assert [letter.to for letter in seat.letters] == ["v4"]
    seat.hear("v4", Accepted(epoch, 0, (epoch, 1)))
    assert {letter.to for letter in seat.letters} >= {"v1", "v2", "v3"}
    for voter in ("v1", "v2"):
        seat.hear(voter, Accepted(epoch, 0, (epoch, 1)))
    accepts = [letter for letter in seat.letters if isinstance(letter.body, Accept)]
    assert {letter.body.voters.voters for letter in accepts} == {("v1", "v2", "v4")}  # type: ignore[union-attr]
    for voter in ("v1", "v2", "v4"):
        seat.hear(voter, Accepted(epoch, 0, (epoch, 2)))
    assert seat.row.voters.voters == ("v1", "v2", "v4")
    seat.do(fx.ReplaceVoter("v3", "v5"))
    assert seat.did(fx.Note)


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
