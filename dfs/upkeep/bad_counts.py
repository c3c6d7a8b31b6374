"""Bad copies, and what became of their blocks: rows, judged by `redundancy.assess`."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from dfs.base.ids import BlockId, NodeId
from dfs.base.states import ReplicaState
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import UNREADABLE, Standings, assess
from dfs.meta.tables import REPLICA
from dfs.wire.scrub_api import BadBlocks

BAD_BLOCKS_MAX: Final = 100_000  # assessed at once; beyond that the figures are a floor
# What does not read back, and what reads back as other bytes than were written.
_BAD: Final = (ReplicaState.CORRUPT, ReplicaState.DISPUTED)


@dataclass(frozen=True, slots=True)
class BadCounts:
    """What bad copies there are.

    Attributes:
        blocks: what became of their blocks.
        hurting: of each node, those of blocks that are short of good copies for it.
        aside: of each node, those of blocks that have all their good copies again; they are kept
            in quarantine for a while, or are about to be put there.
    """

    blocks: BadBlocks
    hurting: Mapping[NodeId, int]
    aside: Mapping[NodeId, int]


def count_bad(
    connection: Connection, at: Standings, *, leave_out: Collection[BlockId]
) -> BadCounts:
    """What is known of copies that are bad, but for those of some blocks."""
    wanted = (
        select(REPLICA.c.block).where(REPLICA.c.state.in_(_BAD)).distinct().limit(BAD_BLOCKS_MAX)
    )
    blocks = set(connection.execute(wanted).scalars()) - set(leave_out)
    bad = healed = lost = 0
    hurting: Counter[NodeId] = Counter()
    aside: Counter[NodeId] = Counter()
    for kept in read_kept(connection, blocks).values():
        assessment = assess(kept, at)
        is_healed = len(assessment.counting) >= kept.wanted
        bad += 1
        lost += assessment.health in UNREADABLE
        healed += is_healed
        holders = [copy.node for copy in kept.copies if copy.state in _BAD]
        (aside if is_healed else hurting).update(holders)
    found = BadBlocks(bad=bad, healed=healed, healing=bad - healed - lost, lost=lost)
    return BadCounts(found, hurting, aside)
