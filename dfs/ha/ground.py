"""Pure: what a member stands on in every role: its row, its journal's end, its disk, its timers.

One thing at a time is under way on the disk: a commit, an apply or an install (SQLite has one
writer).  `head` moves only when the shell says that it is done.  A role that wants to end says what
comes next (`turn`); the member makes the change before it does anything else.
"""

import enum
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.ha.effects import Action, Effects, Note, NoteKind
from dfs.ha.messages import Append, Body, Denied, Letter, SnapshotOffer
from dfs.ha.rows import Hint, MemberRow, Position, SyncConfig, VoterSet
from dfs.ha.timers import Timers


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """How the operator wants it.

    Attributes:
        peers: the other NameNodes, as they were known at the start; more may knock.
        may_shrink: go on without a standby that is gone; otherwise changes wait for it.
        preferred: the member to lead whenever it can; empty: whoever does.
    """

    peers: tuple[str, ...] = ()
    may_shrink: bool = True
    preferred: str = ""


class Job(enum.Enum):
    """What is under way on the disk."""

    COMMIT = enum.auto()
    APPLY = enum.auto()
    INSTALL = enum.auto()


class Follow(msgspec.Struct, frozen=True):
    """Become, or stay, a follower; `leader` when it is known."""

    leader: str
    reason: str


class Stand(msgspec.Struct, frozen=True):
    """Stand for election in that epoch.

    Attributes:
        loss: the number of records that the operator lets go; below 0: none may be lost.
        elsewhere: voters that begin with this election, on the operator's word.
    """

    epoch: int
    reason: str
    loss: int = -1
    elsewhere: VoterSet | None = None


class Lead(msgspec.Struct, frozen=True):
    """Lead, with what a majority of voters wrote down."""

    config: SyncConfig


Turn = Follow | Stand | Lead


class Ground:
    """See the module.

    Attributes:
        seen: the highest epoch that anybody told of; who stands goes above it.
        led_s: when a leader was heard last; where none was, the start.
        hindrance: why this member does not lead well; empty when nothing hinders it.
        download: a snapshot that is being fetched, and from whom.
        waiting: what came for the journal while the disk was at something else, and from whom; the
            newest alone, as the sender sends again.
    """

    def __init__(
        self,
        row: MemberRow,
        *,
        head: Position,
        timers: Timers,
        conduct: Conduct,
        rng: Random,
        now_s: float,
    ) -> None:
        self.row = row
        self.head = head
        self.timers = timers
        self.conduct = conduct
        self.rng = rng
        self.now_s = now_s
        self.job: Job | None = None
        self.seen = max(row.promised, head.epoch)
        self.led_s = now_s
        self.hindrance = ""
        self.turn: Turn | None = None
        self.download: tuple[SnapshotOffer, str] | None = None
        self.waiting: tuple[str, Append] | None = None
        self._kept = row
        self._actions: list[Action] = []
        self._letters: list[Letter] = []

    @property
    def me(self) -> str:
        """This member's name."""
        return self.row.member

    def take_effects(self) -> Effects:
        """What came together since the last time."""
        row = self.row if self.row is not self._kept else None
        self._kept = self.row
        effects = Effects(row, self._actions, self._letters)
        self._actions, self._letters = [], []
        return effects

    def act(self, action: Action) -> None:
        """Have the shell do that."""
        self._actions.append(action)

    def note(self, kind: NoteKind, text: str) -> None:
        """Tell operators."""
        self._actions.append(Note(kind, text))

    def send(self, to: str, body: Body) -> None:
        """Write a letter."""
        self._letters.append(Letter(self.row.cluster, self.row.member, to, body))

    def send_each(self, to: Iterable[str], body: Body) -> None:
        """The same to several."""
        for each in to:
            self.send(each, body)

    def deny(self, to: str, epoch: int) -> None:
        """That epoch is over here."""
        self.send(
            to, Denied(epoch, self.row.promised, f"{self.me} has promised {self.row.promised}")
        )

    def promise(self, epoch: int) -> None:
        """Take no word of a lower epoch from now on; on the disk before any letter of this step."""
        self.seen = max(self.seen, epoch)
        if epoch > self.row.promised:
            self.row = replace(self.row, promised=epoch)

    def learn_voters(self, voters: VoterSet) -> None:
        """Ask these voters, if they are newer than those we know."""
        if voters.version > self.row.voters.version:
            self.row = replace(self.row, voters=voters)

    def learn_config(self, config: SyncConfig) -> None:
        """Remember for people who is in sync."""
        if config != self.row.config and config.order > self.row.config.order:
            self.row = replace(self.row, config=config)

    def hint(self, epoch: int, lineage: int) -> Hint:
        """How far that leader committed; what it took over counts once it built on it."""
        return Hint(lineage, self.head.txid if self.head.epoch == epoch else 0)

    def patience_s(self) -> float:
        """How long to wait for a leader this time."""
        return self.rng.uniform(self.timers.election_min_s, self.timers.election_max_s)
