"""Pure: a voter.  It promises epochs, keeps the sync set, and holds to a leader that it hears.

    V1  what it says rests on what is on its disk (the row goes out before the letters)
    V2  it takes no word of an epoch below the one it promised
    V3  one epoch is promised to one member; a leader's beat alone may set that right
    V4  while it hears a leader, and for as long after its own start, it votes for no other
        member, unless the leader itself wants that

V2 and V3 make leaders unique (the promise of Paxos, the vote of Raft).  V4 is what leases rest on.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

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
from dfs.ha.rows import VoterRow
from dfs.ha.timers import Timers


class Voter:
    """See the module.

    Args:
        row: as it is on the disk.
        run: drawn anew at each start.
        now_s: a start counts as having heard a leader: one may hold a lease that rests on us.
    """

    def __init__(self, row: VoterRow, *, timers: Timers, run: str, now_s: float) -> None:
        self.row = row
        self._run = run
        self._timers = timers
        self._now_s = now_s
        self._kept = row
        self._kept_s = now_s
        self.heard_s = now_s
        self._beat = (0, 0)
        self._permit_to = ""
        self._letters: list[Letter] = []
        self._urgent = False
        self._handlers: dict[type, Callable[[str, Any], None]] = {
            VoterBeat: self._on_beat,
            Canvass: self._on_canvass,
            Prepare: self._on_prepare,
            Accept: self._on_accept,
        }

    def step(self, now_s: float, item: Letter | Tick) -> Effects:
        """What to do about one letter, or because time has passed."""
        self._now_s, self._letters, self._urgent = now_s, [], False
        if isinstance(item, Letter):
            handler = self._handlers.get(type(item.body))
            if handler and self._is_for_us(item):
                handler(item.sender, item.body)
        late = now_s - self._kept_s >= self._timers.hint_s
        row = None
        if self.row != self._kept and (self._urgent or late):
            row = self._kept = self.row
            self._kept_s = now_s
        return Effects(row, [], self._letters)

    def _is_for_us(self, letter: Letter) -> bool:
        """A disk that was lost is another voter: letters for the old one are not ours."""
        return letter.cluster == self.row.cluster and letter.to == self.row.voter

    def _on_beat(self, sender: str, beat: VoterBeat) -> None:
        if self._refuse(sender, beat.epoch, beat.version):
            return
        if (beat.epoch, beat.beat) <= self._beat:
            return  # overtaken: it may carry a permit that was taken back
        self._beat = (beat.epoch, beat.beat)
        self._follow(beat.epoch, sender)
        self._permit_to = beat.permit_to if self._is_this_run(beat) else ""
        self.heard_s = self._now_s
        if beat.hint > self.row.hint:
            self.row = replace(self.row, hint=beat.hint)
        if beat.durable and self._kept.hint < self.row.hint:
            self._urgent = True
        self._send(sender, VoterBeatOk(beat.epoch, beat.beat, self._run))

    def _on_canvass(self, sender: str, ask: Canvass) -> None:
        if self._refuse(sender, self.row.promised, ask.version):
            return
        row = self.row
        view = VoteView(row.promised, row.accepted, row.hint, self._why_not(sender))
        self._send(sender, view)

    def _on_prepare(self, sender: str, ask: Prepare) -> None:
        if self._refuse(sender, ask.epoch, ask.version):
            return
        row = self.row
        if ask.epoch == row.promised and not self._is_promised_to(sender):
            self._deny(sender, ask.epoch, f"epoch {ask.epoch} is promised to {row.promised_to}")
            return
        reason = self._why_not(sender)
        if reason:
            self._deny(sender, ask.epoch, reason)
            return
        self._follow(ask.epoch, sender)
        self._urgent = True  # also when the epoch is not new: the answer tells the hint
        self._send(sender, Promise(ask.epoch, self.row.accepted, self.row.hint))

    def _on_accept(self, sender: str, ask: Accept) -> None:
        config = ask.config
        counted = self.row.voter in ask.voters.voters or ask.voters == self.row.voters
        if config.leader != sender or self._refuse(
            sender, config.epoch, ask.voters.version, counted=counted
        ):
            return
        self._follow(config.epoch, sender)
        if ask.voters.version > self.row.voters.version:
            self.heard_s = self._now_s
            self.row = replace(self.row, voters=ask.voters)
        if self._is_newer(ask):
            self.row = replace(self.row, accepted=config)
        self.row = replace(self.row, hint=max(self.row.hint, ask.hint))
        self._urgent = True
        self._send(sender, Accepted(config.epoch, config.seq, self.row.voters.version))

    def _is_this_run(self, beat: VoterBeat) -> bool:
        """A permit of before our start may have been taken back by a beat we know nothing of."""
        return beat.run == self._run

    def _is_newer(self, ask: Accept) -> bool:
        return ask.config.order > self.row.accepted.order

    def _refuse(self, sender: str, epoch: int, version: Version, *, counted: bool = False) -> bool:
        """Refuse whom no vote is owed: older voter sets, lower epochs (V2), who counts us not."""
        row = self.row
        if version < row.voters.version:
            self._send(sender, OtherVoters(row.voters))
        elif self._is_over(epoch):
            self._deny(sender, epoch, f"epoch {row.promised} is promised to {row.promised_to}")
        elif row.voter not in row.voters.voters and not counted:
            self._deny(sender, epoch, "this voter has no vote in this cluster")
        else:
            return False
        return True

    def _is_over(self, epoch: int) -> bool:
        return epoch < self.row.promised

    def _is_promised_to(self, member: str) -> bool:
        return self.row.promised_to == member

    def _why_not(self, candidate: str) -> str:
        """Why it would vote for nobody else now (V4); empty when it would vote for them."""
        if candidate in (self.row.promised_to, self._permit_to):
            return ""
        silent_s = self._now_s - self.heard_s
        if silent_s >= self._timers.stickiness_s:
            return ""
        return f"{self.row.promised_to or 'a leader'} may have been here {silent_s:.1f} s ago"

    def _follow(self, epoch: int, member: str) -> None:
        """Promise the epoch to that member (V3)."""
        if (epoch, member) != (self.row.promised, self.row.promised_to):
            self.row = replace(self.row, promised=epoch, promised_to=member)
            self._permit_to = ""
            self._urgent = True

    def _deny(self, sender: str, epoch: int, reason: str) -> None:
        self._send(sender, Denied(epoch, self.row.promised, reason))

    def _send(self, to: str, body: Body) -> None:
        self._letters.append(Letter(self.row.cluster, self.row.voter, to, body))
