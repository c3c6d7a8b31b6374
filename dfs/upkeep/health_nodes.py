"""Pure: the checks of DataNodes, their disks, their clocks and their scrubbers."""

from collections.abc import Sequence
from typing import Final

from dfs.base.ids import node_name
from dfs.base.records import NodeView, ScrubStatus, VolumeStatus
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import format_duration, format_size
from dfs.upkeep.health_facts import (
    Found,
    HealthFacts,
    critical,
    many,
    warning,
    well,
)

SCRUB_FAR_BEHIND: Final = 2  # times the SLO
PAUSED: Final = "paused"


def nodes_down(facts: HealthFacts) -> Found:
    """DataNodes that count as dead, and should not be; half of all or more is critical."""
    dead = [node for node in facts.wanted_nodes if node.state is NodeState.DEAD]
    if not dead:
        return well(f"{len(facts.live_nodes)} DataNodes are live")
    items = [f"{_at(node)} silent for {format_duration(node.silent_s)}" for node in dead]
    say = critical if 2 * len(dead) >= len(facts.wanted_nodes) else warning
    return say(
        f"{many(len(dead), 'DataNode')} dead: start it again on its machine, or, when the machine"
        " will not come back, forget it once its blocks are copied",
        items,
        then=f"dfs-admin sweeps {node_name(dead[0].node)} -n 5",
    )


def nodes_stale(facts: HealthFacts) -> Found:
    """DataNodes silent for a while."""
    stale = [node for node in facts.wanted_nodes if node.state is NodeState.STALE]
    if not stale:
        return well("every DataNode that should be heard is heard, or counts as dead")
    items = [f"{_at(node)} silent for {format_duration(node.silent_s)}" for node in stale]
    return warning(
        f"{many(len(stale), 'DataNode')} silent: stopped, overloaded, or cut off",
        items,
        then=f"dfs-admin sweeps {node_name(stale[0].node)} -n 5",
    )


def nodes_unreachable(facts: HealthFacts) -> Found:
    """DataNodes that beat, and do not answer when the NameNode asks them."""
    deaf = [
        node
        for node in facts.live_nodes
        if not node.reachable and not node.is_excused  # it stopped in order
    ]
    if not deaf:
        when = "now" if facts.probed else "in the last sweep"
        return well(f"every live DataNode answered {when}")
    say = critical if len(deaf) == len(facts.live_nodes) else warning
    return say(
        f"{many(len(deaf), 'DataNode')} heard but not reached: a firewall, or a wrong"
        " [datanode] advertise_host; clients will not get to it either",
        [f"{node_name(node.node)} at {node.address.http}" for node in deaf],
        then=f"dfs-admin sweeps {node_name(deaf[0].node)} -n 5",
    )


def nodes_doubtful(facts: HealthFacts) -> Found:
    """DataNodes whose breaker is open: too many bad blocks for disks to be the cause."""
    doubtful = [node for node in facts.nodes if node.condition.doubtful]
    if not doubtful:
        return well("no DataNode found more bad blocks than disks explain")
    return critical(
        f"{many(len(doubtful), 'DataNode')} in doubt: so many blocks look bad that its memory or"
        " its disk controller is the likelier culprit; test those, then trust it again",
        [f"{_at(node)}: {node.condition.quarantined} in quarantine" for node in doubtful],
        then=f"dfs-admin node trust {node_name(doubtful[0].node)}",
    )


def few_nodes(facts: HealthFacts) -> Found:
    """Fewer DataNodes in service than a new file wants copies."""
    wanted = facts.config.replication.default
    fit = [
        node
        for node in facts.live_nodes
        if node.duty is NodeDuty.IN_SERVICE and node.writable_volumes
    ]
    if len(fit) >= wanted:
        return well(f"{len(fit)} DataNodes take blocks")
    say = critical if not fit else warning
    return say(
        f"{many(len(fit), 'DataNode')} live, in service and able to store; a new file wants"
        f" {wanted} copies",
        [],
        count=wanted - len(fit),
        then="dfs-admin nodes" if facts.nodes else "dfs-admin join-token",
    )


# ---- disks


