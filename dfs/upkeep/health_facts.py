"""Pure: what is known when health is judged, and the words a check answers in.

`HealthFacts` is one immutable picture, put together by `health_runs.py`; every check is a function
of it.  What nobody could say yet is None, and the checks that need it say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.blocks.redundancy import BlockHealth, RepairClass
from dfs.settings.sections import Config
from dfs.upkeep.failover_facts import FailoverFacts
from dfs.wire.health_api import Check, HealthStatus
from dfs.wire.scrub_api import CanaryStatus

FIRST_MAX: Final = 10  # items named by a check
ITEM_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """How the blocks are, by the last survey.

    Attributes:
        health: how many blocks are of each health.
        urgent: how many blocks wait for a repair of each class.
        bad_copies: copies known to be bad of blocks that have good ones: healing.
        examples: the first blocks of a health, as people call them.
        urgent_examples: the same of a class.
        at_ms: when the survey looked.
    """

    health: Mapping[BlockHealth, int]
    urgent: Mapping[RepairClass, int]
    bad_copies: int = 0
    examples: Mapping[BlockHealth, Sequence[str]] = field(default_factory=dict)
    urgent_examples: Mapping[RepairClass, Sequence[str]] = field(default_factory=dict)
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class RepairFacts:
    """What repair is about.  `held` says per class why it must wait ("": it need not)."""

    eta_s: float = 0.0  # to full redundancy; 0: not known
    paused_until_ms: int = 0  # 0: it is not
    storm: str = ""  # why the storm brake is on
    held: Mapping[RepairClass, str] = field(default_factory=dict)
    failing: int = 0  # repairs that were tried as often as allowed


@dataclass(frozen=True, slots=True)
class SafetyFacts:
    """Why the cluster holds still, if it does; empty words mean that it does not."""

    safe_mode: str = ""
    safe_since_ms: int = 0
    regressed: str = ""


@dataclass(frozen=True, slots=True)
class StrayFacts:
    """Block files that are no copies of anything known, by kind."""

    count: int = 0
    size_bytes: int = 0
    future: int = 0  # newer than what the NameNode knows


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The last pass of a background job that failed."""

    job: str
    started_ms: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """See the module."""

    at_ms: int
    version: str  # of the NameNode
    config: Config
    nodes: Sequence[NodeView] = ()
    blocks: BlockFacts | None = None
    repair: RepairFacts = RepairFacts()
    safety: SafetyFacts = SafetyFacts()
    canaries: Sequence[CanaryStatus] = ()
    compaction: str = ""  # how its last round ended, where it ended badly
    strays: StrayFacts = StrayFacts()
    failed_jobs: Sequence[JobFacts] = ()
    last_backup_ms: int = 0  # 0: none was ever made
    failover: FailoverFacts = FailoverFacts()
    probed: bool = False  # whether reachability is of this moment

    @property
    def wanted_nodes(self) -> list[NodeView]:
        """Those that should be up: registered once, and nobody excused their silence."""
        return [node for node in self.nodes if is_expected(node)]

    @property
    def live_nodes(self) -> list[NodeView]:
        """Those that are heard."""
        return [node for node in self.nodes if node.state is NodeState.LIVE]


def is_expected(node: NodeView) -> bool:
    """Whether the node's silence would be a surprise."""
    leaving = node.duty in (NodeDuty.DECOMMISSIONED, NodeDuty.MAINTENANCE)
    return bool(node.registered_ms) and not leaving and not node.is_excused


@dataclass(frozen=True, slots=True)
class Found:
    """What a check came to, without its id."""

    status: HealthStatus
    cause: str
    count: int = 0
    first: Sequence[str] = ()
    next: str = ""

    def named(self, check: str) -> Check:
        """As it is reported."""
        first = tuple(item[:ITEM_CHARACTERS_MAX] for item in self.first[:FIRST_MAX])
        return Check(check, self.status, self.count, self.cause, first, self.next)


CheckRule = Callable[[HealthFacts], Found]


def well(cause: str, *, count: int = 0) -> Found:
    """Nothing to do."""
    return Found(HealthStatus.OK, cause, count)


def warning(cause: str, items: Sequence[str] = (), *, count: int = 0, then: str = "") -> Found:
    """Somebody should look, today."""
    return Found(HealthStatus.WARNING, cause, count or len(items), items, then)


def critical(cause: str, items: Sequence[str] = (), *, count: int = 0, then: str = "") -> Found:
    """Somebody should look now."""
    return Found(HealthStatus.CRITICAL, cause, count or len(items), items, then)


def unknown(cause: str) -> Found:
    """It could not be told."""
    return Found(HealthStatus.UNKNOWN, cause)


def many(count: int, noun: str, plural: str = "") -> str:
    """``1 block is``, ``7 blocks are``: the beginning of a cause."""
    return f"1 {noun} is" if count == 1 else f"{count:,} {plural or noun + 's'} are"
