"""Pure: the checks of blocks, repair and what holds the cluster still."""

from collections.abc import Sequence
from typing import Final

from dfs.base.ids import NodeId, node_name
from dfs.base.states import NodeState
from dfs.base.units import format_duration, format_size
from dfs.blocks.redundancy import BlockHealth, RepairClass
from dfs.upkeep.health_facts import (
    BlockFacts,
    Found,
    HealthFacts,
    critical,
    is_expected,
    many,
    unknown,
    warning,
    well,
)
from dfs.wire.scrub_api import CanaryStatus

FSCK: Final = "dfs-admin fsck"
SAFE_MODE_LONG_S: Final = 600.0
NOT_SURVEYED: Final = "no survey of the blocks is done yet since this NameNode started"
_SHORT: Final = (RepairClass.FEW_COPIES, RepairClass.UNDER)  # not the last copy, which is worse
_WAITING: Final = (
    RepairClass.LAST_COPY,
    RepairClass.FEW_COPIES,
    RepairClass.UNDER,
    RepairClass.MISPLACED,
)


def blocks_missing(facts: HealthFacts) -> Found:
    """Blocks of which no copy is known."""
    return _unreadable(
        facts,
        BlockHealth.MISSING,
        "lost: no copy is known; start the DataNodes that are down, or put the files again",
    )


def blocks_corrupt(facts: HealthFacts) -> Found:
    """Blocks with bad copies only; bad copies of blocks that have good ones are set right."""
    found = _unreadable(
        facts,
        BlockHealth.CORRUPT,
        "bad in every copy; the copies are kept: put the files again, or bring a good one back",
    )
    if found.count or facts.blocks is None or not facts.blocks.bad_copies:
        return found
    return well(f"{facts.blocks.bad_copies:,} bad copies are known, of blocks that have good ones")


def blocks_disputed(facts: HealthFacts) -> Found:
    """Blocks whose holders vouch for other bytes than were written."""
    return _unreadable(
        facts,
        BlockHealth.DISPUTED,
        "in dispute: DataNodes vouch for other bytes than were written, and nobody has those;"
        " nothing of them is deleted",
    )


def blocks_away(facts: HealthFacts) -> Found:
    """Blocks whose copies are all on nodes that are silent; expected silence is a warning."""
    blocks = facts.blocks
    if blocks is None:
        return unknown(NOT_SURVEYED)
    count = blocks.health.get(BlockHealth.AWAY, 0)
    if not count:
        return well("no block waits for a silent DataNode to come back")
    # In safe mode nodes are being awaited: it says so itself, and for how long.
    surprise = not facts.safety.safe_mode and any(
        is_expected(node) and node.state is not NodeState.LIVE for node in facts.nodes
    )
    say = critical if surprise else warning
    return say(
        f"{many(count, 'block')} not readable until DataNodes that are silent come back",
        list(blocks.examples.get(BlockHealth.AWAY, ())),
        count=count,
        then="dfs-admin nodes",
    )


def blocks_one_copy(facts: HealthFacts) -> Found:
    """Blocks with one copy left that counts; critical when their repair is held back."""
    blocks = facts.blocks
    if blocks is None:
        return unknown(NOT_SURVEYED)
    count = blocks.urgent.get(RepairClass.LAST_COPY, 0)
    if not count:
        return well("no block is down to its last copy")
    held = _why_held(facts, RepairClass.LAST_COPY)
    say = critical if held else warning
    ending = f"their repair waits: {held}" if held else f"being copied{_eta(facts)}"
    ending += _failing(facts)
    return say(
        f"{many(count, 'block')} down to one copy that counts; {ending}",
        list(blocks.urgent_examples.get(RepairClass.LAST_COPY, ())),
        count=count,
        then="dfs-admin repair status",
    )


def blocks_under_replicated(facts: HealthFacts) -> Found:
    """Blocks with fewer copies than wanted, but for those that are down to their last."""
    blocks = facts.blocks
    if blocks is None:
        return unknown(NOT_SURVEYED)
    count = sum(blocks.urgent.get(each, 0) for each in _SHORT)
    if not count:
        last = blocks.urgent.get(RepairClass.LAST_COPY, 0)
        others = " but for those down to one, see blocks_one_copy" if last else ""
        return well(f"every readable block has the copies it should have{others}")
    held = _why_held(facts, RepairClass.UNDER)
    ending = f"repair waits: {held}" if held else f"being copied{_eta(facts)}"
    ending += _failing(facts)
    return warning(
        f"{many(count, 'block')} short of copies; {ending}",
        [words for each in _SHORT for words in blocks.urgent_examples.get(each, ())],
        count=count,
        then="dfs-admin repair status",
    )


def _unreadable(facts: HealthFacts, health: BlockHealth, what: str) -> Found:
    blocks = facts.blocks
    if blocks is None:
        return unknown(NOT_SURVEYED)
    count = blocks.health.get(health, 0)
    if not count:
        return well(f"no block is {health.value}")
    return critical(
        f"{many(count, 'block')} {what}", _named(blocks, health), count=count, then=FSCK
    )


def _named(blocks: BlockFacts, health: BlockHealth) -> Sequence[str]:
    return list(blocks.examples.get(health, ()))


def _why_held(facts: HealthFacts, urgency: RepairClass) -> str:
    if facts.repair.paused_until_ms > facts.at_ms:
        return "paused"
    return facts.repair.held.get(urgency, "")


