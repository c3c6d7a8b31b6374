"""What operators may ask of a member, what they are answered, and a NameNode that is alone."""

import pytest

from dfs.base.ids import NodeId
from dfs.ha import effects as fx
from dfs.ha.digests import Comparison, Finding, TableDigests, compare
from dfs.ha.fencing import Fencing
from dfs.ha.handover import Stage
from dfs.ha.leader import Leader
from dfs.ha.messages import Accept, Accepted, Ack, Canvass, Letter, Promise, VoteView
from dfs.ha.outlook import HaView, PeerView, Verdict, if_died
from dfs.ha.rows import FORCED_LEAP, START, Hint, SyncConfig, VoterSet, first_rows, joining_row
from dfs.ha.timers import Timers, why_inconsistent
from tests.unit.ha.member_checks import ALONE, TIMERS, VOTERS, Seat, a_journal
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
    seat.do(fx.DigestsCompared("B", Finding(Comparison.EQUAL, "equal")))
    seat.do(fx.Switchover("B"))
    assert not refusals(seat)


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
    three = Seat()
    three.do(fx.Promote("vA", 2))
    assert "there are 3 voters" in refusals(three)[0]


# Outlook, digests, fencing, timers.


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
    short = a_ha_view(voters_silent_s={"v1": 0.1, "v2": 0.1, "v3": 99.0})
    assert "1 of 3 voters" in if_died(short, "m2").reason


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


def test_datanode_counts_after_it_knows_the_epoch_and_reported_in_full() -> None:
    fencing = Fencing(5)
    node = NodeId(1)
    fencing.on_full_report(node, 5)
    assert "not acknowledged" in fencing.why_not_count(node)
    assert fencing.on_beat(node, 4) == ""
    fencing.on_full_report(node, 4)
    assert "not acknowledged" in fencing.why_not_count(node)
    fencing.on_beat(node, 5)
    fencing.on_full_report(node, 4)
    assert "no full report" in fencing.why_not_count(node)
    fencing.on_full_report(node, 5)
    assert fencing.why_not_count(node) == ""
    assert "has seen epoch 6" in fencing.on_beat(node, 6)


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