def disk_full(facts: HealthFacts) -> Found:
    """Volumes filled beyond the marks; what is kept in reserve counts as used."""
    config = facts.config.health
    full = [
        (
            percent,
            f"{node_name(node.node)} {volume.path}: {percent:.0f}% used,"
            f" {format_size(max(0, volume.free_bytes))} free",
        )
        for node, volume in _volumes(facts.live_nodes)
        if volume.total_bytes > 0
        and (percent := 100 * (1 - volume.free_bytes / volume.total_bytes))
        >= config.disk_warning_percent
    ]
    if not full:
        return well(f"every disk is less than {config.disk_warning_percent:.0f}% full")
    full.sort(reverse=True)
    say = critical if full[0][0] >= config.disk_critical_percent else warning
    return say(
        f"{many(len(full), 'disk')} more than {config.disk_warning_percent:.0f}% full: add disks"
        " or DataNodes, remove files, or move blocks to where there is room",
        [item for _, item in full],
        then="dfs-admin rebalance --dry-run" if len(facts.live_nodes) > 1 else "dfs-admin nodes",
    )


def disk_errors(facts: HealthFacts) -> Found:
    """Volumes that take no writes, are gone, or made errors."""
    ill = [
        (volume.state is VolumeState.FAILED, _volume_words(node, volume))
        for node, volume in _volumes(facts.live_nodes)
        if volume.state is not VolumeState.ONLINE or volume.errors
    ]
    if not ill:
        return well("every disk reads and writes")
    failed = [words for is_failed, words in ill if is_failed]
    say = critical if failed else warning
    return say(
        f"{many(len(ill), 'disk')} failing: what is readable is copied away by itself; replace"
        " the disk and start the DataNode again",
        sorted(failed) + sorted(words for is_failed, words in ill if not is_failed),
        then="dfs-admin nodes --json",
    )


def space_discrepancy(facts: HealthFacts) -> Found:
    """Nodes whose disks are not those they registered with, or fill with what is not ours."""
    limit = facts.config.health.discrepancy_percent
    odd = [
        f"{node_name(node.node)}: {words}"
        for node in facts.live_nodes
        if (words := _why_odd(node, limit))
    ]
    if not odd:
        return well(f"space is within {limit:.0f}% of what DataNodes first registered with")
    return warning(
        f"{many(len(odd), 'DataNode')} of another size than at the first registration, or used"
        " by something else than blocks: a disk that did not mount, or a guest on it",
        odd,
        then="dfs-admin nodes --json",
    )


def _why_odd(node: NodeView, limit_percent: float) -> str:
    now, first = node.usage, node.first_total_bytes
    if not (now.total_bytes and first):
        return ""
    if abs(now.total_bytes - first) * 100 > limit_percent * first:
        return f"{format_size(now.total_bytes)} in all, {format_size(first)} at first"
    alien = now.total_bytes - now.free_bytes - now.used_bytes
    grown = alien - (first - node.first_free_bytes)
    if grown * 100 > limit_percent * now.total_bytes:
        return f"{format_size(grown)} used that no block explains"
    return ""


def _volumes(nodes: Sequence[NodeView]) -> list[tuple[NodeView, VolumeStatus]]:
    return [(node, volume) for node in nodes for volume in node.volumes]


def _volume_words(node: NodeView, volume: VolumeStatus) -> str:
    state = volume.state.value.replace("_", " ")
    return f"{node_name(node.node)} {volume.path}: {state}, {volume.errors} errors"


# ---- scrubbing


def scrub_behind(facts: HealthFacts) -> Found:
    """Nodes with a copy that was not re-read within the SLO."""
    slo_s = facts.config.scrub.slo_s
    behind = sorted(
        (
            (_age_s(facts, node.condition.scrub), node)
            for node in facts.live_nodes
            if node.condition.scrub.total_blocks and _age_s(facts, node.condition.scrub) > slo_s
        ),
        key=lambda each: -each[0],
    )
    if not behind:
        return _scrub_on_time(facts)
    say = critical if behind[0][0] > SCRUB_FAR_BEHIND * slo_s else warning
    return say(
        f"{many(len(behind), 'DataNode')} behind: every copy is to be re-read within"
        f" {format_duration(slo_s)}; let the scrubber read faster ([scrub] rate_max_bytes)",
        [
            f"{node_name(node.node)}: the oldest was read {format_duration(age_s)} ago,"
            f" {node.condition.scrub.covered_blocks:,} of"
            f" {node.condition.scrub.total_blocks:,} within it"
            for age_s, node in behind
        ],
        then="dfs-admin scrub status",
    )


