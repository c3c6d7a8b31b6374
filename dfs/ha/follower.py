"""Pure: a follower.  It takes the leader's records, and asks voters when it hears no leader.

Before it stands for election it asks every voter whether it would be voted for (the pre-vote of
Raft's thesis, 9.6): a member that is cut off bumps no epoch and deposes nobody when it returns.
"""

from dfs.ha.effects import (
    Applied,
    ApplyFailed,
    EpochSeen,
    ForceLead,
    NoteKind,
    Promote,
    SnapshotFetched,
)
from dfs.ha.ground import Ground, Stand
from dfs.ha.messages import (
    Append,
    Beat,
    Canvass,
    Denied,
    Knock,
    OtherVoters,
    SnapshotOffer,
    TakeOver,
    VoteView,
)
from dfs.ha.rows import FORCED_LEAP, SyncConfig, VoterSet
from dfs.ha.tail import Tail


class Follower:
    """See the module.

    Args:
        leader: whom it follows, if it knows.
    """

    def __init__(self, ground: Ground, *, leader: str = "") -> None:
        self.leader = leader
        self.heard_s = ground.now_s
        self.lead_end = ground.head  # where the leader's journal was when last heard
        self._ground = ground
        self._patience_s = ground.patience_s()
        self._tail = Tail(ground, epoch=ground.row.promised)
        self._knocked_s = 0.0
        self._views: dict[str, VoteView] | None = None
        self._answered: frozenset[str] | None = None  # in the round before; None: there was none
        self._force: ForceLead | None = None
        self._force_until_s = 0.0
        self._waited = False
        self.handlers = {
            Beat: self._on_beat,
            Append: self._on_append,
            SnapshotOffer: self._on_offer,
            TakeOver: self._on_take_over,
            VoteView: self._on_view,
            Denied: self._on_denied,
            OtherVoters: self._on_other_voters,
        }
        self.events = {
            Applied: self._on_applied,
            ApplyFailed: self._on_apply_failed,
            SnapshotFetched: self._on_fetched,
            EpochSeen: self._on_epoch_seen,
            ForceLead: self._on_force,
            Promote: self._on_promote,
        }

    def on_tick(self) -> None:
        """Knock, or ask to be elected, when no leader is heard."""
        ground = self._ground
        silent_s = ground.now_s - self.heard_s
        if silent_s > 3 * ground.timers.beat_s:
            self._knock()
        if self._force is not None and ground.now_s >= self._force_until_s:
            self._drop_force("no majority of voters would vote for that: see who is heard")
        if silent_s > self._patience_s:
            self._canvass()

    def _knock(self) -> None:
        ground = self._ground
        if ground.now_s - self._knocked_s >= 2 * ground.timers.beat_s:
            self._knocked_s = ground.now_s
            ground.send_each(ground.conduct.peers, Knock(ground.row.promised, ground.head))

    def _canvass(self) -> None:
        ground = self._ground
        answered = None if self._views is None else frozenset(self._views)
        self._hear()
        self._answered = answered
        self.leader = ""
        if ground.hindrance and self._force is None:
            ground.note(
                NoteKind.NO_ELIGIBLE_LEADER, f"{ground.me} does not stand: {ground.hindrance}"
            )
            return
        voters = ground.row.voters
        if ground.me not in ground.row.config.sync and not voters.voters:
            return  # it joins, and knows of no cluster yet
        self._views = {}
        ground.send_each(voters.voters, Canvass(voters.version))
        self._count()

    def _on_view(self, sender: str, view: VoteView) -> None:
        self._ground.seen = max(self._ground.seen, view.promised)
        if self._views is not None:
            self._views[sender] = view
            self._count()

    def _count(self) -> None:
        """Stand for election once a majority would vote for us."""
        ground, views = self._ground, self._views
        assert views is not None
        willing = {voter for voter, view in views.items() if not view.refusal}
        if not ground.row.voters.carried_by(willing) or ground.job is not None:
            return
        self._views = None
        force, self._force = self._force, None
        if force is not None:
            epoch = max(ground.seen, ground.row.promised) + FORCED_LEAP
            ground.turn = Stand(epoch, "the operator forces it", loss=force.gap)
        elif self._is_worth_it([views[voter].accepted for voter in willing]):
            epoch = max(ground.seen, ground.row.promised) + 1
            ground.turn = Stand(epoch, f"no leader for {self._patience_s:.1f} s")

    def _is_worth_it(self, accepted: list[SyncConfig]) -> bool:
        """Members of the sync set go first; another only tries when they let a turn pass."""
        newest = max(accepted, key=lambda config: config.order, default=self._ground.row.config)
        if self._ground.me in newest.sync or self._waited:
            self._waited = False
            return True
        self._waited = True
        text = f"{self._ground.me} lacks records; waiting for one of {', '.join(newest.sync)}"
        self._ground.note(NoteKind.NO_ELIGIBLE_LEADER, text)
        return False

    def _on_denied(self, _sender: str, denied: Denied) -> None:
        self._ground.seen = max(self._ground.seen, denied.promised)

    def _on_other_voters(self, _sender: str, other: OtherVoters) -> None:
        self._ground.learn_voters(other.voters)

    def _on_beat(self, sender: str, beat: Beat) -> None:
        if self._believe(sender, beat.epoch):
            self._ground.learn_voters(beat.voters)
            self._ground.learn_config(beat.config)
            self.lead_end = beat.head
            self._tail.acknowledge(sender)

    def _on_append(self, sender: str, append: Append) -> None:
        if self._believe(sender, append.epoch):
            self._tail.on_append(sender, append)

    def _on_offer(self, sender: str, offer: SnapshotOffer) -> None:
        if self._believe(sender, offer.epoch):
            self._tail.on_offer(sender, offer)

    def _on_take_over(self, sender: str, take: TakeOver) -> None:
        """The leader has voters ready for us: no need to ask them first."""
        ground = self._ground
        if not self._believe(sender, take.epoch):
            return
        if ground.job is None and ground.head == take.head:
            ground.turn = Stand(take.epoch + 1, f"{sender} hands over the lead")

    def _believe(self, sender: str, epoch: int) -> bool:
        """Whether that is our leader; promises its epoch when it is new."""
        ground = self._ground
        if self._is_over(epoch):
            ground.deny(sender, epoch)
            return False
        ground.promise(epoch)
        if epoch != self._tail.epoch:
            self._tail = Tail(ground, epoch=epoch)
        self.leader = sender
        ground.led_s = ground.now_s
        if self._force is not None:
            self._drop_force(f"{sender} leads: use switchover")
        self._hear()
        return True

    def _is_over(self, epoch: int) -> bool:
        return epoch < self._ground.row.promised

    def _hear(self) -> None:
        self.heard_s = self._ground.now_s
        self._patience_s = self._ground.patience_s()
        self._views = self._answered = None

    def _on_applied(self, _applied: Applied) -> None:
        self._tail.on_disk_done()

    def _on_apply_failed(self, _failed: ApplyFailed) -> None:
        self._tail.on_disk_done()

    def _on_fetched(self, fetched: SnapshotFetched) -> None:
        self._tail.on_fetched(fetched.name, sound=fetched.sound)

    def _on_epoch_seen(self, event: EpochSeen) -> None:
        self._ground.seen = max(self._ground.seen, event.epoch)

    def _on_force(self, force: ForceLead) -> None:
        """Ask voters at once; they still refuse while they hear a leader."""
        reason = self._why_not_alone()
        if reason:
            self._ground.note(NoteKind.REFUSED, reason)
            return
        self._force = force
        self._force_until_s = self._ground.now_s + self._ground.timers.election_min_s
        self._canvass()

    def _drop_force(self, reason: str) -> None:
        """Whoever gave the order is told no, so it may not come true when voters come back."""
        self._force = None
        self._ground.note(NoteKind.REFUSED, reason)

    def _on_promote(self, promote: Promote) -> None:
        """Begin with a voter of our own where so many are dead that the others cannot elect."""
        ground = self._ground
        reason = self._why_not_alone() or self._why_no_promotion(promote)
        if reason:
            ground.note(NoteKind.REFUSED, reason)
            return
        epoch = max(ground.seen, ground.row.promised) + FORCED_LEAP
        voters = VoterSet(epoch, 0, (promote.voter,))
        text = f"promoted by the operator, who says that {ground.row.config.leader} is dead"
        ground.turn = Stand(epoch, text, loss=0, elsewhere=voters)

    def _why_not_alone(self) -> str:
        silent_s = self._ground.now_s - self._ground.led_s
        if self.leader and silent_s < self._ground.timers.stickiness_s:
            return f"{self.leader} leads and was heard {silent_s:.1f} s ago: use switchover"
        return "" if self._ground.job is None else "the disk is busy with an older leader's records"

    def _why_no_promotion(self, promote: Promote) -> str:
        ground = self._ground
        voters = ground.row.voters.voters
        if not ground.row.config.epoch:
            return f"{ground.me} has heard no leader yet: it knows of no cluster"
        if promote.voter in voters and len(voters) == 1:
            return "the voter of this machine is the only one: it elects by itself"
        if reason := self._why_they_elect():
            return reason
        if promote.txid != ground.head.txid:
            return (
                f"last contact was at transaction {ground.head.txid}; later changes on "
                f"{ground.row.config.leader} would be lost: give that number to go on"
            )
        return ""

    def _why_they_elect(self) -> str:
        """Where a majority of several voters answers, a promotion would part them for nothing."""
        voters = self._ground.row.voters
        count = len(voters.voters)
        if count < 2:  # with one, and two machines: its silence is what the operator speaks of
            return ""
        if self._answered is None or self._views is None:
            return f"{count} voters are still being asked: repeat it in a few seconds"
        answer = self._answered | self._views.keys()
        if voters.carried_by(answer):
            return f"{len(answer)} of {count} voters answer: they elect; else use force-lead"
        return ""
