"""What the metadata promises of itself and SQL cannot hold: checked on demand, a page at a time.

The numbers are those in the words of the tables (`dfs.meta.tables`, `dfs.meta.cluster_tables`).
Each check is one statement over a stretch of a table's keys, run in a snapshot of its own, so that
even a large database is looked through without holding anybody up.  Nothing is changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, case, exists, func, literal, or_, select
from sqlalchemy.sql.elements import ColumnElement

from dfs.base.errors import BadRequest, MetadataCorrupt
from dfs.base.ids import ROOT_INODE, NodeId, node_name
from dfs.base.records import Principal
from dfs.base.states import BlockState, InodeKind
from dfs.meta.journal import check_chain
from dfs.meta.tables import BLOCK, DIRENT, EXTENT, GC_QUEUE, INODE, LEASE, REPLICA
from dfs.wire.check_api import InvariantInfo, InvariantReply, InvariantRequest

KEYS_A_PAGE: Final = 50_000
KEYS_MAX: Final = 1 << 62
SHOWN_A_PAGE: Final = 200
_COMPLETE: Final = and_(INODE.c.kind == InodeKind.FILE, INODE.c.under_construction == 0)
_LIVE_EXTENT: Final = EXTENT.c.died_tx.is_(None)


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule, the table whose keys are walked, and how its violations are found.

    Attributes:
        find: the violations among the keys from the first up to and not including the second.
    """

    number: str
    rule: str
    key: ColumnElement[int]
    find: Callable[[Connection, int, int], list[str]]


def invariants_of(connection: Connection, who: Principal, body: InvariantRequest) -> InvariantReply:
    """A page of one check, or which checks there are.

    Raises:
        BadRequest: there is no check of that number.
    """
    del who  # the route is for administrators alone
    known = [InvariantInfo(each.number, each.rule) for each in INVARIANTS.values()]
    if not body.number:
        return InvariantReply(invariants=known, violations=[], next=0)
    if body.number not in INVARIANTS:
        raise BadRequest(
            f"no such check: {body.number}", hint=f"there are: {', '.join(INVARIANTS)}"
        )
    rule = INVARIANTS[body.number]
    first = min(body.after, KEYS_MAX)
    found = rule.find(connection, first, first + KEYS_A_PAGE)
    # Numbers may leap far: the next page begins with the next key there is.
    beyond = select(func.min(rule.key)).where(rule.key >= first + KEYS_A_PAGE)
    following = connection.execute(beyond).scalar() or 0
    return InvariantReply(
        invariants=[InvariantInfo(rule.number, rule.rule)],
        violations=found[:SHOWN_A_PAGE],
        next=following,
    )


def _between(column: ColumnElement[Any], first: int, end: int) -> ColumnElement[bool]:
    return and_(column >= first, column < end)


def _lines(connection: Connection, wanted: Select[Any], words: Callable[[Any], str]) -> list[str]:
    return [words(row) for row in connection.execute(wanted.limit(SHOWN_A_PAGE))]


# ---- files and their extents


def _gaps(connection: Connection, first: int, end: int) -> list[str]:
    ended = EXTENT.c.file_offset + EXTENT.c.length_bytes
    before = func.coalesce(
        func.lag(ended).over(partition_by=EXTENT.c.inode, order_by=EXTENT.c.file_offset), 0
    )
    laid = (
        select(EXTENT.c.inode, EXTENT.c.file_offset, before.label("before"))
        .join(INODE, INODE.c.id == EXTENT.c.inode)
        .where(_between(EXTENT.c.inode, first, end), _LIVE_EXTENT, _COMPLETE)
        .subquery()
    )
    wanted = select(laid).where(laid.c.file_offset != laid.c.before)
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"inode {row.inode}: an extent begins at {row.file_offset}, the one before it"
            f" ends at {row.before}"
        ),
    )


def _sizes(connection: Connection, first: int, end: int) -> list[str]:
    stored = func.coalesce(func.sum(EXTENT.c.length_bytes), 0)
    wanted = (
        select(INODE.c.id, INODE.c.size_bytes, stored.label("stored"))
        .outerjoin(EXTENT, and_(EXTENT.c.inode == INODE.c.id, _LIVE_EXTENT))
        .where(_between(INODE.c.id, first, end), _COMPLETE)
        .group_by(INODE.c.id, INODE.c.size_bytes)
        .having(stored != INODE.c.size_bytes)
    )
    return _lines(
        connection,
        wanted,
        lambda row: f"inode {row.id}: {row.size_bytes} bytes, its extents hold {row.stored}",
    )


def _stretches(connection: Connection, first: int, end: int) -> list[str]:
    wrong = or_(
        BLOCK.c.id.is_(None),
        BLOCK.c.state != BlockState.COMMITTED,
        EXTENT.c.block_offset + EXTENT.c.length_bytes > BLOCK.c.length_bytes,
    )
    wanted = (
        select(EXTENT.c.inode, EXTENT.c.seq, EXTENT.c.block, BLOCK.c.state)
        .outerjoin(BLOCK, BLOCK.c.id == EXTENT.c.block)
        .where(_between(EXTENT.c.inode, first, end), wrong)
    )
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"inode {row.inode}, extent {row.seq}: block {row.block} is"
            f" {row.state or 'not there'}, or shorter than the extent"
        ),
    )