def _scrub_on_time(facts: HealthFacts) -> Found:
    scrubs = [node.condition.scrub for node in facts.live_nodes]
    copies = sum(scrub.total_blocks for scrub in scrubs)
    if not copies:
        return well("there is nothing to re-read yet")
    oldest = format_duration(max(_age_s(facts, scrub) for scrub in scrubs))
    return well(
        f"{copies:,} copies, the oldest reading (or writing) of one {oldest} ago; allowed are"
        f" {format_duration(facts.config.scrub.slo_s)}"
    )


def scrub_stalled(facts: HealthFacts) -> Found:
    """Nodes that hold blocks and verify nothing for too long; a pause is said with its end."""
    paused = [node for node in facts.live_nodes if node.condition.scrub.state == PAUSED]
    stalled = [node for node in facts.live_nodes if _is_stalled(facts, node)]
    if stalled:
        limit = format_duration(facts.config.health.scrub_stalled_s)
        return critical(
            f"{many(len(stalled), 'DataNode')} not verifying: blocks are due and none was re-read"
            f" for more than {limit}",
            [_last_words(facts, node) for node in stalled],
            then="dfs-admin scrub status",
        )
    if paused:
        return warning(
            f"scrubbing is paused on {len(paused)} of {len(facts.live_nodes)} DataNodes,"
            " and goes on by itself",
            [
                f"{node_name(node.node)} for another"
                f" {format_duration(_left_s(facts, node.condition.scrub.paused_until_ms))}"
                for node in paused
            ],
            then="dfs-admin scrub resume",
        )
    return well("every scrubber that has something to do verifies blocks")


def _age_s(facts: HealthFacts, scrub: ScrubStatus) -> float:
    """How long ago the copy that waits longest was read or written."""
    return (facts.at_ms - scrub.oldest_ms) / 1000 if scrub.oldest_ms else 0.0


def _is_stalled(facts: HealthFacts, node: NodeView) -> bool:
    scrub, limit_s = node.condition.scrub, facts.config.health.scrub_stalled_s
    if scrub.state == PAUSED or not scrub.total_blocks:
        return False
    due = scrub.state != "idle" or _age_s(facts, scrub) > min(
        facts.config.scrub.slo_s, limit_s + facts.config.scrub.slo_s / 2
    )
    return due and _still_s(facts, node) > limit_s


def _still_s(facts: HealthFacts, node: NodeView) -> float:
    """How long nothing was verified; before the first time, how long the process runs."""
    last_ms = node.condition.scrub.last_verified_ms
    if not last_ms:
        return node.usage.uptime_s
    return (facts.at_ms - last_ms) / 1000


def _last_words(facts: HealthFacts, node: NodeView) -> str:
    since = format_duration(_still_s(facts, node))
    return f"{node_name(node.node)}: nothing for {since}, {node.condition.scrub.state}"


def _left_s(facts: HealthFacts, until_ms: int) -> float:
    return max(0.0, (until_ms - facts.at_ms) / 1000)


# ---- clocks and versions


def clock_skew(facts: HealthFacts) -> Found:
    """Nodes whose clock is not the NameNode's."""
    limit_s = facts.config.health.clock_skew_s
    off = [node for node in facts.live_nodes if abs(node.skew_s) > limit_s]
    if not off:
        return well(f"every clock is within {format_duration(limit_s)} of the NameNode's")
    off.sort(key=lambda node: -abs(node.skew_s))
    return warning(
        f"{many(len(off), 'clock')} off by more than {format_duration(limit_s)}: let NTP set them,"
        " the NameNode's too",
        [f"{node_name(node.node)}: {node.skew_s:+.1f}s" for node in off],
        then="dfs-admin nodes --json",
    )


def version_skew(facts: HealthFacts) -> Found:
    """Nodes that run another version than the NameNode."""
    other = [node for node in facts.live_nodes if node.version not in ("", facts.version)]
    if not other:
        return well(f"everything runs version {facts.version}")
    return warning(
        f"{many(len(other), 'DataNode')} of another version than the NameNode's"
        f" {facts.version}: finish the upgrade",
        [f"{node_name(node.node)}: {node.version}" for node in other],
        then="dfs-admin nodes --json",
    )


def _at(node: NodeView) -> str:
    return f"{node_name(node.node)} ({node.address.host}, {node.address.rack})"
