"""Pure: a candidate, from its own promise to the voters' word that it leads.

1 its own promise of the epoch is on its disk: it takes no more records of an older leader
2 a majority of voters promise the epoch, and tell the newest sync set and how far leaders came
3 if it is in that sync set it has every acknowledged record.  If not, it gets the journal of a
  member that is, after that member promised the epoch too: it acknowledges nothing any more.
4 if its journal ends before what voters know to be committed, it does not lead
5 a majority of voters write down that it leads, and that it alone is in sync
"""

from dfs.ha.effects import Applied, ApplyFailed, NoteKind, SnapshotFetched
from dfs.ha.ground import Follow, Ground, Lead, Stand
from dfs.ha.messages import (
    Accept,
    Accepted,
    Append,
    Beat,
    Denied,
    Fetch,
    OtherVoters,
    Prepare,
    Promise,
    SnapshotOffer,
)
from dfs.ha.rows import Hint, Position, SyncConfig
from dfs.ha.tail import Tail


class Candidate:
    """See the module.  Its row has promised `stand.epoch` already."""

    def __init__(self, ground: Ground, stand: Stand) -> None:
        self.epoch = stand.epoch
        self._ground = ground
        self._stand = stand
        self._until_s = ground.now_s + ground.patience_s()
        self._tail = Tail(ground, epoch=stand.epoch)
        self._promises: dict[str, Promise] = {}
        self._best: SyncConfig | None = None
        self._donor = ""
        self._donors_tried = 0
        self._goal: Position | None = None
        self._fetched = False
        self._proposed: SyncConfig | None = None
        self._accepted: set[str] = set()
        self.handlers = {
            Promise: self._on_promise,
            Denied: self._on_denied,
            OtherVoters: self._on_other_voters,
            Accepted: self._on_accepted,
            Append: self._on_append,
            SnapshotOffer: self._on_offer,
            Beat: self._on_beat,
        }
        self.events = {
            Applied: self._on_applied,
            ApplyFailed: self._on_apply_failed,
            SnapshotFetched: self._on_fetched,
        }

    def start(self) -> None:
        """Ask for promises; voters that begin with us have none to give."""
        if self._stand.elsewhere is not None:
            self._propose(self._forced_config(self._ground.row.config))
        else:
            self._ask()
            self._evaluate()

    def on_tick(self) -> None:
        """Ask again what was not answered; give up in the end."""
        ground = self._ground
        if ground.now_s >= self._until_s:
            ground.turn = Follow("", f"epoch {self.epoch}: {self._what_lacks()}")
        elif self._proposed:
            self._publish()
        elif self._best:
            self._fetch()
        else:
            self._ask()

    def _ask(self) -> None:
        voters = self._ground.row.voters
        lacking = [voter for voter in voters.voters if voter not in self._promises]
        self._ground.send_each(lacking, Prepare(self.epoch, voters.version))

    def _on_promise(self, sender: str, promise: Promise) -> None:
        if promise.epoch == self.epoch:
            self._promises[sender] = promise
            self._evaluate()

    def _evaluate(self) -> None:
        """Once a majority promised: are we complete, and if not, who is?"""
        ground = self._ground
        if self._best or not ground.row.voters.carried_by(self._promises.keys()):
            return
        accepted = [promise.accepted for promise in self._promises.values()]
        self._best = max(accepted, key=lambda config: config.order, default=ground.row.config)
        self._stand_or_fetch()

    def _stand_or_fetch(self) -> None:
        ground, best = self._ground, self._best
        assert best is not None
        complete = self._is_complete(best)
        gap = self._hint(best) - ground.head.txid
        if complete and not self._has_regressed(gap):
            self._propose(self._config_after(best))
        elif self._stand.loss >= 0:
            self._force(best, max(gap, 0))
        elif complete:
            text = f"{ground.me} ends at {ground.head.txid}, {gap} before what was committed"
            ground.note(NoteKind.LOCAL_LOG_REGRESSED, text)
            ground.turn = Follow("", text)
        else:
            self._fetch()

    def _is_complete(self, best: SyncConfig) -> bool:
        """Whether our journal has every acknowledged record (step 3)."""
        return self._ground.me in best.sync or self._fetched

    def _has_regressed(self, gap: int) -> bool:
        """Whether our disk lost what it had acknowledged (step 4)."""
        return gap > 0

    def _hint(self, best: SyncConfig) -> int:
        """The newest transaction that voters know of; what was lost by force does not count."""
        hints = [p.hint for p in self._promises.values() if p.hint.lineage == best.lineage]
        return max(hints, default=Hint()).txid

    def _config_after(self, best: SyncConfig) -> SyncConfig:
        """We alone are in sync; but where nobody may be left behind, nobody is."""
        me = self._ground.me
        keep = () if self._ground.conduct.may_shrink else best.sync
        sync = tuple(sorted({me, *keep}))
        return SyncConfig(self.epoch, 0, me, sync, best.lineage, best.lossy)

    def _force(self, best: SyncConfig, gap: int) -> None:
        """The operator has to know what he gives up: the number he typed is compared."""
        if self._stand.loss == gap:
            self._propose(self._forced_config(best))
            return
        text = (
            f"{gap} transactions up to {self._ground.head.txid + gap} are missing here and known "
            f"on {', '.join(best.sync)}; type {gap} to lose them"
        )
        self._ground.note(NoteKind.REFUSED, text)
        self._ground.turn = Follow("", text)

    def _forced_config(self, best: SyncConfig) -> SyncConfig:
        """A new lineage: what others had beyond our journal is no part of it."""
        me = self._ground.me
        kept = me in best.sync and not self._ground.conduct.may_shrink
        self._ground.note(NoteKind.FORCED, f"{me} leads by force from {self._ground.head.txid} on")
        return SyncConfig(self.epoch, 0, me, (me,), self.epoch, lossy=not kept)

    def _propose(self, config: SyncConfig) -> None:
        self._proposed = config
        self._publish()
        self._count()

    def _publish(self) -> None:
        ground, config = self._ground, self._proposed
        assert config is not None
        hint = ground.hint(config.epoch, config.lineage)
        lacking = [v for v in ground.row.voters.voters if v not in self._accepted]
        ground.send_each(lacking, Accept(config, ground.row.voters, hint))

    def _on_accepted(self, sender: str, accepted: Accepted) -> None:
        if accepted.epoch == self.epoch and self._proposed:
            self._accepted.add(sender)
            self._count()

    def _count(self) -> None:
        assert self._proposed is not None
        if self._ground.row.voters.carried_by(self._accepted):
            self._ground.turn = Lead(self._proposed)

    def _fetch(self) -> None:
        """Ask one member of the sync set after the other for its journal."""
        ground, best = self._ground, self._best
        assert best is not None
        donors = [member for member in best.sync if member != ground.me]
        if not donors or ground.job is not None or ground.download is not None:
            return
        self._donor = donors[self._donors_tried // 3 % len(donors)]
        self._donors_tried += 1
        ground.send(self._donor, Fetch(self.epoch, ground.head))

    def _on_append(self, sender: str, append: Append) -> None:
        if self._is_donation(sender, append.epoch):
            self._goal = append.goal
            self._tail.on_append(sender, append)
            self._look_whether_done()

    def _on_offer(self, sender: str, offer: SnapshotOffer) -> None:
        if self._is_donation(sender, offer.epoch):
            self._goal = offer.position
            self._tail.on_offer(sender, offer)
            self._look_whether_done()

    def _is_donation(self, sender: str, epoch: int) -> bool:
        return epoch == self.epoch and sender == self._donor and self._proposed is None

    def _look_whether_done(self) -> None:
        """The donor promised our epoch before it said where its journal ends: it does not grow."""
        ground = self._ground
        if ground.job is None and not self._proposed and ground.head == self._goal:
            self._fetched = True
            self._stand_or_fetch()

    def _on_applied(self, _applied: Applied) -> None:
        self._ground.waiting = None
        self._look_whether_done()
        if self._best and not self._proposed and self._ground.turn is None:
            self._fetch()

    def _on_apply_failed(self, failed: ApplyFailed) -> None:
        self._ground.turn = Follow("", f"the journal could not be taken over: {failed.reason}")

    def _on_fetched(self, fetched: SnapshotFetched) -> None:
        self._tail.on_fetched(fetched.name, sound=fetched.sound)

    def _on_beat(self, sender: str, beat: Beat) -> None:
        """Another was elected; in our own epoch only if our voters were asked and said no."""
        if beat.epoch < self.epoch:
            self._ground.deny(sender, beat.epoch)
            return
        self._ground.promise(beat.epoch)
        self._ground.turn = Follow(sender, f"{sender} leads in epoch {beat.epoch}")

    def _on_denied(self, _sender: str, denied: Denied) -> None:
        ground = self._ground
        ground.seen = max(ground.seen, denied.promised)
        if denied.promised > self.epoch:
            ground.turn = Follow("", denied.reason)

    def _on_other_voters(self, _sender: str, other: OtherVoters) -> None:
        self._ground.learn_voters(other.voters)
        self._ground.turn = Follow("", "the voters changed")

    def _what_lacks(self) -> str:
        if self._proposed:
            return "too few voters wrote down that we lead"
        if self._best:
            return f"no complete journal could be had from {', '.join(self._best.sync)}"
        return "too few voters promised it"
