"""Pure: a leader's followers: how far each is, what is on its way, the gate for rejoining.

A follower is caught up by stretches of the journal, or by a snapshot where it has what the journal
has not.  Under steady load it would stay a record behind for ever; so the next record is held back
for a moment when one has nearly everything (the *gate*).
"""

import math

import msgspec

from dfs.ha.effects import MakeSnapshot, NoteKind, StreamRecords
from dfs.ha.ground import Ground
from dfs.ha.messages import Ack, Beat
from dfs.ha.rows import Position, SyncConfig, VoterSet

GATE_RECORDS = 64
SNAPSHOT_PATIENCE_BEATS = 20  # a member that still lacks records by then is offered another
STREAM_PATIENCE_BEATS = 4


class Peer(msgspec.Struct):
    """What is known of a follower.

    Attributes:
        head: where its journal ends; None until it said so in this epoch.
        heard_s: when it acknowledged last; minus infinity until it did in this epoch.
        busy: more is on its way to its disk.
        sent_s: when it was sent the record under way, as it lacks just that one; 0.0: never.
        settled_s: since when it has been in contact and in sync, for the preferred leader.
        streaming_s, snapshot_s: when that was begun; None when nothing is on its way.
        mistrusted: how its tables were found to differ from ours; empty: they were not, lately.
    """

    head: Position | None = None
    heard_s: float = -math.inf
    busy: bool = False
    sent_s: float = 0.0
    streaming_s: float | None = None
    snapshot_s: float | None = None
    settled_s: float | None = None
    mistrusted: str = ""


class Peers:
    """See the module."""

    def __init__(self, ground: Ground, *, epoch: int) -> None:
        self._ground = ground
        self._epoch = epoch
        self.known: dict[str, Peer] = {
            name: Peer() for name in (*ground.conduct.peers,) if name != ground.me
        }
        self._removed: set[str] = set()
        self._gate_for = ""
        self._gate_until_s = 0.0
        self._gate_rests_until_s = 0.0

    def beat(self, config: SyncConfig, voters: VoterSet) -> None:
        """Let every follower hear of us."""
        for name in self.known:
            self.beat_one(name, config, voters)

    def beat_one(self, name: str, config: SyncConfig, voters: VoterSet) -> None:
        """Let one hear."""
        self._ground.send(name, Beat(self._epoch, self._ground.head, config, voters))

    def welcome(self, name: str) -> bool:
        """Take a member that speaks as a follower; False for one that was removed."""
        if name in self._removed:
            return False
        self.known.setdefault(name, Peer())
        return True

    def forget(self, name: str) -> None:
        """Never mind it any more."""
        self._removed.add(name)
        self.known.pop(name, None)
        self._open_gate(name)

    def hear(self, name: str, ack: Ack) -> Peer:
        """Where one that is welcome is now."""
        peer = self.known[name]
        now_s = self._ground.now_s
        if now_s - peer.heard_s > 4 * self._ground.timers.beat_s or peer.settled_s is None:
            peer.settled_s = now_s
        peer.heard_s, peer.busy = now_s, ack.busy
        if peer.head != ack.head:
            peer.head, peer.streaming_s, peer.snapshot_s = ack.head, None, None
        if peer.head == self._ground.head:
            self._open_gate(name)
        elif not peer.busy:
            self._maybe_close_gate(name, peer)
        return peer

    def is_near(self, peer: Peer) -> bool:
        """Whether it was heard of just now."""
        return self._ground.now_s - peer.heard_s <= 2 * self._ground.timers.beat_s

    def catch_up(self, name: str, peer: Peer) -> None:
        """Send it what follows its last record, unless something is on its way."""
        if peer.head is None or peer.busy or self._is_under_way(peer):
            return
        peer.streaming_s = self._ground.now_s
        self._ground.act(StreamRecords(name, self._epoch, peer.head))

    def _is_under_way(self, peer: Peer) -> bool:
        now_s, beat_s = self._ground.now_s, self._ground.timers.beat_s
        if peer.snapshot_s is not None:
            if now_s - peer.snapshot_s < SNAPSHOT_PATIENCE_BEATS * beat_s:
                return True
            peer.snapshot_s = None
        return (
            peer.streaming_s is not None
            and now_s - peer.streaming_s < STREAM_PATIENCE_BEATS * beat_s
        )

    def begin_snapshot(self, name: str, peer: Peer) -> None:
        """It has what we have not, or lacks what we no longer keep."""
        if self._is_under_way(peer):
            return
        peer.snapshot_s = self._ground.now_s
        self._ground.note(NoteKind.SNAPSHOT_NEEDED, f"{name} gets a snapshot")
        self._ground.act(MakeSnapshot(name, self._epoch))

    def reconsider(self) -> None:
        """Our journal has grown."""
        if self._gate_for and self.known[self._gate_for].head == self._ground.head:
            self._open_gate(self._gate_for)

    def is_gate_closed(self) -> bool:
        """Whether the next record waits for a follower that has nearly everything."""
        if self._gate_for and self._ground.now_s >= self._gate_until_s:
            self._gate_for = ""
            self._gate_rests_until_s = self._ground.now_s + self._ground.timers.gate_rest_s
        return bool(self._gate_for)

    def _maybe_close_gate(self, name: str, peer: Peer) -> None:
        ground = self._ground
        assert peer.head is not None
        lag = ground.head.txid - peer.head.txid
        if self._gate_for or not 0 < lag <= GATE_RECORDS:
            return
        if ground.now_s >= self._gate_rests_until_s:
            self._gate_for = name
            self._gate_until_s = ground.now_s + ground.timers.gate_s

    def _open_gate(self, name: str) -> None:
        if self._gate_for == name:
            self._gate_for = ""
