"""Every check of health: the facts that make it fire, and that it is quiet without them."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from dfs.base.records import NodeView, ScrubStatus
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import GiB
from dfs.blocks.redundancy import BlockHealth, RepairClass
from dfs.settings.sections import Config
from dfs.upkeep.health import CHECKS, judge
from dfs.upkeep.health_facts import (
    FIRST_MAX,
    BlockFacts,
    HealthFacts,
    JobFacts,
    RepairFacts,
    SafetyFacts,
    StrayFacts,
)
from dfs.wire.health_api import Check, HealthStatus
from dfs.wire.scrub_api import CanaryStatus
from tests.builders import a_node, a_usage, a_volume
from tests.unit.upkeep.failover_cases import FAILOVER_FIRES, FAILOVER_QUIET

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OK, WARNING, CRITICAL, UNKNOWN = HealthStatus
VERSION = "1.0"
Change = Callable[[HealthFacts], HealthFacts]


def a_scrub(**more: Any) -> ScrubStatus:
    """A scrubber that is on time."""
    usual = {
        "state": "running",
        "total_blocks": 100,
        "covered_blocks": 100,
        "oldest_ms": NOW_MS - DAY_MS,
        "last_verified_ms": NOW_MS - 1_000,
    }
    return ScrubStatus(**(usual | more))


def a_dn(node: int = 1, *, scrub: ScrubStatus | None = None, **more: Any) -> NodeView:
    """A DataNode that nothing is wrong with."""
    made = a_node(node)
    condition = replace(made.condition, scrub=scrub or a_scrub())
    return replace(made, **({"version": VERSION, "condition": condition} | more))


def a_canary(node: int = 1, **more: Any) -> CanaryStatus:
    """A canary that was healed a day ago."""
    usual = {"node": node, "state": "healed", "last_healed_ms": NOW_MS - DAY_MS}
    return CanaryStatus(**(usual | more))


def some_facts(**more: Any) -> HealthFacts:
    """A cluster in which all is well, with three DataNodes."""
    usual: dict[str, Any] = {
        "at_ms": NOW_MS,
        "version": VERSION,
        "config": Config(),
        "nodes": (a_dn(1), a_dn(2), a_dn(3)),
        "blocks": BlockFacts(health={BlockHealth.HEALTHY: 10}, urgent={}),
        "canaries": (a_canary(1), a_canary(2)),
        "last_backup_ms": NOW_MS - HOUR_MS,
    }
    return HealthFacts(**(usual | more))


def with_node(node: NodeView) -> HealthFacts:
    """All well but the third node."""
    return some_facts(nodes=(a_dn(1), a_dn(2), node))


def with_blocks(health: BlockHealth, count: int = 7, **more: Any) -> HealthFacts:
    examples = {health: [f"/data/f{i}" for i in range(count)]}
    return some_facts(
        blocks=BlockFacts(health={health: count}, urgent={}, examples=examples), **more
    )


def with_last_copies(repair: RepairFacts | None = None) -> HealthFacts:
    urgent = {RepairClass.LAST_COPY: 4}
    return some_facts(
        blocks=BlockFacts(health={BlockHealth.UNDER_REPLICATED: 4}, urgent=urgent),
        repair=repair or RepairFacts(eta_s=90),
    )


def with_short(repair: RepairFacts | None = None) -> HealthFacts:
    """Four down to their last copy, five more short of copies."""
    urgent = {RepairClass.LAST_COPY: 4, RepairClass.FEW_COPIES: 2, RepairClass.UNDER: 3}
    examples = {each: [f"/{each.name}{i}" for i in range(n)] for each, n in urgent.items()}
    return some_facts(
        blocks=BlockFacts(
            health={BlockHealth.UNDER_REPLICATED: 9}, urgent=urgent, urgent_examples=examples
        ),
        repair=repair or RepairFacts(eta_s=90),
    )


def with_volume(**more: Any) -> HealthFacts:
    return with_node(a_dn(3, volumes=(replace(a_volume(), **more),)))


def found(check: str, facts: HealthFacts) -> Check:
    return next(each for each in judge(facts).checks if each.id == check)


DEAD = a_dn(3, state=NodeState.DEAD, silent_s=700.0)
FIRES: list[tuple[str, HealthFacts, HealthStatus, str]] = [
    ("nodes_down", with_node(DEAD), WARNING, "1 DataNode is dead"),
    (
        "nodes_down",
        some_facts(nodes=(a_dn(1), DEAD, replace(DEAD))),
        CRITICAL,
        "2 DataNodes are dead",
    ),
    ("nodes_stale", with_node(a_dn(3, state=NodeState.STALE, silent_s=40.0)), WARNING, "silent"),
    ("nodes_unreachable", with_node(a_dn(3, reachable=False)), WARNING, "heard but not reached"),
    (
        "nodes_unreachable",
        some_facts(nodes=(a_dn(1, reachable=False),), probed=True),
        CRITICAL,
        "not reached",
    ),
    (
        "nodes_doubtful",
        with_node(a_dn(3, condition=replace(a_dn().condition, doubtful=True))),
        CRITICAL,
        "test those",
    ),
    ("few_nodes", some_facts(nodes=(a_dn(1),)), WARNING, "wants 2 copies"),
    ("few_nodes", some_facts(nodes=()), CRITICAL, "0 DataNodes are"),
    (
        "few_nodes",
        some_facts(nodes=(a_dn(1), a_dn(2, duty=NodeDuty.DECOMMISSIONING))),
        WARNING,
        "in service",
    ),
    ("disk_full", with_volume(free_bytes=14 * GiB), WARNING, "more than 85% full"),
    ("disk_full", with_volume(free_bytes=4 * GiB), CRITICAL, "more than 85% full"),
    ("disk_errors", with_volume(state=VolumeState.READ_ONLY), WARNING, "failing"),
    ("disk_errors", with_volume(errors=2), WARNING, "1 disk is failing"),
    ("disk_errors", with_volume(state=VolumeState.FAILED), CRITICAL, "replace"),
    (
        "space_discrepancy",
        with_node(a_dn(3, first_total_bytes=200 * GiB)),
        WARNING,
        "first registration",
    ),
    (
        "space_discrepancy",
        with_node(a_dn(3, usage=replace(a_usage(free_bytes=60 * GiB), used_bytes=5 * GiB))),
        WARNING,
        "something else than blocks",
    ),
    ("blocks_missing", with_blocks(BlockHealth.MISSING), CRITICAL, "7 blocks are lost"),
    ("blocks_missing", some_facts(blocks=None), UNKNOWN, "no survey"),
    ("blocks_corrupt", with_blocks(BlockHealth.CORRUPT), CRITICAL, "bad in every copy"),
    ("blocks_disputed", with_blocks(BlockHealth.DISPUTED, 1), CRITICAL, "1 block is in dispute"),
    (
        "blocks_away",
        with_blocks(BlockHealth.AWAY, nodes=(a_dn(1), a_dn(2, state=NodeState.STALE))),
        CRITICAL,
        "come back",
    ),
    (
        "blocks_away",
        with_blocks(
            BlockHealth.AWAY,
            nodes=(a_dn(1), a_dn(2, state=NodeState.STALE, duty=NodeDuty.MAINTENANCE)),
        ),
        WARNING,
        "come back",
    ),
    (
        "blocks_away",
        with_blocks(
            BlockHealth.AWAY,
            nodes=(a_dn(1, state=NodeState.JOINED),),
            safety=SafetyFacts(safe_mode="0 of 7"),
        ),
        WARNING,
        "come back",
    ),
    ("blocks_one_copy", with_last_copies(), WARNING, "done in about 1m 30s"),
    (
        "blocks_one_copy",
        with_last_copies(RepairFacts(held={RepairClass.LAST_COPY: "safe mode"})),
        CRITICAL,
        "their repair waits: safe mode",
    ),
    (
        "blocks_one_copy",
        with_last_copies(RepairFacts(paused_until_ms=NOW_MS + 1)),
        CRITICAL,
        "waits: paused",
    ),
    (
        "blocks_one_copy",
        with_last_copies(RepairFacts(failing=2)),
        WARNING,
        "2 could not be copied",
    ),
    ("blocks_under_replicated", with_short(), WARNING, "5 blocks are short of copies"),
    (
        "blocks_under_replicated",
        with_short(RepairFacts(failing=2)),
        WARNING,
        "2 could not be copied",
    ),
    ("repair_frozen", some_facts(repair=RepairFacts(storm="3 of 8 left")), CRITICAL, "3 of 8"),
    (
        "repair_frozen",
        some_facts(repair=RepairFacts(paused_until_ms=NOW_MS + HOUR_MS)),
        WARNING,
        "another 1h 00m",
    ),
    (
        "repair_frozen",
        some_facts(repair=RepairFacts(held={RepairClass.UNDER: "a forced leave"})),
        WARNING,
        "held back",
    ),
    ("safe_mode", some_facts(safety=SafetyFacts(safe_mode="8 of 9")), WARNING, "8 of 9"),
    (
        "safe_mode",
        some_facts(safety=SafetyFacts(safe_mode="8 of 9", safe_since_ms=NOW_MS - HOUR_MS)),
        CRITICAL,
        "nothing is changed",
    ),
    ("regressed", some_facts(safety=SafetyFacts(regressed="dn-2 saw 9")), CRITICAL, "back in time"),
    (
        "scrub_behind",
        with_node(a_dn(3, scrub=a_scrub(oldest_ms=NOW_MS - 15 * DAY_MS, covered_blocks=60))),
        WARNING,
        "within 14d",
    ),
    (
        "scrub_behind",
        with_node(a_dn(3, scrub=a_scrub(oldest_ms=NOW_MS - 30 * DAY_MS))),
        CRITICAL,
        "faster",
    ),
    (
        "scrub_stalled",
        with_node(a_dn(3, scrub=a_scrub(last_verified_ms=NOW_MS - 2 * DAY_MS))),
        CRITICAL,
        "none was re-read",
    ),
    (
        "scrub_stalled",
        with_node(
            a_dn(
                3,
                scrub=a_scrub(last_verified_ms=0),
                usage=replace(a_usage(), uptime_s=100_000.0),
            )
        ),
        CRITICAL,
        "none was re-read",
    ),
    (
        "scrub_stalled",
        with_node(a_dn(3, scrub=a_scrub(state="paused", paused_until_ms=NOW_MS + HOUR_MS))),
        WARNING,
        "goes on by itself",
    ),
    (
        "canary_late",
        some_facts(canaries=(a_canary(1), a_canary(2, state="spoiled", late=True, why="waits"))),
        WARNING,
        "1 DataNode is late",
    ),
    (
        "metadata_backup_late",
        some_facts(last_backup_ms=NOW_MS - 3 * DAY_MS),
        WARNING,
        "3d 00h old",
    ),
    ("clock_skew", with_node(a_dn(3, skew_s=-7.5)), WARNING, "NTP"),
    ("version_skew", with_node(a_dn(3, version="0.9")), WARNING, "finish the upgrade"),
    (
        "jobs_failing",
        some_facts(failed_jobs=(JobFacts("gc", NOW_MS, "disk full"),)),
        WARNING,
        "1 background job is failing",
    ),
    (
        "compaction_failing",
        some_facts(compaction="10 packs in a row came to nothing"),
        WARNING,
        "holes in packs stay: 10 packs in a row",
    ),
    *(
        (check, some_facts(failover=failover, config=config), status, words)
        for check, failover, config, status, words in FAILOVER_FIRES
    ),
]

QUIET: list[tuple[str, HealthFacts]] = [
    ("nodes_down", with_node(replace(DEAD, is_excused=True))),
    ("nodes_down", with_node(replace(DEAD, duty=NodeDuty.MAINTENANCE))),
    ("nodes_down", with_node(replace(DEAD, duty=NodeDuty.DECOMMISSIONED))),
    ("nodes_down", with_node(replace(DEAD, registered_ms=0))),
    ("nodes_stale", with_node(a_dn(3, state=NodeState.STALE, is_excused=True))),
    ("nodes_unreachable", with_node(replace(DEAD, reachable=False))),
    ("nodes_unreachable", with_node(a_dn(3, reachable=False, is_excused=True))),
    ("disk_full", with_node(replace(DEAD, volumes=(a_volume(free_bytes=0),)))),
    ("disk_full", with_volume(total_bytes=0, free_bytes=0)),
    ("space_discrepancy", with_node(a_dn(3, usage=a_usage(total_bytes=0, free_bytes=0)))),
    ("space_discrepancy", with_node(a_dn(3, first_total_bytes=109 * GiB))),
    ("scrub_behind", with_node(a_dn(3, scrub=a_scrub(total_blocks=0, oldest_ms=0)))),
    (
        "scrub_stalled",
        with_node(a_dn(3, scrub=a_scrub(state="idle", last_verified_ms=NOW_MS - 3 * DAY_MS))),
    ),
    ("scrub_stalled", with_node(a_dn(3, scrub=a_scrub(total_blocks=0, last_verified_ms=0)))),
    ("canary_late", some_facts(canaries=(a_canary(last_healed_ms=0),))),
    ("canary_late", some_facts(canaries=())),
    ("metadata_backup_late", some_facts(last_backup_ms=0)),
    ("clock_skew", with_node(replace(DEAD, skew_s=99.0))),
    ("version_skew", with_node(a_dn(3, version=""))),
    ("repair_frozen", some_facts(repair=RepairFacts(paused_until_ms=NOW_MS - 1))),
    ("strays", some_facts(strays=StrayFacts(count=3, size_bytes=9, future=1))),
    *(
        (check, some_facts(failover=failover, config=config))
        for check, failover, config in FAILOVER_QUIET
    ),
]


@pytest.mark.parametrize(("check", "facts", "status", "words"), FIRES)
def test_check_fires_with_a_cause(
    check: str, facts: HealthFacts, status: HealthStatus, words: str
) -> None:
    made = found(check, facts)
    assert made.status is status, made
    assert words in made.cause
    assert "\n" not in made.cause
    assert made.status is UNKNOWN or made.count >= 1
    assert made.status is UNKNOWN or made.next or "docs/operate.md" in made.cause


@pytest.mark.parametrize(("check", "facts"), QUIET)
def test_check_stays_quiet(check: str, facts: HealthFacts) -> None:
    assert found(check, facts).status is OK, found(check, facts)


def test_all_is_well_when_it_is() -> None:
    report = judge(some_facts())
    assert [check for check in report.checks if check.status is not OK] == []
    assert report.status is OK
    assert all(check.cause for check in report.checks)


def test_every_check_has_a_test_that_makes_it_fire() -> None:
    informing = {"strays", "failover_mode"}
    assert {check for check, *_ in FIRES} | informing == set(CHECKS)


def test_report_is_as_bad_as_its_worst_check_and_not_knowing_is_less_than_a_warning() -> None:
    assert judge(with_blocks(BlockHealth.MISSING)).status is CRITICAL
    assert judge(some_facts(blocks=None)).status is UNKNOWN
    assert judge(some_facts(blocks=None, last_backup_ms=1)).status is WARNING


def test_first_items_are_few_and_short() -> None:
    made = found("blocks_missing", with_blocks(BlockHealth.MISSING, 50))
    assert (made.count, len(made.first)) == (50, FIRST_MAX)
    long = BlockFacts(
        health={BlockHealth.MISSING: 1}, urgent={}, examples={BlockHealth.MISSING: ["x" * 5_000]}
    )
    assert len(found("blocks_missing", some_facts(blocks=long)).first[0]) <= 200


def test_stray_files_are_told_and_alarm_nobody() -> None:
    made = found("strays", some_facts(strays=StrayFacts(count=3, size_bytes=9, future=1)))
    assert (made.status, made.count) == (OK, 3)
    assert "1 are newer than the metadata" in made.cause


def test_bad_copies_of_blocks_that_have_good_ones_are_told_and_no_alarm() -> None:
    blocks = BlockFacts(health={}, urgent={}, bad_copies=3)
    made = found("blocks_corrupt", some_facts(blocks=blocks))
    assert made.status is OK
    assert made.cause == "3 bad copies are known, of blocks that have good ones"


def test_a_block_is_listed_under_its_worst_check_only() -> None:
    last, short = (
        found("blocks_one_copy", with_short()),
        found("blocks_under_replicated", with_short()),
    )
    assert (last.count, short.count) == (4, 5)
    assert {*last.first} & {*short.first} == set()
    assert short.first == ("/FEW_COPIES0", "/FEW_COPIES1", "/UNDER0", "/UNDER1", "/UNDER2")
    assert found("blocks_under_replicated", with_last_copies()).status is HealthStatus.OK
