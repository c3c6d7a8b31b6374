"""Pure: handing the lead to a member, on command or because the operator prefers it there.

    IDLE -> DRAIN   no new record is sent
    DRAIN -> PERMIT nothing is under way, the member has everything.  From here on we read and
                    write nothing: our beats permit voters to elect it, so they give no lease
    PERMIT -> tell  once a majority of voters holds the permit: ask them now

It is elected as any candidate is.  If that takes too long the next beats take the permit back, and
the lease they bring is good because each voter that answers has dropped the permit.
"""

import enum
import math
from collections.abc import Mapping

from dfs.ha.effects import NoteKind
from dfs.ha.ground import Ground
from dfs.ha.messages import TakeOver
from dfs.ha.peers import Peer
from dfs.ha.rows import SyncConfig


class Stage(enum.Enum):
    """How far it is."""

    IDLE = enum.auto()
    DRAIN = enum.auto()
    PERMIT = enum.auto()


class Handover:
    """See the module."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._until_s = 0.0
        self._told_s = -math.inf
        self._tried_s = ground.now_s
        self.stage = Stage.IDLE
        self.to = ""

    def why_not(self, to: str, peers: Mapping[str, Peer], config: SyncConfig) -> str:
        """Why the lead cannot be handed to it now; empty when it can."""
        ground = self._ground
        peer = peers.get(to)
        if to == ground.me:
            return f"{to} leads already"
        if self.stage is not Stage.IDLE:
            return f"the lead is being handed to {self.to}"
        if peer is None:
            return f"{to} is no member that is known here"
        if to not in config.sync:
            return f"{to} is not in sync: it would lack changes"
        silent_s = ground.now_s - peer.heard_s
        if math.isinf(silent_s):
            return f"{to} was not heard since {ground.me} leads"
        if silent_s > 4 * ground.timers.beat_s:
            return f"{to} was not heard for {silent_s:.1f} s"
        if peer.mistrusted:
            return f"the tables of {to} differ from ours: {peer.mistrusted}"
        return ""

    def begin(self, to: str) -> None:
        """Send no new record."""
        self.stage, self.to = Stage.DRAIN, to
        self._until_s = self._ground.now_s + self._ground.timers.handover_s
        self._tried_s = self._ground.now_s
        self._ground.note(NoteKind.HANDOVER, f"the lead is being handed to {to}")

    def consider(self, peers: Mapping[str, Peer], config: SyncConfig) -> None:
        """Begin when the preferred leader has been well for long enough."""
        ground = self._ground
        preferred, settled_s = ground.conduct.preferred, ground.timers.settled_s
        peer = peers.get(preferred)
        if peer is None or peer.settled_s is None or self.why_not(preferred, peers, config):
            return
        if ground.now_s - max(peer.settled_s, self._tried_s) >= settled_s:
            self.begin(preferred)

    def is_late(self) -> bool:
        """Whether it took too long."""
        return self._ground.now_s >= self._until_s

    def call_off(self) -> None:
        """We go on to lead."""
        self._ground.note(NoteKind.HANDOVER, f"{self.to} did not take over in time: called off")
        self.stage, self.to = Stage.IDLE, ""

    def tell(self, epoch: int) -> None:
        """Voters hold the permit: have the member ask them."""
        ground = self._ground
        if ground.now_s - self._told_s >= ground.timers.beat_s / 2:
            self._told_s = ground.now_s
            ground.send(self.to, TakeOver(epoch, ground.head))
