"""Pure: what a leader has voters write down: the sync set, and who the voters are.

G1  one change of the sync set at a time.  Until a majority wrote it down, what either set
    requires is required: to add is to wait for first and to publish then, to remove is to
    publish first (Patroni's order for synchronous_standby_names)
G2  voters change by one at a time: any majority of the old set meets any of the new.  While a
    change is under way a majority of both is needed for everything (Raft's thesis, 4.1, for why
    one at a time; replacing one in a single step would not be safe)
G3  a new voter has written down the sync set before anybody may count on its vote; one that
    does not within `election_min_s` is given up, so that another may come.  What it wrote down
    all the same counts for nothing: the next set has a higher number
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from dfs.ha.effects import NoteKind
from dfs.ha.ground import Ground
from dfs.ha.messages import Accept, Accepted
from dfs.ha.rows import SyncConfig, VoterSet

VOTER_SHOWN = 8  # letters of a uuid that tell voters apart, and that orders take


def named(voters: Iterable[str]) -> str:
    """Voters for people to read."""
    return ", ".join(voter[:VOTER_SHOWN] for voter in voters)


class Register:
    """See the module.

    Attributes:
        config: what a majority has written down.
        pending: what is being written down.
    """

    def __init__(self, ground: Ground, config: SyncConfig) -> None:
        self._ground = ground
        self.config = config
        self.pending: SyncConfig | None = None
        self.voters = ground.row.voters
        self._fresh: VoterSet | None = None
        self._joint = False
        self._awaited_until_s = 0.0
        self._number = 0
        self._later: list[tuple[str, ...]] = []
        self._seqs: dict[str, int] = {}
        self._versions: dict[str, tuple[int, int]] = {}

    @property
    def newest(self) -> SyncConfig:
        """The pending one, or else the settled."""
        return self.pending or self.config

    @property
    def sets(self) -> Sequence[VoterSet]:
        """Each of these has to give a majority."""
        return (self.voters, self._fresh) if self._fresh and self._joint else (self.voters,)

    @property
    def is_changing_voters(self) -> bool:
        """Whether a change of voters is under way."""
        return self._fresh is not None

    def required(self) -> frozenset[str]:
        """The members whose acknowledgement a record needs (G1)."""
        return frozenset(self.config.sync).union(self.pending.sync if self.pending else ())

    def propose(self, config: SyncConfig) -> None:
        """Have it written down."""
        assert self.pending is None
        assert config.order > self.config.order
        self.pending = config
        self.publish()
        self._settle()

    def change_sync(self, members: frozenset[str]) -> None:
        """Have that sync set written down."""
        config = replace(self.config, seq=self.config.seq + 1, sync=tuple(sorted(members)))
        self.propose(config)

    def replace_voter(self, old: str, fresh: str) -> str:
        """Begin to; why not, if not."""
        if self._fresh is not None:
            return "voters are being changed already"
        voters = self.voters.voters
        if (old and old not in voters) or (fresh and fresh in voters) or not (old or fresh):
            return f"voters are {named(voters)}: one of them leaves, another comes"
        if old and not fresh and len(voters) == 1:
            return "the last voter stays: without voters nobody could lead"
        if fresh:
            self._later.append((*voters, fresh))
        if old:
            more = (*voters, fresh) if fresh else voters
            self._later.append(tuple(v for v in more if v != old))
        self._next_step()
        return ""

    def _next_step(self) -> None:
        if not self._later:
            return
        self._number += 1
        self._fresh = VoterSet(self.config.epoch, self._number, self._later.pop(0))
        if set(self._fresh.voters) <= set(self.voters.voters):
            self._join()
        else:
            self._awaited_until_s = self._ground.now_s + self._ground.timers.election_min_s
            self.publish()  # to the newcomer alone (G3)

    def give_up_silent_newcomer(self) -> None:
        """Let voters stay as they are where the new one does not answer in time (G3)."""
        if self._fresh is None or self._joint or self._ground.now_s < self._awaited_until_s:
            return
        silent = named(sorted(self._newcomers()))
        self._fresh = None
        self._later.clear()
        self._ground.note(NoteKind.REFUSED, f"voter {silent} does not answer: voters stay")

    def _join(self) -> None:
        """From now on both sets are asked, also after a restart of ours."""
        assert self._fresh is not None
        self._joint = True
        self._ground.learn_voters(self._fresh)
        self.publish()

    def publish(self) -> None:
        """Send what is not written down everywhere it should be."""
        if self._fresh is not None:
            asked = {*self.voters.voters, *self._fresh.voters} if self._joint else self._newcomers()
            lacking = {v for v in asked if self._versions.get(v, (0, 0)) < self._fresh.version}
            self._send(lacking, self.newest, self._fresh)
        if self.pending is not None:
            voters = self.sets[-1]
            asked = {voter for each in self.sets for voter in each.voters}
            lacking = {v for v in asked if self._seqs.get(v, -1) < self.pending.seq}
            self._send(lacking, self.pending, voters)

    def inform(self, voter: str) -> None:
        """A voter that was away is told what it missed."""
        if self._seqs.get(voter, -1) < self.config.seq:
            self._send({voter}, self.newest, self.sets[-1])

    def _newcomers(self) -> set[str]:
        assert self._fresh is not None
        return set(self._fresh.voters) - set(self.voters.voters)

    def _send(self, to: set[str], config: SyncConfig, voters: VoterSet) -> None:
        hint = self._ground.hint(config.epoch, config.lineage)
        self._ground.send_each(sorted(to), Accept(config, voters, hint))

    def on_accepted(self, sender: str, accepted: Accepted) -> None:
        """A voter has written something down."""
        if accepted.epoch != self.config.epoch:
            return
        self._seqs[sender] = max(self._seqs.get(sender, -1), accepted.seq)
        self._versions[sender] = max(self._versions.get(sender, (0, 0)), accepted.version)
        self._settle()

    def _settle(self) -> None:
        if self.pending is not None:
            seq = self.pending.seq
            carriers = {voter for voter, known in self._seqs.items() if known >= seq}
            if self._is_carried(carriers):
                self.config, self.pending = self.pending, None
                self._ground.learn_config(self.config)
        if self._fresh is not None:
            self._settle_voters(self._fresh)

    def _settle_voters(self, fresh: VoterSet) -> None:
        carriers = {voter for voter, known in self._versions.items() if known >= fresh.version}
        if not self._joint and self._newcomers() <= carriers:
            self._join()
        if self._joint and self._is_carried(carriers):
            self.voters, self._fresh, self._joint = fresh, None, False
            self._ground.note(NoteKind.VOTERS_CHANGED, f"voters are {named(fresh.voters)}")
            self._next_step()

    def _is_carried(self, carriers: set[str]) -> bool:
        return all(each.carried_by(carriers) for each in self.sets)
