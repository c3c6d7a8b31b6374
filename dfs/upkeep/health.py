"""Pure: facts to a health report: the table of checks, and what their findings add up to.

The ids are what monitoring is written against: one is never renamed or used for something else.
The worst status is the report's; to know too little (UNKNOWN) is worse than OK and better than a
WARNING, as Nagios plugins have it.
"""

from collections.abc import Mapping
from typing import Final

from dfs.upkeep import health_blocks as blocks
from dfs.upkeep import health_failover as failover
from dfs.upkeep import health_nodes as nodes
from dfs.upkeep.health_facts import CheckRule, HealthFacts
from dfs.wire.health_api import HealthReport, HealthStatus

CHECKS: Final[Mapping[str, CheckRule]] = {
    "blocks_missing": blocks.blocks_missing,
    "blocks_corrupt": blocks.blocks_corrupt,
    "blocks_disputed": blocks.blocks_disputed,
    "blocks_away": blocks.blocks_away,
    "blocks_one_copy": blocks.blocks_one_copy,
    "blocks_under_replicated": blocks.blocks_under_replicated,
    "regressed": blocks.regressed,
    "safe_mode": blocks.safe_mode,
    "repair_frozen": blocks.repair_frozen,
    "nodes_down": nodes.nodes_down,
    "nodes_stale": nodes.nodes_stale,
    "nodes_unreachable": nodes.nodes_unreachable,
    "nodes_doubtful": nodes.nodes_doubtful,
    "few_nodes": nodes.few_nodes,
    "disk_errors": nodes.disk_errors,
    "disk_full": nodes.disk_full,
    "space_discrepancy": nodes.space_discrepancy,
    "scrub_stalled": nodes.scrub_stalled,
    "scrub_behind": nodes.scrub_behind,
    "canary_late": blocks.canary_late,
    "metadata_backup_late": blocks.metadata_backup_late,
    "clock_skew": nodes.clock_skew,
    "version_skew": nodes.version_skew,
    "jobs_failing": blocks.jobs_failing,
    "compaction_failing": blocks.compaction_failing,
    "strays": blocks.strays,
    "lossy": failover.lossy,
    "standby_differs": failover.standby_differs,
    "standby_missing": failover.standby_missing,
    "standby_lagging": failover.standby_lagging,
    "voters_short": failover.voters_short,
    "lease_slow": failover.lease_slow,
    "letters_refused": failover.letters_refused,
    "namenode_version_skew": failover.namenode_version_skew,
    "failover_mode": failover.failover_mode,
}
_BADNESS: Final[Mapping[HealthStatus, int]] = {
    HealthStatus.OK: 0,
    HealthStatus.UNKNOWN: 1,
    HealthStatus.WARNING: 2,
    HealthStatus.CRITICAL: 3,
}


def judge(facts: HealthFacts) -> HealthReport:
    """What every check says of the facts, in the order of the table."""
    checks = tuple(rule(facts).named(check) for check, rule in CHECKS.items())
    worst = max((check.status for check in checks), key=lambda status: _BADNESS[status])
    return HealthReport(worst, facts.at_ms, checks)
