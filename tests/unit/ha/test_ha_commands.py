"""What operators may ask of a member, what they are answered, and a NameNode that is alone."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from dfs.ha import effects as fx
from dfs.ha.digests import Comparison, Finding, TableDigests, compare
from dfs.ha.handover import Stage
from dfs.ha.leader import Leader
from dfs.ha.messages import (
    Accept,
    Accepted,
    Ack,
    Beat,
    Canvass,
    Knock,
    Letter,
    Promise,
    SnapshotLost,
    VoteView,
)
from dfs.ha.outlook import UNKNOWN_LAG, HaView, PeerView, Verdict, if_died
from dfs.ha.peers import SNAPSHOT_PATIENCE_BEATS
from dfs.ha.rows import FORCED_LEAP, START, Hint, SyncConfig, VoterSet, first_rows, joining_row
from dfs.ha.timers import Timers, why_inconsistent
from tests.unit.ha.member_checks import ALONE, BOTH, TIMERS, VOTERS, Seat, a_journal
from tests.unit.ha.paper_disk import make_record

THEIRS = SyncConfig(3, 2, "B", ("B",))


def refusals(seat: Seat) -> list[str]:
    return [note.text for note in seat.did(fx.Note) if note.kind is fx.NoteKind.REFUSED]


# Alone.


def test_namenode_alone_leads_at_once_in_its_epoch_and_asks_nobody() -> None:
    seat = Seat(voters=())
    seat.member.ground.conduct = type(seat.member.ground.conduct)()
    effects = seat.do(fx.Tick())
    assert seat.did(fx.BecomeLeader) == [fx.BecomeLeader(1)]
    assert effects.row is None
    record = make_record(seat.journal.head, 1, ["w"])
    seat.do(fx.Propose(record))
    assert seat.did(fx.CommitRecord)
    seat.commit(record)
    assert seat.did(fx.Acknowledge) == [fx.Acknowledge(record.txid)]
    assert seat.member.why_no_service(seat.now_s + 1e6) == ""


def test_namenode_alone_gets_voters_one_by_one_without_stopping() -> None:
    seat = Seat(voters=())
    seat.do(fx.Tick())
    for number, voter in enumerate(VOTERS, start=1):
        seat.do(fx.ReplaceVoter("", voter))
        seen = set()
        for _ in range(3):
            for to in {letter.to for letter in seat.letters if isinstance(letter.body, Accept)}:
                seen.add(to)
                seat.hear(to, Accepted(1, 0, (1, number)))
        assert voter in seen
        assert seat.row.voters.voters == VOTERS[:number]
        seat.wait(TIMERS.beat_s)
        seat.answer_beats(VOTERS)
        assert seat.member.why_no_service(seat.now_s) == ""


# Switchover.


def test_switchover_is_refused_with_a_reason() -> None:
    seat = Seat()
    seat.do(fx.Switchover("B"))
    assert "does not lead" in refusals(seat)[0]
    seat.lead()
    seat.do(fx.Switchover("B"))
    assert "not in sync" in refusals(seat)[0]
    seat.do(fx.Switchover("A"))
    assert "leads already" in refusals(seat)[0]
    seat.do(fx.Switchover("X"))
    assert "no member" in refusals(seat)[0]
    seat.grow()
    wrong = compare(TableDigests(START, {"inode": b"1"}), TableDigests(START, {"inode": b"2"}))
    seat.do(fx.DigestsCompared("B", wrong))
    seat.do(fx.Switchover("B"))
    assert "tables of B differ" in refusals(seat)[0]
    seat.do(fx.DigestsCompared("B", Finding(Comparison.NOT_COMPARABLE, "it does not answer")))
    seat.do(fx.Switchover("B"))
    assert "tables of B differ" in refusals(seat)[0], "nothing was learnt since"
    seat.do(fx.DigestsCompared("B", Finding(Comparison.EQUAL, "equal")))
    seat.do(fx.Switchover("B"))
    assert not refusals(seat)


def test_switchover_to_a_member_that_was_not_heard_yet_says_so() -> None:
    seat = Seat(may_shrink=False)
    seat.lead(best=BOTH)
    seat.do(fx.Switchover("B"))
    assert refusals(seat) == ["B was not heard since A leads"]


def test_unfit_leader_hands_over_and_unfit_follower_does_not_stand() -> None:
    seat = Seat()
    seat.lead()
    seat.grow()
    seat.do(fx.Fitness("the metadata disk is full"))
    assert fx.NoteKind.HANDOVER in [note.kind for note in seat.did(fx.Note)]
    follower = Seat()
    follower.do(fx.Fitness("the metadata disk is full"))
    follower.wait(TIMERS.election_max_s)
    assert not follower.said(Canvass)


def test_preferred_leader_gets_the_lead_once_it_is_settled() -> None:
    seat = Seat(preferred="B")
    epoch = seat.lead()
    seat.grow()
    begun_s = seat.now_s
    role = seat.member.role
    assert isinstance(role, Leader)
    while role.handover.stage is Stage.IDLE:
        seat.wait(TIMERS.beat_s)
        seat.answer_beats()
        seat.hear("B", Ack(epoch, seat.journal.head))
        assert seat.now_s < begun_s + 2 * TIMERS.settled_s
    assert seat.now_s >= begun_s + TIMERS.settled_s


# Voters.


def test_voter_that_never_answers_is_given_up_so_that_another_may_come() -> None:
    seat = Seat()
    epoch = seat.lead()
    seat.do(fx.ReplaceVoter("v3", "v4"))
    seat.do(fx.ReplaceVoter("", "v5"))
    assert "being changed already" in refusals(seat)[0]
    seat.wait(TIMERS.election_min_s)
    assert refusals(seat) == ["voter v4 does not answer: voters stay"]
    seat.answer_beats(VOTERS)
    seat.do(fx.ReplaceVoter("", "v5"))
    assert [letter.to for letter in seat.letters] == ["v5"]
    seat.hear("v4", Accepted(epoch, 0, (epoch, 1)))
    assert seat.row.voters.voters == VOTERS, "a late word of the one that was given up counts not"
    seat.hear("v5", Accepted(epoch, 0, (epoch, 2)))
    for voter in VOTERS[:2]:
        seat.hear(voter, Accepted(epoch, 0, (epoch, 2)))
    assert seat.row.voters.voters == (*VOTERS, "v5")


# Force.


def asked(seat: Seat, best: SyncConfig, hint: Hint) -> int:
    """Voters answer a canvass and promise; the epoch."""
    for voter in ("v1", "v2"):
        seat.hear(voter, VoteView(best.epoch, best, hint))
    epoch = seat.member.epoch
    for voter in ("v1", "v2"):
        seat.hear(voter, Promise(epoch, best, hint))
    return epoch


def test_forced_lead_needs_the_exact_gap_and_begins_a_lossy_lineage() -> None:
    seat = Seat()
    seat.wait(TIMERS.election_min_s / 2)
    seat.do(fx.ForceLead(1))
    asked(seat, THEIRS, Hint(0, 7))
    assert "type 5 to lose them" in refusals(seat)[0]
    assert not seat.member.is_leader
    seat.do(fx.ForceLead(5))
    epoch = asked(seat, THEIRS, Hint(0, 7))
    (accept, *_) = seat.said(Accept)
    assert epoch > THEIRS.epoch + FORCED_LEAP
    assert accept.config == SyncConfig(epoch, 0, "A", ("A",), lineage=epoch, lossy=True)
    for voter in ("v1", "v2"):
        seat.hear(voter, Accepted(epoch, 0, (1, 0)))
    assert seat.did(fx.BecomeLeader) == [fx.BecomeLeader(epoch)] or seat.member.is_leader
    seat.do(fx.AcknowledgeLoss())
    (accept, *_) = seat.said(Accept)
    assert (accept.config.lossy, accept.config.lineage) == (False, epoch)


def test_hints_of_what_was_given_up_hinder_nobody() -> None:
    seat = Seat()
    epoch = seat.stand()
    ours = SyncConfig(1_004, 0, "A", ("A",), lineage=1_004)
    seat.hear("v1", Promise(epoch, ours, Hint(0, 7)))
    seat.hear("v2", Promise(epoch, THEIRS, Hint(1_004, 2)))
    assert seat.said(Accept), "7 was of the lineage that ended"


def test_forced_lead_is_refused_while_a_leader_is_heard() -> None:
    seat = Seat()
    seat.member.role.leader = "B"  # type: ignore[union-attr]
    seat.do(fx.ForceLead(0))
    assert "use switchover" in refusals(seat)[0]


def test_asking_to_be_elected_in_vain_does_not_count_as_hearing_a_leader() -> None:
    seat = Seat()
    seat.member.role.leader = "B"  # type: ignore[union-attr]
    heard_s = seat.member.ground.led_s
    seat.wait(TIMERS.election_max_s)
    assert seat.said(Canvass), "it asks, and is not answered"
    assert seat.member.ground.led_s == heard_s
    seat.do(fx.ForceLead(0))
    assert refusals(seat) == []


def test_order_to_lead_by_force_lapses_when_no_majority_votes_in_time() -> None:
    seat = Seat()
    seat.wait(TIMERS.election_min_s / 2)
    seat.do(fx.ForceLead(5))
    seat.hear("v1", VoteView(2, THEIRS, Hint(0, 7)))
    assert refusals(seat) == []
    seat.wait(TIMERS.election_min_s)
    assert "no majority of voters" in refusals(seat)[0]
    asked(seat, THEIRS, Hint(0, 7))
    seat.wait(TIMERS.election_max_s)
    assert asked(seat, THEIRS, Hint(0, 7)) < FORCED_LEAP, "it stands as anybody else does"
    assert not seat.said(Accept), "and looks for the records"


def test_order_to_lead_by_force_lapses_when_a_leader_is_heard() -> None:
    seat = Seat()
    seat.wait(TIMERS.election_min_s / 2)
    seat.do(fx.ForceLead(5))
    seat.hear("B", Beat(3, seat.journal.head, THEIRS, seat.row.voters))
    assert "B leads" in refusals(seat)[0]


# Two machines.


def test_standby_of_two_machines_never_promotes_itself() -> None:
    seat = Seat(voters=("vB",))
    for _ in range(50):
        seat.wait(TIMERS.election_max_s)
        assert not seat.member.is_leader


def test_standby_of_two_machines_is_promoted_on_the_operators_word() -> None:
    row = first_rows(cluster="c", member="A", voters=("vB",))[0]
    seat = Seat(row=row, journal=a_journal(1, 1))
    seat.do(fx.Promote("vA", 9))
    assert "last contact was at transaction 2" in refusals(seat)[0]
    seat.do(fx.Promote("vB", 2))
    assert "elects by itself" in refusals(seat)[0]
    seat.do(fx.Promote("vA", 2))
    (accept,) = seat.said(Accept)
    assert accept.voters.voters == ("vA",)
    assert accept.config.lossy
    assert seat.row.voters == accept.voters, "on our disk before anybody hears of it"
    seat.hear("vA", Accepted(accept.config.epoch, 0, accept.voters.version))
    assert seat.member.is_leader
    blank = Seat(row=joining_row(cluster="c", member="A"))
    blank.do(fx.Promote("vA", 2))
    assert "knows of no cluster" in refusals(blank)[0]


def test_member_is_promoted_past_voters_of_whom_too_few_are_left_and_past_no_others() -> None:
    seat = Seat(journal=a_journal(1, 1))
    seat.do(fx.Promote("v1", 2))
    assert "still being asked" in refusals(seat)[0]
    seat.wait(TIMERS.election_max_s)
    for voter in VOTERS[:2]:
        seat.hear(voter, VoteView(1, seat.row.config, Hint(), "a leader may be here"))
    seat.wait(TIMERS.election_max_s)
    seat.do(fx.Promote("v1", 2))
    assert "2 of 3 voters answer" in refusals(seat)[0]
    seat.wait(TIMERS.election_max_s)
    seat.hear(VOTERS[0], VoteView(1, seat.row.config, Hint(), ""))
    seat.wait(TIMERS.election_max_s)
    seat.do(fx.Promote("v1", 1))
    assert "last contact was at transaction 2" in refusals(seat)[0]
    seat.do(fx.Promote("v1", 2))
    (accept,) = seat.said(Accept)
    assert accept.voters.voters == ("v1",)
    assert accept.voters.version > VoterSet(1, 0, VOTERS).version
    assert accept.config.lossy
    seat.hear("v1", Accepted(accept.config.epoch, 0, accept.voters.version))
    assert seat.member.is_leader


# Outlook, digests, timers.


def a_ha_view(**changes: object) -> HaView:
    values: dict[str, object] = {
        "leader": "A",
        "epoch": 3,
        "config": SyncConfig(3, 1, "A", ("A", "B")),
        "voters": VoterSet(1, 0, VOTERS),
        "peers": {"B": PeerView(0, 0.1)},
        "voters_silent_s": dict.fromkeys(VOTERS, 0.1),
        "machines": {"A": "m1", "v1": "m1", "B": "m2", "v2": "m2", "v3": "m3"},
        "lease_left_s": 3.0,
        "why_not_serving": "",
        "may_shrink": True,
        "timers": TIMERS,
    }
    return HaView(**{**values, **changes})  # type: ignore[arg-type]


def test_outlook_says_what_would_happen() -> None:
    view = a_ha_view()
    assert if_died(view, "m1").verdict is Verdict.FAILS_OVER
    assert if_died(view, "m2").verdict is Verdict.GOES_ON
    assert if_died(view, "m3").verdict is Verdict.GOES_ON
    blocked = a_ha_view(may_shrink=False)
    assert if_died(blocked, "m2").verdict is Verdict.STOPS
    alone = a_ha_view(config=SyncConfig(3, 2, "A", ("A",)), peers={"B": PeerView(12, 0.1)})
    assert "lacks 12 records" in if_died(alone, "m1").reason
    unheard = a_ha_view(
        config=SyncConfig(3, 2, "A", ("A",)), peers={"B": PeerView(UNKNOWN_LAG, float("inf"))}
    )
    assert "none was heard yet" in if_died(unheard, "m1").reason
    short = a_ha_view(voters_silent_s={"v1": 0.1, "v2": 0.1, "v3": 99.0})
    assert "1 of 3 voters" in if_died(short, "m2").reason


def peers_of(seat: Seat) -> Mapping[str, PeerView]:
    role = seat.member.role
    assert isinstance(role, Leader)
    return role.orders.view({}).peers


def test_lag_of_a_standby_that_was_not_heard_yet_is_not_known() -> None:
    seat = Seat(journal=a_journal(1, 5))
    epoch = seat.lead()
    assert peers_of(seat)["B"].lag_records == UNKNOWN_LAG
    head = seat.journal.head
    seat.hear("B", Ack(epoch, replace(head, txid=head.txid - 2, hash=b"x" * 16)))
    assert peers_of(seat)["B"].lag_records == 2


def test_member_that_was_removed_is_not_brought_back_by_what_it_still_says() -> None:
    seat = Seat()
    epoch = seat.lead()
    seat.hear("B", Ack(epoch, START))
    assert "B" in peers_of(seat)
    seat.do(fx.RemoveMember("B"))
    for said in (Ack(epoch, START), Ack(epoch, seat.journal.head), Knock(0, START)):
        seat.hear("B", said)
        assert "B" not in peers_of(seat)
        assert not [letter for letter in seat.letters if letter.to == "B"]


def test_snapshots_that_are_lost_as_soon_as_they_are_made_are_not_made_without_end() -> None:
    seat = Seat(journal=a_journal(1, 5))
    epoch = seat.lead()
    seat.hear("B", Ack(epoch, START))
    seat.do(fx.StreamEnded("B", epoch, found=False))
    assert seat.did(fx.MakeSnapshot) == [fx.MakeSnapshot("B", epoch)]
    seat.hear("B", SnapshotLost(epoch, "first"))
    assert not seat.did(fx.MakeSnapshot)
    seat.wait(SNAPSHOT_PATIENCE_BEATS * TIMERS.beat_s)
    seat.hear("B", SnapshotLost(epoch, "first"))
    assert seat.did(fx.MakeSnapshot) == [fx.MakeSnapshot("B", epoch)]


def test_outlook_of_a_leader_is_what_it_knows() -> None:
    seat = Seat()
    seat.lead()
    machines = {"A": "m1", "v1": "m1", "B": "m2", "v2": "m2", "v3": "m3"}
    role = seat.member.role
    assert isinstance(role, Leader)
    view = role.orders.view(machines)
    assert if_died(view, "m1").verdict is Verdict.STOPS


def test_digests_are_compared_at_one_transaction_only() -> None:
    at = a_journal(1, 1)
    ours = TableDigests(at.head, {"inode": b"1", "block": b"2"})
    assert compare(ours, ours).comparison is Comparison.EQUAL
    wrong = compare(ours, TableDigests(at.head, {"inode": b"1", "block": b"3"}))
    assert (wrong.comparison, wrong.tables) == (Comparison.DIFFERENT, ("block",))
    early = compare(ours, TableDigests(at.at(1), {}))
    assert early.comparison is Comparison.NOT_COMPARABLE


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease_s": 4.6},
        {"beat_s": 1.5},
        {"election_min_s": 5.0},
        {"election_max_s": 6.5},
        {"ack_s": 5.0},
        {"handover_s": 0.5},
        {"gate_s": 3.0},
        {"drift_max": 0.2},
        {"hint_s": 0.0},
    ],
)
def test_timers_that_contradict_each_other_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Timers(**wrong)


def test_timers_scale_as_one() -> None:
    tenth = Timers().scaled(0.1)
    assert (tenth.beat_s, tenth.drift_max) == (pytest.approx(0.05), 0.05)
    assert why_inconsistent(tenth) == ""


def test_letters_of_another_cluster_or_member_are_not_read() -> None:
    seat = Seat()
    head = seat.journal.head
    for cluster, to in (("other", "A"), ("c", "B")):
        seat.do(Letter(cluster, "B", to, Ack(9, head)))
        assert (seat.letters, seat.actions) == ([], [])
    assert ALONE.sync == ("A",)