def _failing(facts: HealthFacts) -> str:
    failing = facts.repair.failing
    return f"; {failing:,} could not be copied so far" if failing else ""


def _eta(facts: HealthFacts) -> str:
    if facts.repair.eta_s <= 0:
        return ""
    return f", done in about {format_duration(facts.repair.eta_s)}"


# ---- what holds still


def repair_frozen(facts: HealthFacts) -> Found:
    """Repair is held back by the storm brake, a pause, or caution."""
    repair = facts.repair
    if repair.storm:
        return critical(
            f"the storm brake holds repair and deletes: {repair.storm}",
            count=1,
            then="dfs-admin nodes",
        )
    if repair.paused_until_ms > facts.at_ms:
        left = format_duration((repair.paused_until_ms - facts.at_ms) / 1000)
        return warning(
            f"repair is paused for another {left}", count=1, then="dfs-admin repair resume"
        )
    if facts.safety.safe_mode or facts.safety.regressed:
        return well("repair waits for another reason: see safe_mode and regressed")
    held = [
        f"{urgency.name.lower().replace('_', ' ')}: {why}"
        for urgency in _WAITING
        if (why := repair.held.get(urgency, ""))
    ]
    if held:
        return warning("repair is held back", held, then="dfs-admin repair status")
    return well("repair may copy")


def safe_mode(facts: HealthFacts) -> Found:
    """The cluster refuses changes; critical when it has done so for ten minutes."""
    why, since_ms = facts.safety.safe_mode, facts.safety.safe_since_ms
    if not why:
        return well("the cluster takes changes")
    long = since_ms and facts.at_ms - since_ms > SAFE_MODE_LONG_S * 1000
    say = critical if long else warning
    return say(
        f"safe mode, nothing is changed or deleted: {why}", count=1, then="dfs-admin safemode"
    )


def regressed(facts: HealthFacts) -> Found:
    """DataNodes have seen newer metadata than this NameNode has."""
    if not facts.safety.regressed:
        return well("no DataNode has seen newer metadata")
    return critical(
        f"the metadata went back in time: {facts.safety.regressed}",
        count=1,
        then="dfs-admin safemode",
    )


# ---- proofs and chores


def canary_late(facts: HealthFacts) -> Found:
    """Nodes whose copy spoiled on purpose was not found and healed in time."""
    late = [canary for canary in facts.canaries if canary.late]
    if late:
        return warning(
            f"{many(len(late), 'DataNode')} late to find or heal a copy spoiled on purpose, so"
            " nothing proves that scrub and repair work there",
            [_canary_words(facts, canary) for canary in late],
            then="dfs-admin scrub status",
        )
    healed_ms = [each.last_healed_ms for each in facts.canaries if each.last_healed_ms]
    if not healed_ms:
        return well("no copy spoiled on purpose is due to be healed yet")
    age = format_duration((facts.at_ms - max(healed_ms)) / 1000)
    return well(f"a copy spoiled on purpose was found and healed {age} ago")


def _canary_words(facts: HealthFacts, canary: CanaryStatus) -> str:
    words = f"{node_name(NodeId(canary.node))}: {canary.state}"
    if canary.last_healed_ms:
        age = format_duration((facts.at_ms - canary.last_healed_ms) / 1000)
        words += f", last healed {age} ago"
    return f"{words}; {canary.why}" if canary.why else words


def metadata_backup_late(facts: HealthFacts) -> Found:
    """The last backup is too old.  A cluster that never made one is not nagged: it may be backed
    up from outside, and the table says so.
    """
    if not facts.last_backup_ms:
        return well("no backup was made by DFS itself; see docs/operate.md, Back up")
    age_s = (facts.at_ms - facts.last_backup_ms) / 1000
    if age_s <= facts.config.health.backup_late_s:
        return well(f"the last backup of the metadata is {format_duration(age_s)} old")
    return warning(
        f"the last backup of the metadata is {format_duration(age_s)} old;"
        " docs/operate.md, Back up, says how to make one",
        count=1,
    )


def jobs_failing(facts: HealthFacts) -> Found:
    """Background jobs of the NameNode whose last pass failed."""
    if not facts.failed_jobs:
        return well("every background job of the NameNode ended well")
    return warning(
        f"{many(len(facts.failed_jobs), 'background job')} failing on the NameNode; its log says"
        " more",
        [f"{job.job}: {job.why}" for job in facts.failed_jobs],
        then="dfs-admin health --json --check jobs_failing",
    )


def compaction_failing(facts: HealthFacts) -> Found:
    """Packs with holes could not be rewritten, nor small files gathered, time after time."""
    if not facts.compaction:
        return well("compaction goes on, or has nothing to do")
    return warning(
        f"compaction gave up for now, so holes in packs stay: {facts.compaction}",
        count=1,
        then="dfs-admin compact status",
    )


def strays(facts: HealthFacts) -> Found:
    """Block files that are copies of nothing known: for information, they go by themselves."""
    found = facts.strays
    if not found.count:
        return well("no block file is a stray")
    words = f"{found.count:,} block files ({format_size(found.size_bytes)}) are copies of nothing"
    newer = f"; {found.future:,} are newer than the metadata" if found.future else ""
    return well(
        f"{words} that is known{newer}; they go when the grace has passed", count=found.count
    )