def _leases(connection: Connection, first: int, end: int) -> list[str]:
    wanted = (
        select(INODE.c.id, INODE.c.under_construction)
        .outerjoin(LEASE, LEASE.c.inode == INODE.c.id)
        .where(
            _between(INODE.c.id, first, end),
            (INODE.c.under_construction != 0) != LEASE.c.inode.is_not(None),
        )
    )
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"inode {row.id}: {'no lease on' if row.under_construction else 'a lease on'}"
            f" a file that is {'being written' if row.under_construction else 'complete'}"
        ),
    )


# ---- names


def _names(connection: Connection, first: int, end: int) -> list[str]:
    count = func.count()
    wanted = (
        select(DIRENT.c.inode, count.label("names"))
        .where(_between(DIRENT.c.inode, first, end), DIRENT.c.died_tx.is_(None))
        .group_by(DIRENT.c.inode)
        .having(or_(count > 1, DIRENT.c.inode == ROOT_INODE))
    )
    return _lines(connection, wanted, lambda row: f"inode {row.inode} has {row.names} names")


def _parents(connection: Connection, first: int, end: int) -> list[str]:
    parent = INODE.alias("parent")
    wanted = (
        select(DIRENT.c.id, DIRENT.c.parent, DIRENT.c.inode, parent.c.kind, INODE.c.id.label("to"))
        .outerjoin(parent, parent.c.id == DIRENT.c.parent)
        .outerjoin(INODE, INODE.c.id == DIRENT.c.inode)
        .where(
            _between(DIRENT.c.id, first, end),
            DIRENT.c.died_tx.is_(None),
            or_(parent.c.kind == InodeKind.FILE, INODE.c.id.is_(None)),
        )
    )
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"name {row.id}: inode {row.inode} is gone"
            if row.to is None
            else f"name {row.id}: its parent {row.parent} is a file"
        ),
    )


# ---- blocks and copies


def _unreferenced(connection: Connection, first: int, end: int) -> list[str]:
    pointed_at = exists().where(EXTENT.c.block == BLOCK.c.id)
    wrong = case(
        (BLOCK.c.state == BlockState.COMMITTED, ~pointed_at),
        (BLOCK.c.state == BlockState.GARBAGE, pointed_at),
        else_=False,
    )
    wanted = select(BLOCK.c.id, BLOCK.c.state).where(_between(BLOCK.c.id, first, end), wrong)
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"block {row.id} is {row.state} and pointed at by"
            f" {'no extent' if row.state == BlockState.COMMITTED else 'an extent'}"
        ),
    )


def _garbage(connection: Connection, first: int, end: int) -> list[str]:
    wanted = (
        select(BLOCK.c.id)
        .outerjoin(GC_QUEUE, GC_QUEUE.c.block == BLOCK.c.id)
        .where(
            _between(BLOCK.c.id, first, end),
            BLOCK.c.state == BlockState.GARBAGE,
            GC_QUEUE.c.block.is_(None),
        )
    )
    return _lines(connection, wanted, lambda row: f"block {row.id} is garbage and in no queue")


def _places(connection: Connection, first: int, end: int) -> list[str]:
    count = func.count()
    wanted = (
        select(BLOCK.c.file, BLOCK.c.number, count.label("blocks"))
        .where(_between(BLOCK.c.file, first, end), BLOCK.c.state == BlockState.COMMITTED)
        .group_by(BLOCK.c.file, BLOCK.c.number)
        .having(count > 1)
    )
    return _lines(
        connection,
        wanted,
        lambda row: f"part {row.number} of file {row.file} is {row.blocks} blocks",
    )


def _copies(connection: Connection, first: int, end: int) -> list[str]:
    wanted = (
        select(
            REPLICA.c.block, REPLICA.c.node, REPLICA.c.generation, BLOCK.c.generation.label("of")
        )
        .outerjoin(BLOCK, BLOCK.c.id == REPLICA.c.block)
        .where(
            _between(REPLICA.c.block, first, end),
            or_(BLOCK.c.id.is_(None), REPLICA.c.generation > BLOCK.c.generation),
        )
    )
    return _lines(
        connection,
        wanted,
        lambda row: (
            f"block {row.block} on {node_name(NodeId(row.node))}: a copy of generation"
            f" {row.generation}, the block is of {row.of or 'none: it is gone'}"
        ),
    )


def _chain(connection: Connection, first: int, end: int) -> list[str]:
    del first, end  # the newest part of the chain, as at every start
    try:
        check_chain(connection)
    except MetadataCorrupt as exc:
        return [exc.message]
    return []


_RULES: Final = (
    Invariant("E2", "extents cover a file without gap or overlap", EXTENT.c.inode, _gaps),
    Invariant("I4", "a file is as long as its extents", INODE.c.id, _sizes),
    Invariant("E3", "an extent lies in a committed block", EXTENT.c.inode, _stretches),
    Invariant("I3", "what is being written has a lease, nothing else has", INODE.c.id, _leases),
    Invariant("D3", "an inode has one live name at most, the root none", DIRENT.c.inode, _names),
    Invariant("D4", "a name is in a directory and names what is there", DIRENT.c.id, _parents),
    Invariant("B3", "a block is committed while an extent points at it", BLOCK.c.id, _unreferenced),
    Invariant("B4", "a part of a file is one block", BLOCK.c.file, _places),
    Invariant("G1", "garbage waits in the queue of those to delete", BLOCK.c.id, _garbage),
    Invariant("R2", "a copy is of a block there is, and no newer", REPLICA.c.block, _copies),
    Invariant("T1", "the journal is one unbroken chain", literal(0), _chain),
)
INVARIANTS: Final[Mapping[str, Invariant]] = {each.number: each for each in _RULES}
