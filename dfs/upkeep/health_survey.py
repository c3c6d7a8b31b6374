"""Pure: what a survey of the blocks says to the checks of health.

Canaries are left out: their copies are spoiled on purpose, and a check that fires every week for
nothing is a check that nobody reads.  They are known by their ids, so what a survey lists can be
told apart; its totals are then less by as many.
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


def worth_naming(survey: Survey, canaries: frozenset[BlockId]) -> list[BlockId]:
    """The blocks that a report may name: few of each kind."""
    kinds: Counter[object] = Counter()
    named: dict[BlockId, None] = {}
    for judged in _usual(survey, canaries):
        kinds[judged.found.health] += 1
        kinds[judged.found.repair] += 1
        few = min(kinds[judged.found.health], kinds[judged.found.repair]) <= FIRST_MAX
        if few:
            named[judged.block.truth.block] = None
    return list(named)


def block_facts(
    survey: Survey, canaries: frozenset[BlockId], names: Mapping[BlockId, str]
) -> BlockFacts | None:
    """What the survey found; None before the first.

    Args:
        names: what people call those of the blocks that may be named.
    """
    if not survey.at_ms:
        return None
    spoiled = [judged for judged in _listed(survey) if judged.block.truth.block in canaries]
    health = {each: tally.blocks for each, tally in survey.totals.by_health.items()}
    urgent = {each: tally.blocks for each, tally in survey.totals.by_class.items()}
    for judged in spoiled:
        health[judged.found.health] = max(0, health.get(judged.found.health, 0) - 1)
        if judged.found.repair is not None:
            urgent[judged.found.repair] = max(0, urgent.get(judged.found.repair, 0) - 1)
    usual = _usual(survey, canaries)
    return BlockFacts(
        health=health,
        urgent=urgent,
        bad_copies=sum(
            len(judged.found.bad) + len(judged.found.disputed)
            for judged in survey.bad
            if judged.block.truth.block not in canaries and judged.found.sources
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


def _listed(survey: Survey) -> tuple[Judged, ...]:
    """Every block that is listed by name, each once."""
    return (*survey.urgent, *survey.damaged, *survey.missing, *survey.disputed, *survey.away)


def _usual(survey: Survey, canaries: frozenset[BlockId]) -> list[Judged]:
    return [judged for judged in _listed(survey) if judged.block.truth.block not in canaries]


def _words(judged: Sequence[Judged], names: Mapping[BlockId, str]) -> list[str]:
    return [_name(each, names) for each in judged[:FIRST_MAX]]


def _name(judged: Judged, names: Mapping[BlockId, str]) -> str:
    block = judged.block.truth.block
    path = names.get(block, "")
    where = f"{path} (block {block})" if path else f"block {block}"
    return f"{where}: {judged.found.reason}"
