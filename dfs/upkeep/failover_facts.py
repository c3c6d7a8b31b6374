"""Pure: what is known of failover when health is judged; `failover_watch.py` puts it together."""

from collections.abc import Sequence
from dataclasses import dataclass

SINGLE = "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandbyFacts:
    """A NameNode beside the leader.

    Attributes:
        heard: it was heard lately.
        silent_s: since it was heard; since it was looked for first, where it never was.
        lag_records: below 0 where it never said.
        behind_s: for how long, without a break, it has not been in sync.
        mistrusted: how its tables differ from the leader's; empty when they do not.
        version: of its program, as it said when it was asked; empty while it never did.
    """

    name: str
    machine: str
    heard: bool
    in_sync: bool
    silent_s: float = 0.0
    lag_records: int = 0
    behind_s: float = 0.0
    mistrusted: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class VoterFacts:
    """A voter in force; `silent_s` as a standby's."""

    voter: str
    daemon: str
    machine: str
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """Letters that somebody would not believe.

    Attributes:
        refused: those that came here within `within_s`.
        errors: how the machines answered that refuse ours.
    """

    refused: int = 0
    within_s: float = 0.0
    errors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """How often, of so many looks lately, less than half of the lease was left."""

    looks: int = 0
    low: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverFacts:
    """How failover stands, seen by the leader.

    Attributes:
        mode: single, manual or automatic; `why` it is that.
        voters_since_s: for how long the voters have been these.
        machines: on which a NameNode or a DataNode lives; each could have a voter.
    """

    mode: str = SINGLE
    why: str = "one NameNode; its disk has everything"
    lossy: bool = False
    standbys: Sequence[StandbyFacts] = ()
    voters: Sequence[VoterFacts] = ()
    voters_since_s: float = 0.0
    machines: int = 1
    letters: LetterFacts = LetterFacts()
    lease: LeaseFacts = LeaseFacts()

    @property
    def has_heir(self) -> bool:
        """Whether a standby has everything that was acknowledged, and is heard."""
        return any(each.heard and each.in_sync for each in self.standbys)
