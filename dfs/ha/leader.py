"""Pure: a leader.  It sends each record to the sync set, commits it, and lets clients be told.

    L1  a record is committed here when every member required has it on its disk; so our journal
        never has what the sync set lacks
    L2  it is acknowledged when it is committed; where we alone are in sync, when a majority of
        voters has its number on disk as well: a leader that was replaced acknowledges nothing
    L3  a record that was sent under an epoch and number is committed as it was sent, or we stand
        down; a COMMIT that fails ends the process
    L4  what was not acknowledged when we stand down never is, by us
    L5  reads and new changes need a lease
    L6  reads wait for the first record of our own: until it is on the sync set, another member of
        that may lead without what an older leader left us

The records of one batch at a time are under way, as the database has one writer; what queues
meanwhile is the next batch.
"""

from typing import Any

import msgspec

from dfs.ha.effects import (
    AbandonRecord,
    Acknowledge,
    CommitFailed,
    CommitRecord,
    Committed,
    ConfirmReads,
    EpochSeen,
    Exit,
    NoteKind,
    Propose,
    ReadBarrier,
    StandDown,
    StreamEnded,
)
from dfs.ha.ground import Follow, Ground, Job
from dfs.ha.handover import Handover, Stage
from dfs.ha.messages import (
    Accepted,
    Ack,
    Append,
    Beat,
    Denied,
    JournalRecord,
    Knock,
    OtherVoters,
    SnapshotLost,
    VoterBeatOk,
)
from dfs.ha.orders import Orders
from dfs.ha.peers import Peer, Peers
from dfs.ha.register import Register
from dfs.ha.rounds import Rounds
from dfs.ha.rows import Position, SyncConfig


class Flight(msgspec.Struct):
    """The record under way.

    Attributes:
        acks: members other than us that have it on disk.
        sent: somebody else may have it.
        committing: COMMIT was given; it cannot be taken back.
        alone: when COMMIT was given nobody but us was required.
    """

    record: JournalRecord
    position: Position
    sent_s: float
    resent_s: float
    acks: set[str]
    sent: bool = False
    committing: bool = False
    alone: bool = False


