"""How far files are from having the copies they should, and what happened to their blocks."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from dfs.accounts.permissions import Access
from dfs.base.errors import BadRequest, BlockNotFound, IsADirectory
from dfs.base.ids import BlockId
from dfs.base.records import Principal
from dfs.base.states import ReplicaState
from dfs.blocks.history import BlockEvent, read
from dfs.blocks.kept_rows import read_kept
from dfs.blocks.redundancy import Assessment, KeptBlock, Standings, assess
from dfs.meta.tables import BLOCK, EXTENT, REPLICA
from dfs.namespace.batch import attempt
from dfs.namespace.block_paths import files_of_block
from dfs.namespace.resolve import Place, Resolver
from dfs.wire.files_api import PathsRequest
from dfs.wire.repair_api import (
    BlockStory,
    CopiesOf,
    HappenedItem,
    HistoryReply,
    HistoryRequest,
    KnownCopy,
)
from dfs.wire.shapes import Outcome, Outcomes

STORIES_MAX: Final = 1_000


class Keeping:
    """Answers for files and blocks.

    Args:
        standings: what copies on each node are worth now.
    """

    def __init__(self, *, standings: Callable[[], Standings]) -> None:
        self._standings = standings

    # ---- copies

    def copies(
        self, connection: Connection, who: Principal, body: PathsRequest
    ) -> Outcomes[CopiesOf]:
        """Of each file, how far its blocks are from having exactly the copies they should."""
        resolver, at = Resolver(connection, who), self._standings()

        def one(path: str) -> CopiesOf:
            place = _file(resolver, path)
            kept = read_kept(connection, _blocks_of(connection, place))
            return _copies_of(list(kept.values()), at)

        outcomes: list[Outcome[CopiesOf]] = [
            attempt(lambda path=path: one(path))  # type: ignore[misc]
            for path in body.paths
        ]
        return Outcomes(outcomes=outcomes)

    # ---- history

    def history(self, connection: Connection, who: Principal, body: HistoryRequest) -> HistoryReply:
        """What happened to a block, or to a page of the blocks of a file.

        Raises:
            BadRequest: neither a path nor a block is named.
            BlockNotFound: nothing is known of that block.
            DfsError: no such file.
        """
        if body.block:
            story = _story(connection, BlockId(body.block))
            if story is None:
                raise BlockNotFound(f"nothing is known of block {body.block}")
            return HistoryReply(stories=[story])
        if not body.path:
            raise BadRequest("name a path or a block")
        place = _file(Resolver(connection, who), body.path)
        blocks = _blocks_of(connection, place)
        limit = min(max(body.limit, 1), STORIES_MAX)
        page = blocks[body.first_block : body.first_block + limit]
        after = body.first_block + len(page)
        stories = [story for block in page if (story := _story(connection, block))]
        return HistoryReply(stories=stories, next=after if after < len(blocks) else -1)


def _file(resolver: Resolver, path: str) -> Place:
    place = resolver.place(path)
    if place.inode.is_directory:
        raise IsADirectory(f"is a directory: {place.path}", hint="name a file")
    resolver.require(place.inode, Access.READ, place.path)
    return place


def _blocks_of(connection: Connection, place: Place) -> list[BlockId]:
    """The blocks of a file, in its order, each once."""
    wanted = (
        select(EXTENT.c.block)
        .where(EXTENT.c.inode == place.inode.id, EXTENT.c.died_tx.is_(None))
        .order_by(EXTENT.c.file_offset)
    )
    return [BlockId(block) for block in dict.fromkeys(connection.execute(wanted).scalars())]


def _copies_of(blocks: Sequence[KeptBlock], at: Standings) -> CopiesOf:
    short = extra = owed_bytes = 0
    reason = ""
    for block in blocks:
        found = assess(block, at)
        missing = block.wanted - len(found.sure)
        is_extra = missing <= 0 and _has_extra(block, found)
        short += missing > 0
        extra += is_extra
        owed_bytes += max(0, missing) * block.truth.length_bytes
        if (missing > 0 or is_extra) and not reason:
            reason = found.reason
    return CopiesOf(
        blocks=len(blocks),
        short=short,
        extra=extra,
        size_bytes=sum(block.truth.length_bytes for block in blocks),
        owed_bytes=owed_bytes,
        reason=reason,
    )


def _has_extra(block: KeptBlock, found: Assessment) -> bool:
    retiring = any(copy.state is ReplicaState.RETIRING for copy in block.copies)
    return retiring or len(found.sure) > block.wanted


def _story(connection: Connection, block: BlockId) -> BlockStory | None:
    row = connection.execute(select(BLOCK).where(BLOCK.c.id == block)).one_or_none()
    events = read(connection, block)
    if row is None:
        return _epilogue(block, events) if events else None
    copies = connection.execute(
        select(REPLICA).where(REPLICA.c.block == block).order_by(REPLICA.c.node)
    )
    files = files_of_block(connection, block)
    return BlockStory(
        block=block,
        generation=row.generation,
        number=row.number,
        path=files.paths[0] if files.paths else "",
        paths=files.paths,
        paths_total=files.total,
        removed=files.removed,
        state=row.state,
        length_bytes=row.length_bytes,
        wanted=row.replication,
        created_ms=row.created_ms,
        acked=[int(node) for node in row.acked.split(",") if node],
        events=[_happened(event) for event in events],
        copies=[_known(copy) for copy in copies],
    )


def _epilogue(block: BlockId, events: Sequence[BlockEvent]) -> BlockStory:
    """Of a block whose rows are gone."""
    return BlockStory(
        block=block,
        generation=events[-1].generation,
        number=0,
        path="",
        state="gone",
        length_bytes=0,
        wanted=0,
        created_ms=0,
        acked=[],
        events=[_happened(event) for event in events],
        copies=[],
    )


def _happened(event: BlockEvent) -> HappenedItem:
    return HappenedItem(event.at_ms, event.what.value, event.node, event.actor, event.detail)


def _known(copy: Row[Any]) -> KnownCopy:
    return KnownCopy(copy.node, copy.state, copy.verified_ms)
