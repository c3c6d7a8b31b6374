"""Pure: what a survey of the blocks says to the checks of health.

Canaries are left out: their copies are spoiled on purpose, and a check that fires every week for
nothing is a check that nobody reads.  A survey's totals know nothing of them, and it says which of
those that it lists they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from dfs.base.ids import BlockId
from dfs.blocks.redundancy import BlockHealth, RepairClass
from dfs.upkeep.health_facts import FIRST_MAX, BlockFacts
from dfs.upkeep.survey import Judged, Survey

SHOWN: Final = (
    BlockHealth.MISSING,
    BlockHealth.CORRUPT,
    BlockHealth.DISPUTED,
    BlockHealth.AWAY,
    BlockHealth.UNDER_REPLICATED,
)


def worth_naming(survey: Survey) -> list[BlockId]:
    """The blocks that a report may name: few of each kind."""
    kinds: Counter[object] = Counter()
    named: dict[BlockId, None] = {}
    for judged in _usual(survey):
        kinds[judged.found.health] += 1
        kinds[judged.found.repair] += 1
        few = min(kinds[judged.found.health], kinds[judged.found.repair]) <= FIRST_MAX
        if few:
            named[judged.block.truth.block] = None
    return list(named)


def block_facts(survey: Survey, names: Mapping[BlockId, str]) -> BlockFacts | None:
    """What the survey found; None before the first.

    Args:
        names: what people call those of the blocks that may be named.
    """
    if not survey.at_ms:
        return None
    health = {each: tally.blocks for each, tally in survey.totals.by_health.items()}
    urgent = {each: tally.blocks for each, tally in survey.totals.by_class.items()}
    usual = _usual(survey)
    return BlockFacts(
        health=health,
        urgent=urgent,
        bad_copies=sum(
            len(judged.found.bad) + len(judged.found.disputed)
            for judged in survey.bad
            if judged.block.truth.block not in survey.canaries and judged.found.sources
        ),
        examples={
            each: _words([judged for judged in usual if judged.found.health is each], names)
            for each in SHOWN
        },
        urgent_examples={
            each: _words([judged for judged in usual if judged.found.repair is each], names)
            for each in RepairClass
        },
        at_ms=survey.at_ms,
    )


def _usual(survey: Survey) -> list[Judged]:
    """Every block of a user that is listed by name, each once."""
    listed = (*survey.urgent, *survey.damaged, *survey.missing, *survey.disputed, *survey.away)
    return [judged for judged in listed if judged.block.truth.block not in survey.canaries]


def _words(judged: Sequence[Judged], names: Mapping[BlockId, str]) -> list[str]:
    return [_name(each, names) for each in judged[:FIRST_MAX]]


def _name(judged: Judged, names: Mapping[BlockId, str]) -> str:
    block = judged.block.truth.block
    path = names.get(block, "")
    where = f"{path} (block {block})" if path else f"block {block}"
    return f"{where}: {judged.found.reason}"
