"""The storm brake: looks for storms, freezes, raises one alarm, and takes the operator's word.

Two things outlive a restart of the NameNode, which itself hears nobody for a moment: since when a
node has counted as dead, so that old losses are no new storm, and whose loss was accepted.  Both
are forgotten of a node that is heard again.

Decides nothing by itself: `storm.py` judges.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from dfs.base.clock import Clock
from dfs.base.errors import JobConflict
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name
from dfs.base.records import NodeView
from dfs.base.states import NodeState
from dfs.blocks.redundancy import RepairClass
from dfs.settings.sections import LivenessConfig, RepairConfig
from dfs.upkeep.remembered import Key, Remembered
from dfs.upkeep.storm import CALM, Storm, judge_storm

LOOK_AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class StormLimits:
    """By what a storm is judged."""

    liveness: LivenessConfig
    repair: RepairConfig


class StormBrake:
    """See the module.  Safe to share between threads.

    Args:
        views: every DataNode as of now.

    Attributes:
        lost_before: the nodes that counted as dead before this NameNode started.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[NodeView]],
        *,
        remembered: Remembered,
        clock: Clock,
        emit: Emitter,
        limits: StormLimits,
    ) -> None:
        self._views = views
        self._remembered = remembered
        self._clock = clock
        self._emit = emit
        self._limits = limits
        # While the NameNode starts, nobody is heard yet, and safe mode holds everything anyway.
        self.is_starting: Callable[[], bool] = lambda: False
        self._lock = threading.Lock()
        self._storm = CALM
        self._looked_s = -LOOK_AGAIN_S
        lost = remembered.read(Key.LOST_NODES, dict[int, int]) or {}
        self._lost = {NodeId(node): since_ms for node, since_ms in lost.items()}
        self.lost_before = frozenset(self._lost)
        accepted = remembered.read(Key.ACCEPTED_LOSS, list[int]) or []
        self._accepted = frozenset(NodeId(node) for node in accepted)

    # ---- what others ask

    def storm(self) -> Storm:
        """How it is now."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if now_s - self._looked_s >= LOOK_AGAIN_S:
                self._look()
                self._looked_s = now_s
            return self._storm

    def why_no_deletes(self) -> str:
        """Why nothing may be deleted now; "" when it may."""
        storm = self.storm()
        return f"frozen: {storm.reason}" if storm.frozen else ""

    def why_no_repair(self, urgency: RepairClass) -> str:
        """Why repairs of that class must wait; last copies never do."""
        return "" if urgency is RepairClass.LAST_COPY else self.why_no_deletes()

    # ---- the job

    def run_once(self) -> Storm:
        """Look, and write down who is lost when that changed."""
        storm = self.storm()
        views = self._views()
        heard = {view.node for view in views if view.state is NodeState.LIVE}
        present = {view.node for view in views} - heard
        with self._lock:
            lost = {node: ms for node, ms in self._lost.items() if node in present}
            for view in views:
                if view.state is NodeState.DEAD:
                    lost.setdefault(view.node, self._clock.now_ms() - int(view.silent_s * 1000))
            accepted = self._accepted & present
            lost_is_new, accepted_is_new = lost != self._lost, accepted != self._accepted
            self._lost, self._accepted = lost, accepted
        if lost_is_new:
            self._remembered.keep(Key.LOST_NODES, lost)
        if accepted_is_new:
            self._remembered.keep(Key.ACCEPTED_LOSS, sorted(accepted))
        return storm

    def accept(self) -> tuple[NodeId, ...]:
        """Take the nodes of the storm for lost: heal without them.  They may return all the same.

        Raises:
            JobConflict: nothing is frozen.
        """
        storm = self.storm()
        if not storm.frozen:
            raise JobConflict("no nodes vanished together: nothing is frozen by the storm brake")
        with self._lock:
            self._accepted |= set(storm.nodes)
            accepted = sorted(self._accepted)
        self._remembered.keep(Key.ACCEPTED_LOSS, accepted)
        with self._lock:
            self._look(why="the operator accepted the loss")
        return storm.nodes

    def _look(self, *, why: str = "they are back") -> None:
        if self.is_starting():
            return
        before, self._storm = (
            self._storm,
            judge_storm(
                [self._known_silence(view) for view in self._views()],
                accepted=self._accepted,
                liveness=self._limits.liveness,
                repair=self._limits.repair,
            ),
        )
        storm = self._storm
        if storm.frozen and not before.frozen:
            self._emit.emit(
                Event.STORM_FROZEN,
                why=storm.reason,
                nodes=[node_name(node) for node in storm.nodes],
            )
        elif before.frozen and not storm.frozen:
            self._emit.emit(Event.STORM_OVER, why=why, was=before.reason)

    def _known_silence(self, view: NodeView) -> NodeView:
        """With the silence as long as it really is, of a node that was lost before we started."""
        since_ms = self._lost.get(view.node)
        if since_ms is None or view.state is NodeState.LIVE:
            return view
        silent_s = max(view.silent_s, (self._clock.now_ms() - since_ms) / 1000)
        return replace(view, silent_s=silent_s)
