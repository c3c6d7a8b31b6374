"""Pure: what operators and checks ask of a leader; it is done, begun, or refused with a reason."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec.structs import replace

from dfs.ha.digests import Comparison
from dfs.ha.effects import (
    AcknowledgeLoss,
    DigestsCompared,
    Fitness,
    NoteKind,
    RemoveMember,
    ReplaceVoter,
    Switchover,
)
from dfs.ha.ground import Ground
from dfs.ha.handover import Handover, Stage
from dfs.ha.outlook import UNKNOWN_LAG, HaView, PeerView
from dfs.ha.peers import Peers
from dfs.ha.register import Register
from dfs.ha.rounds import Rounds


class Leading(Protocol):
    """What is needed of a leader."""

    epoch: int
    ground: Ground
    register: Register
    rounds: Rounds
    peers: Peers
    handover: Handover

    def why_no_lease(self) -> str:
        """Why it may change nothing now."""
        ...

    def why_not_serving(self) -> str:
        """Why it may read nothing now."""
        ...


class Orders:
    """See the module."""

    def __init__(self, leader: Leading) -> None:
        self._leader = leader
        self.events: dict[type, Callable[[Any], None]] = {
            Switchover: self._on_switchover,
            ReplaceVoter: self._on_replace_voter,
            RemoveMember: self._on_remove_member,
            AcknowledgeLoss: self._on_acknowledge_loss,
            Fitness: self._on_fitness,
            DigestsCompared: self._on_digests,
        }

    def _on_switchover(self, command: Switchover) -> None:
        reason = self._leader.handover.why_not(
            command.to, self._leader.peers.known, self._leader.register.config
        )
        if not reason:
            reason = self._leader.why_no_lease()
        if reason:
            self._leader.ground.note(NoteKind.REFUSED, reason)
            return
        self._leader.handover.begin(command.to)

    def _on_fitness(self, fitness: Fitness) -> None:
        """A leader that cannot lead well hands over, if anybody can take it."""
        self._leader.ground.hindrance = fitness.hindrance
        if fitness.hindrance and self._leader.handover.stage is Stage.IDLE:
            for name in self._leader.register.config.sync:
                if not self._leader.handover.why_not(
                    name, self._leader.peers.known, self._leader.register.config
                ):
                    self._leader.handover.begin(name)
                    return

    def _on_replace_voter(self, command: ReplaceVoter) -> None:
        reason = self._leader.why_no_lease() or self._leader.register.replace_voter(
            command.old, command.fresh
        )
        if reason:
            self._leader.ground.note(NoteKind.REFUSED, reason)

    def _on_remove_member(self, command: RemoveMember) -> None:
        name, register = command.member, self._leader.register
        if name == self._leader.ground.me:
            self._leader.ground.note(NoteKind.REFUSED, f"{name} leads: hand the lead over first")
        elif name in register.required():
            if register.pending is not None:
                self._leader.ground.note(
                    NoteKind.REFUSED, "the sync set is being changed: try again"
                )
                return
            self._leader.peers.forget(name)
            register.change_sync(register.required() - {name})
        else:
            self._leader.peers.forget(name)

    def _on_acknowledge_loss(self, _command: AcknowledgeLoss) -> None:
        if self._leader.register.pending is None and self._leader.register.config.lossy:
            config = self._leader.register.config
            cleared = replace(config, seq=config.seq + 1, lossy=False)
            self._leader.register.propose(cleared)

    def _on_digests(self, event: DigestsCompared) -> None:
        """Whose tables differ is not handed the lead until they were found equal; it stays in sync
        (see `digests.py`).
        """
        peer, finding = self._leader.peers.known.get(event.member), event.finding
        if peer is not None and finding.comparison is not Comparison.NOT_COMPARABLE:
            peer.mistrusted = finding.reason if finding.comparison is Comparison.DIFFERENT else ""

    def view(self, machines: Mapping[str, str]) -> HaView:
        """For people: see `outlook.py`."""
        ground, now_s = self._leader.ground, self._leader.ground.now_s
        peers = {
            name: PeerView(
                max(0, ground.head.txid - peer.head.txid) if peer.head else UNKNOWN_LAG,
                now_s - peer.heard_s,
                peer.mistrusted,
            )
            for name, peer in self._leader.peers.known.items()
        }
        return HaView(
            leader=ground.me,
            epoch=self._leader.epoch,
            config=self._leader.register.config,
            voters=self._leader.register.voters,
            peers=peers,
            voters_silent_s={v: now_s - at for v, at in self._leader.rounds.heard_s.items()},
            machines=machines,
            lease_left_s=self._leader.rounds.lease_until_s - now_s,
            why_not_serving=self._leader.why_not_serving(),
            may_shrink=ground.conduct.may_shrink,
            timers=ground.timers,
        )