class Leader:
    """See the module."""

    def __init__(self, ground: Ground, config: SyncConfig) -> None:
        self.epoch = config.epoch
        self.ground = ground
        self.register = Register(ground, config)
        self.rounds = Rounds(ground, epoch=config.epoch, lineage=config.lineage)
        self.peers = Peers(ground, epoch=config.epoch)
        self.handover = Handover(ground)
        self.orders = Orders(self)
        self.flight: Flight | None = None
        self._held: JournalRecord | None = None
        self._unconfirmed: list[int] = []  # committed by us alone; voters do not know yet
        self._reads = 0
        self._beat_s = 0.0
        self._acknowledged = ground.head.txid
        self.handlers = {
            VoterBeatOk: self._on_beat_ok,
            Accepted: self._on_accepted,
            Ack: self._on_ack,
            Denied: self._on_denied,
            OtherVoters: self._on_other_voters,
            Beat: self._on_beat,
            SnapshotLost: self._on_snapshot_lost,
            Knock: self._on_knock,
        }
        self.events = {
            Propose: self._on_propose,
            Committed: self._on_committed,
            CommitFailed: self._on_commit_failed,
            StreamEnded: self._on_stream_ended,
            EpochSeen: self._on_epoch_seen,
            ReadBarrier: self._on_read_barrier,
            **dict.fromkeys(self.orders.events, self._on_order),
        }

    def start(self) -> None:
        """Beat at once: the lease begins with the first answers, and followers hear of us."""
        self._beat_all()

    def _beat_all(self) -> None:
        self._beat_s = self.ground.now_s
        self._beat_voters()
        self.peers.beat(self.register.newest, self.register.sets[-1])

    def why_no_lease(self) -> str:
        """Why no new changes now (L5); empty when they are taken."""
        if self.handover.stage is Stage.PERMIT:
            return f"the lead is being handed to {self.handover.to}"
        if self._has_no_voters() or self.ground.now_s < self.rounds.lease_until_s:
            return ""
        return "no majority of voters answered in time"

    def why_not_serving(self) -> str:
        """Why no reads now (L5, L6); empty when it serves."""
        if self.why_no_lease():
            return self.why_no_lease()
        return "" if self._owns_its_journal() else "what was taken over is not confirmed yet"

    def _owns_its_journal(self) -> bool:
        """Whether the sync set has all that we took over: it has once a record of ours is in."""
        return self._has_no_voters() or self.ground.head.epoch == self.epoch

    def _has_no_voters(self) -> bool:
        return not any(each.voters for each in self.register.sets)

    def on_tick(self) -> None:
        """Beats, what was not answered, what takes too long."""
        self.ground.led_s = self.ground.now_s
        self._hand_over()
        # Rounds that confirm changes do not count: under load followers would hear nothing else.
        if self.ground.now_s - self._beat_s >= self.ground.timers.beat_s:
            self._beat_all()
            self.register.give_up_silent_newcomer()
            self.register.publish()
        self._send_again()
        self._drop_silent()
        self._release_held()

    # Changes.

    def _on_propose(self, propose: Propose) -> None:
        record = propose.record
        assert self.flight is None
        assert (record.epoch, record.txid) == (self.epoch, self.ground.head.txid + 1)
        reason = self.why_no_lease() if self.handover.stage is Stage.IDLE else ""
        if reason:
            self.ground.act(AbandonRecord(record.txid, reason))
        elif self.handover.stage is not Stage.IDLE or self.peers.is_gate_closed():
            self._held = record
        else:
            self._ship(record)

    def _release_held(self) -> None:
        if self._held and self.handover.stage is Stage.IDLE and not self.peers.is_gate_closed():
            record, self._held = self._held, None
            self._ship(record)

    def _ship(self, record: JournalRecord) -> None:
        """Send it to who is required, and to whoever just lacks this one."""
        ground = self.ground
        assert record.prev_hash == ground.head.hash
        self.flight = Flight(record, record.position, ground.now_s, ground.now_s, set())
        for name, peer in self.peers.known.items():
            if peer.head == ground.head or name in self.register.required():
                self._send_flight(name)
        self._try_commit()

    def _send_flight(self, to: str) -> None:
        assert self.flight is not None
        head = self.ground.head
        self.flight.sent = True
        self.ground.send(to, Append(self.epoch, head, (self.flight.record,), head))

    def _try_commit(self) -> None:
        """Commit once everybody required has it (L1)."""
        flight = self.flight
        if flight is None or flight.committing or not self._has_all_acks(flight):
            return
        flight.committing = True
        flight.alone = self.register.required() <= {self.ground.me}
        self.ground.job = Job.COMMIT
        self.ground.act(CommitRecord(flight.position))

    def _has_all_acks(self, flight: Flight) -> bool:
        return self.register.required() <= flight.acks | {self.ground.me}

    def _on_committed(self, committed: Committed) -> None:
        """It is on our disk; tell clients, or voters first (L2)."""
        flight = self.flight
        assert flight is not None
        assert flight.position == committed.position
        self.flight = None
        for name in flight.acks:
            self.peers.known[name].head = committed.position
        if self._needs_voters(flight):
            self._unconfirmed.append(committed.position.txid)
            self._beat_voters()
        else:
            self._acknowledge(committed.position.txid)
        self.peers.reconsider()
        self._catch_up()

    def _needs_voters(self, flight: Flight) -> bool:
        return flight.alone and not self._has_no_voters()

    def _acknowledge(self, txid: int) -> None:
        self._unconfirmed = [each for each in self._unconfirmed if each > txid]
        if txid > self._acknowledged:
            self._acknowledged = txid
            self.ground.act(Acknowledge(txid))

    def _on_commit_failed(self, failed: CommitFailed) -> None:
        """A record that nobody else has, and that is not here, never was (a full disk)."""
        if failed.rolled_back and self.flight is not None and not self.flight.sent:
            self.flight = self.ground.job = None
            return
        self.ground.act(Exit(f"a record that was sent could not be committed: {failed.reason}"))

    # Voters.

    def _beat_voters(self) -> None:
        durable = bool(self._unconfirmed)
        permit_to = self.handover.to if self.handover.stage is Stage.PERMIT else ""
        sets = self.register.sets
        self.rounds.send(sets, durable=durable, permit_to=permit_to, reads=self._reads)
        self._after_round()

    def _on_beat_ok(self, sender: str, ok: VoterBeatOk) -> None:
        self.rounds.on_ok(sender, ok, self.register.sets)
        self.register.inform(sender)
        self._after_round()
        self._release_held()

    def _after_round(self) -> None:
        known = [txid for txid in self._unconfirmed if txid <= self.rounds.known_txid]
        if known:
            self._acknowledge(known[-1])
        confirmed = self.rounds.confirmed_reads >= self._reads and self._owns_its_journal()
        if self._reads and confirmed:
            self.ground.act(ConfirmReads(self._reads))
            self._reads = 0
        self._hand_over()

    def _on_read_barrier(self, barrier: ReadBarrier) -> None:
        self._reads = max(self._reads, barrier.number)
        self._beat_voters()

    def _on_accepted(self, sender: str, accepted: Accepted) -> None:
        before = self.register.config
        self.register.on_accepted(sender, accepted)
        if self.register.config != before:
            self._tell_change(before, self.register.config)
            self._try_commit()
            self._consider_growth()

    def _tell_change(self, before: SyncConfig, after: SyncConfig) -> None:
        for name in sorted({*after.sync} - {*before.sync}):
            self.ground.note(NoteKind.STANDBY_JOINED, f"{name} is in sync: changes wait for it")
        for name in sorted({*before.sync} - {*after.sync}):
            self.ground.note(NoteKind.STANDBY_DROPPED, f"{name} is out of sync: changes go on")

    # Followers.

    def _on_ack(self, sender: str, ack: Ack) -> None:
        if ack.epoch != self.epoch or not self.peers.welcome(sender):
            return
        peer = self.peers.hear(sender, ack)
        if self.flight and ack.head == self.flight.position:
            self.flight.acks.add(sender)
            self._try_commit()
        self._advance(sender, peer)
        self._consider_growth()
        self._hand_over()
        self._release_held()

    def _advance(self, name: str, peer: Peer) -> None:
        """Send a follower what it lacks."""
        head = self.ground.head
        if self.flight and peer.head == self.flight.position:
            return
        if peer.head != head:
            self.peers.catch_up(name, peer)
        elif self.flight and not peer.busy and not self._sent_lately(peer):
            peer.sent_s = self.ground.now_s
            self._send_flight(name)

    def _sent_lately(self, peer: Peer) -> bool:
        assert self.flight is not None
        since_s = max(peer.sent_s, self.flight.sent_s)
        return self.ground.now_s - since_s < self.ground.timers.beat_s and peer.sent_s > 0

    def _catch_up(self) -> None:
        for name, peer in self.peers.known.items():
            if peer.head is not None:
                self._advance(name, peer)

    def _consider_growth(self) -> None:
        """A follower that has everything, also what is under way, becomes required (G1)."""
        register = self.register
        if register.pending is not None or self._has_no_voters():
            return
        end = self.flight.position if self.flight else self.ground.head
        for name, peer in self.peers.known.items():
            if name not in register.config.sync and peer.head == end and self.peers.is_near(peer):
                register.change_sync(register.required() | {name})
                return

    def _send_again(self) -> None:
        flight, now_s = self.flight, self.ground.now_s
        if flight is None or flight.committing:
            return
        if now_s - flight.resent_s >= self.ground.timers.beat_s:
            flight.resent_s = now_s
            for name in self.register.required() - flight.acks - {self.ground.me}:
                self._send_flight(name)

    def _drop_silent(self) -> None:
        """Have a standby that does not acknowledge written out of the sync set (G1)."""
        flight, register = self.flight, self.register
        if flight is None or flight.committing or register.pending is not None:
            return
        if not self.ground.conduct.may_shrink:
            return
        if self.ground.now_s - flight.sent_s >= self.ground.timers.ack_s:
            register.change_sync(frozenset({self.ground.me}) | (register.required() & flight.acks))

    def _on_stream_ended(self, ended: StreamEnded) -> None:
        peer = self.peers.known.get(ended.to)
        if peer is None or ended.epoch != self.epoch:
            return
        peer.streaming_s = None
        if not ended.found:
            self.peers.begin_snapshot(ended.to, peer)

    def _on_snapshot_lost(self, sender: str, lost: SnapshotLost) -> None:
        """Not another one at once: where a disk is full it would be lost as well, without end."""
        peer = self.peers.known.get(sender)
        if peer is not None and lost.epoch == self.epoch:
            self.peers.begin_snapshot(sender, peer)

    def _on_knock(self, sender: str, knock: Knock) -> None:
        """A member that looks for us; one that has promised more than our epoch replaced us."""
        if knock.promised > self.epoch:
            self._lose("", f"{sender} has promised epoch {knock.promised}")
            self.ground.seen = max(self.ground.seen, knock.promised)
        elif self.peers.welcome(sender):
            self.peers.beat_one(sender, self.register.newest, self.register.sets[-1])

    # The end.

    def _on_denied(self, _sender: str, denied: Denied) -> None:
        self.ground.seen = max(self.ground.seen, denied.promised)
        if denied.promised > self.epoch:
            self._lose("", denied.reason)

    def _on_other_voters(self, _sender: str, other: OtherVoters) -> None:
        self.ground.learn_voters(other.voters)
        if other.voters.epoch > self.epoch:
            self._lose("", "the voters were changed by a later leader")

    def _on_beat(self, sender: str, beat: Beat) -> None:
        if beat.epoch > self.epoch:
            self.ground.promise(beat.epoch)
            self._lose(sender, f"{sender} leads in epoch {beat.epoch}")
        else:
            self.ground.deny(sender, beat.epoch)

    def _on_epoch_seen(self, event: EpochSeen) -> None:
        self.ground.seen = max(self.ground.seen, event.epoch)
        if event.epoch > self.epoch:
            self._lose("", f"a DataNode has seen epoch {event.epoch}")

    def _lose(self, leader: str, reason: str) -> None:
        self.ground.turn = Follow(leader, reason)

    def stop(self, turn: Follow) -> None:
        """Nothing more is acknowledged (L4); a COMMIT under way has no consequence."""
        ground = self.ground
        under_way = self._held
        if self.flight and not self.flight.committing:
            under_way = self.flight.record
        if under_way:
            ground.act(AbandonRecord(under_way.txid, turn.reason))
        ground.act(StandDown(self.epoch, turn.leader, turn.reason))
        ground.note(NoteKind.STOOD_DOWN, turn.reason)

    def _on_order(self, order: Any) -> None:
        self.orders.events[type(order)](order)
        self._hand_over()

    def _hand_over(self) -> None:
        """Drain, permit, take over: each once the one before is done."""
        handover, ground = self.handover, self.ground
        if handover.stage is Stage.IDLE:
            handover.consider(self.peers.known, self.register.config)
            return
        if handover.is_late():
            handover.call_off()
            self.rounds.take_permit_back()
            self._beat_voters()
            return
        peer = self.peers.known.get(handover.to)
        drained = self.flight is None and not self._unconfirmed and self.register.pending is None
        if handover.stage is Stage.DRAIN and drained and peer and peer.head == ground.head:
            handover.stage = Stage.PERMIT
            self.rounds.give_up_lease()
            self._beat_voters()
        if handover.stage is Stage.PERMIT and self.rounds.permitted == handover.to:
            handover.tell(self.epoch)
