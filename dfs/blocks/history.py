"""What happened to a block that is out of the ordinary: copied, found bad, moved, given up.

Rows of `block_event`, soft (each NameNode remembers what it saw itself), bounded by age and by
number.  They are written in the transaction of what they tell of, so that a history never tells of
something that did not happen.  That a block was created, and who acknowledged it, stands in its
own row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from dfs.base.ids import BlockId, Generation, NodeId
from dfs.base.states import BlockState, ReplicaState
from dfs.meta.tables import BLOCK_EVENT
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

NOBODY: Final = NodeId(0)  # of an event that is of no node in particular
READ_MAX: Final = 1_000
EVENTS_MAX: Final = 1_000_000  # some 200 MB; the oldest go first
TRIM_ROWS_MAX: Final = 10_000  # a step: the writer serves others in between
TRIM_STEPS_MAX: Final = 20
_ACTOR_MAX: Final = 64  # characters, as the table has room for
_DETAIL_MAX: Final = 255
_ID_STEPS_PER_MS: Final = 1024  # ids go on growing though the table was trimmed bare


class What(StrEnum):
    """What can be told of a block."""

    COPIED = "copied"  # a copy was made on `node`
    HEALED = "healed"  # it has all its copies again
    MOVED = "moved"  # a copy was made on `node` so that another may go
    SUSPECT = "suspect"  # somebody could not read the copy
    CORRUPT = "corrupt"  # its node proved the copy bad
    QUARANTINED = "quarantined"  # its node was told to move the copy aside
    DISPUTED = "disputed"  # its node vouches for other bytes than were written
    MISSING = "missing"  # its node has the copy no more, and nobody ordered that
    RETIRING = "retiring"  # the copy is one too many; its deletion is ordered
    RETIRED = "retired"  # and done
    RESTORING = "restoring"  # the copy is to come back from the purge area, or not to go there
    RESTORED = "restored"  # and is there
    STRAY_DELETED = "stray_deleted"  # a file of another generation or place left
    PURGED = "purged"  # a bad copy left quarantine for the purge area; good ones are elsewhere
    DELETED = "deleted"  # garbage: the copy was deleted
    LOST = "lost"  # no good copy is known anywhere
    REWRITTEN = "rewritten"  # what files had of it stands in another block now, or came from some
    VERIFIED = "verified"  # a copy that was doubted was read again and is good


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """One thing that happened.

    Attributes:
        node: where; `NOBODY` when it is of no node in particular.
        actor: which job, or whose command: "repair", "balance", "gc", "stock", "admin ada".
        at_ms: set when it is read; the time of its transaction.
    """

    block: BlockId
    generation: Generation
    what: What
    node: NodeId = NOBODY
    actor: str = ""
    detail: str = ""
    at_ms: int = 0


def what_went(state: ReplicaState, block: BlockState | None) -> What:
    """Pure: what it means that a node has a copy no more.

    Args:
        state: the copy's, as it was known.
        block: its block's; None when there is none.
    """
    if block is None or block is BlockState.GARBAGE:
        return What.DELETED
    if state is ReplicaState.RETIRING:
        return What.RETIRED
    return What.PURGED if state is ReplicaState.CORRUPT else What.MISSING


def note(txn: Txn, events: Sequence[BlockEvent]) -> None:
    """Remember events, in their order, with the transaction's time (soft)."""
    if not events:
        return
    newest = txn.connection.execute(select(func.max(BLOCK_EVENT.c.id))).scalar() or 0
    first = max(newest + 1, txn.now_ms * _ID_STEPS_PER_MS)
    txn.put_soft(
        BLOCK_EVENT,
        *(
            {
                "id": first + number,
                "block": event.block,
                "generation": event.generation,
                "at_ms": txn.now_ms,
                "what": event.what.value,
                "node": event.node,
                "actor": event.actor[:_ACTOR_MAX],
                "detail": event.detail[:_DETAIL_MAX],
            }
            for number, event in enumerate(events)
        ),
    )


def read(
    connection: Connection, block: BlockId, *, limit: int = READ_MAX
) -> tuple[BlockEvent, ...]:
    """The newest events of a block, the oldest of them first."""
    wanted = (
        select(BLOCK_EVENT)
        .where(BLOCK_EVENT.c.block == block)
        .order_by(BLOCK_EVENT.c.id.desc())
        .limit(min(limit, READ_MAX))
    )
    return tuple(_event(row) for row in reversed(connection.execute(wanted).all()))


def trim(writer: Writer, *, older_than_ms: int, events_max: int = EVENTS_MAX) -> int:
    """Forget events before that time, and the oldest of too many, in small steps; how many went.

    A bounded number of steps: what is left goes at the next call.
    """
    gone = 0
    for _ in range(TRIM_STEPS_MAX):
        went = writer.submit(
            lambda txn: trim_step(txn, older_than_ms=older_than_ms, events_max=events_max)
        )
        gone += went
        if not went:
            break
    return gone


def trim_step(txn: Txn, *, older_than_ms: int, events_max: int = EVENTS_MAX) -> int:
    """One step of that; how many went, 0 when nothing is left to do."""
    oldest, events = select(BLOCK_EVENT.c.id), func.count(BLOCK_EVENT.c.block)
    too_many = txn.connection.execute(select(events)).scalar_one() - events_max
    if too_many > 0:
        going = oldest.order_by(BLOCK_EVENT.c.id).limit(min(too_many, TRIM_ROWS_MAX))
    else:
        is_old = BLOCK_EVENT.c.at_ms < older_than_ms
        going = oldest.where(is_old).order_by(BLOCK_EVENT.c.at_ms).limit(TRIM_ROWS_MAX)
    ids = list(txn.connection.execute(going).scalars())
    txn.drop_soft(BLOCK_EVENT, *((number,) for number in ids))
    return len(ids)


def _event(row: Row[Any]) -> BlockEvent:
    return BlockEvent(
        block=BlockId(row.block),
        generation=Generation(row.generation),
        what=What(row.what),
        node=NodeId(row.node),
        actor=row.actor,
        detail=row.detail,
        at_ms=row.at_ms,
    )
