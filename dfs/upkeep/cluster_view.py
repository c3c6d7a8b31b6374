"""The one snapshot that everything which decides about the cluster reads.

Repair planner, balancer, health and explain look at the same values of the same moment, so that
they cannot disagree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dfs.base.clock import Clock
from dfs.base.ids import NodeId
from dfs.base.records import NodeView
from dfs.blocks.redundancy import RepairClass, Standings, standings
from dfs.upkeep.caution import Caution
from dfs.upkeep.pending import NOTHING_PENDING, Pending
from dfs.upkeep.survey import Survey


@dataclass(frozen=True, slots=True)
class Cautions:
    """What is held back now, and why; a reason that is not there means "go on"."""

    deletes: str = ""
    repairs: Mapping[RepairClass, str] = field(default_factory=dict)

    def why_no_repair(self, urgency: RepairClass) -> str:
        """Why repairs of that class must wait; "" when they need not."""
        return self.repairs.get(urgency, "")


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Everything known of nodes and blocks at one moment.

    Attributes:
        survey: the last one; it may be some seconds older than the rest.
        pending: copies under way, and what failed lately.
    """

    now_ms: int
    nodes: tuple[NodeView, ...]
    standings: Standings
    survey: Survey = Survey()
    pending: Pending = NOTHING_PENDING
    cautions: Cautions = Cautions()


class Presences(Protocol):
    """What is known of DataNodes."""

    def views(self) -> Sequence[NodeView]:
        """Every DataNode as of now."""
        ...

    def fresh(self) -> frozenset[NodeId]:
        """The nodes whose stock is known."""
        ...


class NodeStandings:
    """What nodes' copies are worth, as of now.  Safe to share between threads."""

    def __init__(self, presences: Presences, *, urgent_after_s: float) -> None:
        self._presences = presences
        self._urgent_after_s = urgent_after_s

    def standings(self) -> Standings:
        """See `dfs.blocks.redundancy.standings`."""
        return standings(
            tuple(self._presences.views()),
            fresh=self._presences.fresh(),
            urgent_after_s=self._urgent_after_s,
        )


class Watch:
    """Makes views.  Safe to share between threads.

    Args:
        survey: the last survey.
        pending: copies under way now.
    """

    def __init__(
        self,
        presences: Presences,
        *,
        clock: Clock,
        caution: Caution,
        survey: Callable[[], Survey],
        pending: Callable[[], Pending],
        urgent_after_s: float,
    ) -> None:
        self._presences = presences
        self._clock = clock
        self._caution = caution
        self._survey = survey
        self._pending = pending
        self._urgent_after_s = urgent_after_s

    def view(self) -> ClusterView:
        """The cluster as of now."""
        nodes = tuple(self._presences.views())
        reasons = {each: self._caution.why_no_repair(each) for each in RepairClass}
        return ClusterView(
            now_ms=self._clock.now_ms(),
            nodes=nodes,
            standings=standings(
                nodes, fresh=self._presences.fresh(), urgent_after_s=self._urgent_after_s
            ),
            survey=self._survey(),
            pending=self._pending(),
            cautions=Cautions(
                self._caution.why_no_deletes(), {each: why for each, why in reasons.items() if why}
            ),
        )
