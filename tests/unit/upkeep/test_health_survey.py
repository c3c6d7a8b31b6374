"""What health makes of a survey: figures, names, and canaries left out."""

from dataclasses import replace

from dfs.base.ids import BlockId
from dfs.blocks.redundancy import Assessment, BlockHealth, KeptBlock, RepairClass
from dfs.upkeep.health_survey import block_facts, worth_naming
from dfs.upkeep.survey import Judged, Survey, SurveyTotals, Tally
from tests.builders import a_name, a_truth

UNDER, MISSING = BlockHealth.UNDER_REPLICATED, BlockHealth.MISSING
LAST = RepairClass.LAST_COPY


def judged(
    block: int, health: BlockHealth = UNDER, repair: RepairClass = LAST, *, bad: int = 0
) -> Judged:
    kept = KeptBlock(a_truth(block), a_name(block), wanted=2, created_ms=0, copies=())
    found = Assessment(
        health=health,
        repair=repair,
        reason="1 of 2 copies",
        counting=(),
        sure=(),
        sources=(1,) if health is UNDER else (),  # type: ignore[arg-type]
        bad=(7,) * bad,  # type: ignore[arg-type]
        disputed=(),
    )
    return Judged(kept, found)


def a_survey(*, under: int = 3, missing: int = 1) -> Survey:
    urgent = tuple(judged(n, bad=1) for n in range(1, under + 1))
    gone = tuple(judged(n, MISSING, RepairClass.DAMAGED) for n in range(100, 100 + missing))
    totals = SurveyTotals(
        blocks=1_000,
        by_health={UNDER: Tally(under), MISSING: Tally(missing), BlockHealth.HEALTHY: Tally(900)},
        by_class={LAST: Tally(under), RepairClass.DAMAGED: Tally(missing)},
    )
    return Survey(number=1, at_ms=5, totals=totals, urgent=urgent, missing=gone, bad=urgent)


def test_nothing_is_known_before_the_first_survey() -> None:
    assert block_facts(Survey(), {}) is None


def test_figures_are_those_of_the_survey_and_blocks_are_called_by_their_paths() -> None:
    facts = block_facts(a_survey(), {BlockId(2): "/data/f"})
    assert facts is not None
    assert (facts.health[UNDER], facts.health[MISSING], facts.urgent[LAST]) == (3, 1, 3)
    assert facts.examples[UNDER] == [
        "block 1: 1 of 2 copies",
        "/data/f (block 2): 1 of 2 copies",
        "block 3: 1 of 2 copies",
    ]
    assert facts.urgent_examples[LAST] == facts.examples[UNDER]
    assert facts.bad_copies == 3


def test_canaries_that_repair_is_to_heal_are_not_named() -> None:
    survey = replace(a_survey(), canaries=frozenset({BlockId(1)}))
    facts = block_facts(survey, {})
    assert facts is not None
    assert [words.split(":")[0] for words in facts.urgent_examples[LAST]] == ["block 2", "block 3"]
    assert facts.bad_copies == 2


def test_only_few_blocks_are_worth_a_name() -> None:
    survey = replace(a_survey(under=500, missing=40), canaries=frozenset({BlockId(1)}))
    assert worth_naming(survey) == [*range(2, 12), *range(100, 110)]
