"""Pure: whether a NameNode that started knows enough of its blocks to change anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.ids import NodeId, node_name
from dfs.base.units import format_duration

NAMED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What is known some time after the start.

    Attributes:
        blocks: committed blocks of which a copy was known somewhere before the start; what was
            lost already does not come back by waiting.
        found: those of them with a copy on a node that has reported all it holds since.
        awaited: nodes that should report and have not.
        waited_s: since the start.
    """

    blocks: int
    found: int
    awaited: tuple[NodeId, ...]
    waited_s: float


@dataclass(frozen=True, slots=True)
class StartVerdict:
    """Whether the start is over, and why not."""

    over: bool
    reason: str = ""


def is_awaiting(facts: StartFacts, *, wait_s: float) -> bool:
    """Whether the reports of DataNodes are waited for, however many blocks are found already."""
    return bool(facts.awaited) and facts.waited_s < wait_s


def judge_start(facts: StartFacts, *, wanted_percent: float, wait_s: float) -> StartVerdict:
    """Over when every node that can be expected has reported (or was waited for long enough), and
    enough blocks are found.
    """
    if is_awaiting(facts, wait_s=wait_s):
        left = format_duration(max(0.0, wait_s - facts.waited_s))
        return StartVerdict(
            over=False,
            reason=f"the stock of {names(facts.awaited)} is not known yet; waiting {left} at most",
        )
    if facts.found * 100 < wanted_percent * facts.blocks:
        share = 100 * facts.found / facts.blocks
        words = (
            f"of {facts.blocks} blocks {facts.found} are found ({share:.2f} %, "
            f"{wanted_percent:g} % are wanted)"
        )
        missing = f"; not heard: {names(facts.awaited)}" if facts.awaited else ""
        return StartVerdict(over=False, reason=words + missing)
    return StartVerdict(over=True)


def names(nodes: Sequence[NodeId]) -> str:
    """`dn-1, dn-2 and 3 more`."""
    named = ", ".join(node_name(node) for node in sorted(nodes)[:NAMED_MAX])
    return named if len(nodes) <= NAMED_MAX else f"{named} and {len(nodes) - NAMED_MAX} more"
