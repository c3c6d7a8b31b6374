"""Pure: what can be done to a block's copies, as values.

A plan is a sequence of these; `executor.py` performs them, each so that doing it twice is no harm.
"""

from dataclasses import dataclass
from enum import StrEnum

from dfs.base.ids import NodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.blocks.redundancy import RepairClass


class Purpose(StrEnum):
    """Which job wants a step."""

    REPAIR = "repair"
    BALANCE = "balance"


@dataclass(frozen=True, slots=True)
class CopyBlock:
    """Have `target` pull the block from `source`, and count its copy once it is proved."""

    name: BlockName
    truth: BlockTruth
    source: NodeId
    target: NodeId
    reason: str
    urgency: RepairClass = RepairClass.UNDER
    purpose: Purpose = Purpose.REPAIR


@dataclass(frozen=True, slots=True)
class DropReplica:
    """Retire a copy that is one too many, if it still is when it comes to it."""

    name: BlockName
    node: NodeId
    reason: str
    purpose: Purpose = Purpose.REPAIR
