"""What balancing keeps in the database: its job, and the blocks it looks at.

The job is one value of `setting`, journaled, so that it goes on after a restart and on a standby.
Where blocks lie is all that says how far it is: there is no list of moves to lose.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from dfs.base.ids import BlockId, NodeId
from dfs.base.states import ReplicaState
from dfs.blocks.replica_rows import chunks
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.txn import Txn
from dfs.upkeep.remembered import Key, put_value, read_value

RETIRING_MAX: Final = 10_000  # looked up once a start


class JobState(StrEnum):
    """How far the job is."""

    IDLE = "idle"  # there was none
    RUNNING = "running"
    DONE = "done"
    STUCK = "stuck"  # not level, and nothing more can move
    STOPPED = "stopped"


class BalanceJob(msgspec.Struct, frozen=True, kw_only=True):
    """The job that runs, or the last one."""

    state: JobState = JobState.IDLE
    why: str = ""
    by: str = ""
    threshold_percent: float = 0.0
    bandwidth_bytes: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    total_bytes: int = 0
    moved_bytes: int = 0
    moved_blocks: int = 0
    failed_moves: int = 0


@dataclass(frozen=True, slots=True)
class Leaving:
    """A copy whose deletion is ordered and not confirmed."""

    block: BlockId
    node: NodeId
    size_bytes: int


def read_job(connection: Connection) -> BalanceJob:
    """The job that runs, or the last one; an idle one when there was none."""
    return read_value(connection, Key.BALANCE, BalanceJob) or BalanceJob()


def put_job(txn: Txn, job: BalanceJob) -> None:
    """Write down how far the job is."""
    put_value(txn, Key.BALANCE, job)


def blocks_of_node(
    connection: Connection, node: NodeId, *, after: BlockId, limit: int
) -> list[BlockId]:
    """Blocks with a good copy on that node, in the order of ids, from after that block on."""
    wanted = (
        select(REPLICA.c.block)
        .where(
            REPLICA.c.node == node,
            REPLICA.c.block > after,
            REPLICA.c.state == ReplicaState.LIVE,
        )
        .order_by(REPLICA.c.block)
        .limit(limit)
    )
    return [BlockId(block) for block in connection.execute(wanted).scalars()]


def read_leaving(connection: Connection) -> list[Leaving]:
    """Every copy that is on its way out; walks all copies, so once a start."""
    wanted = (
        select(REPLICA.c.block, REPLICA.c.node, BLOCK.c.length_bytes)
        .join(BLOCK, BLOCK.c.id == REPLICA.c.block)
        .where(REPLICA.c.state == ReplicaState.RETIRING)
        .limit(RETIRING_MAX)
    )
    return [Leaving(*row) for row in connection.execute(wanted)]


def still_leaving(
    connection: Connection, leaving: Collection[Leaving]
) -> Mapping[tuple[BlockId, NodeId], Leaving]:
    """Those of the copies whose rows are there."""
    wanted = {(each.block, each.node): each for each in leaving}
    found = {}
    for chunk in chunks(each.block for each in leaving):
        rows = select(REPLICA.c.block, REPLICA.c.node).where(REPLICA.c.block.in_(chunk))
        for block, node in connection.execute(rows):
            if (block, node) in wanted:
                found[BlockId(block), NodeId(node)] = wanted[block, node]
    return found
