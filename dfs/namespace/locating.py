"""Where files are, and the right to read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, or_, select

from dfs.accounts.block_keys import BlockKeys, TokenWish
from dfs.accounts.permissions import Access
from dfs.base.errors import DfsError, IsADirectory, LimitExceeded
from dfs.base.ids import BlockId, InodeId
from dfs.base.records import BlockTruth, LocatedExtent, LocatedFile, NodeView, Principal
from dfs.blocks.blockmap import LocatedBlock, locate
from dfs.meta.prepared import ByKeys
from dfs.meta.tables import EXTENT
from dfs.namespace.batch import attempt
from dfs.namespace.inode_rows import Inode
from dfs.namespace.resolve import Place, Resolver
from dfs.namespace.status import StatusView
from dfs.settings.sections import LimitsConfig
from dfs.wire.files_api import PathsRequest
from dfs.wire.shapes import Outcome, Outcomes, error_body
from dfs.wire.tokens import Mode


class ExtentOf(NamedTuple):
    """A stretch of a file: what a reader needs of a row of `extent`, in the order it sorts by."""

    inode: InodeId
    file_offset: int
    length_bytes: int
    block: BlockId
    block_offset: int


_COLUMNS: Final = (
    *(EXTENT.c.inode, EXTENT.c.file_offset, EXTENT.c.length_bytes),
    *(EXTENT.c.block, EXTENT.c.block_offset),
)
_LIVE: Final = EXTENT.c.died_tx.is_(None)
_EXTENTS: Final = ByKeys(select(*_COLUMNS).where(_LIVE), EXTENT.c.inode)
_EXTENTS_AS_OF: Final = ByKeys(
    select(*_COLUMNS).where(
        EXTENT.c.born_tx <= bindparam("txid"), or_(_LIVE, EXTENT.c.died_tx > bindparam("txid"))
    ),
    EXTENT.c.inode,
)


class Locating:
    """Answers where the bytes of files are.

    Args:
        nodes: every DataNode as of now.
        keys: signs the tokens with which clients read.
    """

    def __init__(
        self,
        *,
        nodes: Callable[[], Sequence[NodeView]],
        keys: BlockKeys,
        limits: LimitsConfig,
    ) -> None:
        self._nodes = nodes
        self._keys = keys
        self._extents_max = limits.locate_extents_max
        self._status = StatusView()

    def locate(
        self, connection: Connection, who: Principal, body: PathsRequest
    ) -> Outcomes[LocatedFile]:
        """The extents of each file, who holds them, and tokens to read them."""
        resolver = Resolver(connection, who, as_of=body.as_of)
        places: list[Outcome[Place]] = [
            attempt(lambda path=path: readable(resolver, path))  # type: ignore[misc]
            for path in body.paths
        ]
        found = [each.value for each in places if each.value is not None]
        extents = extents_of(connection, [place.inode.id for place in found], as_of=body.as_of)
        inodes = within_limit([place.inode for place in found], extents, self._extents_max)
        allowed = found[: len(inodes)]
        located = self._located(connection, who, allowed, extents)
        return Outcomes(
            outcomes=[_answer(each, located, too_many(self._extents_max)) for each in places]
        )

    def _located(
        self,
        connection: Connection,
        who: Principal,
        places: Sequence[Place],
        extents: dict[InodeId, list[ExtentOf]],
    ) -> dict[str, LocatedFile]:
        wanted = [BlockId(row.block) for place in places for row in extents[place.inode.id]]
        nodes = {view.node: view for view in self._nodes()}
        blocks = locate(connection, wanted, nodes)
        wishes = [
            TokenWish(
                blocks[BlockId(row.block)].name,
                0,
                place.path,
                window=window_of(
                    row.block_offset, row.length_bytes, blocks[BlockId(row.block)].truth
                ),
            )
            for place in places
            for row in extents[place.inode.id]
        ]
        tokens = iter(self._keys.mint_many(user=who.name, mode=Mode.READ, wishes=wishes))
        statuses = self._status.many(connection, [(place.path, place.inode) for place in places])
        return {
            place.path: LocatedFile(
                status,
                tuple(
                    _extent(row, blocks[BlockId(row.block)], next(tokens))
                    for row in extents[place.inode.id]
                ),
            )
            for place, status in zip(places, statuses, strict=True)
        }


def within_limit(
    inodes: Sequence[Inode], extents: Mapping[InodeId, Sequence[ExtentOf]], extents_max: int
) -> list[Inode]:
    """As many files, in order, as one answer may hold; the first always."""
    allowed: list[Inode] = []
    room = extents_max
    for inode in inodes:
        room -= len(extents[inode.id])
        if room < 0 and allowed:
            break
        allowed.append(inode)
    return allowed


def too_many(extents_max: int) -> DfsError:
    """Why a file is left out of an answer that is full."""
    return LimitExceeded(
        f"one answer holds {extents_max} extents", hint="ask for fewer files at once"
    )


def window_of(offset: int, length_bytes: int, truth: BlockTruth) -> tuple[int, int] | None:
    """What a token for that stretch is bound to; none where it is all of the block."""
    return None if length_bytes == truth.length_bytes else (offset, length_bytes)


def readable(resolver: Resolver, path: str) -> Place:
    """The file at a path.

    Raises:
        DfsError: there is none, or the caller may not read it.
    """
    place = resolver.place(path)
    require_readable(resolver, place.inode, place.path)
    return place


def require_readable(resolver: Resolver, inode: Inode, path: str) -> None:
    """Refuse unless it is a file that the caller may read.

    Raises:
        IsADirectory, PermissionDenied: it is not.
    """
    if inode.is_directory:
        raise IsADirectory(f"is a directory: {path}", hint="name a file")
    resolver.require(inode, Access.READ, path)


def extents_of(
    connection: Connection, inodes: Sequence[InodeId], *, as_of: int | None
) -> dict[InodeId, list[ExtentOf]]:
    """The extents of each file in order, live or as they were after `as_of`."""
    found: dict[InodeId, list[ExtentOf]] = {inode: [] for inode in inodes}
    if as_of is None:
        rows = _EXTENTS.run(connection, list(found))
    else:
        rows = _EXTENTS_AS_OF.run(connection, list(found), txid=as_of)
    for row in sorted(rows):
        found[row[0]].append(ExtentOf(*row))
    return found


def _extent(row: ExtentOf, block: LocatedBlock, token: bytes) -> LocatedExtent:
    return LocatedExtent(
        file_offset=row.file_offset,
        length_bytes=row.length_bytes,
        block_offset=row.block_offset,
        truth=block.truth,
        name=block.name,
        holders=block.holders,
        token=token,
    )


def _answer(
    place: Outcome[Place], located: dict[str, LocatedFile], too_many: DfsError
) -> Outcome[LocatedFile]:
    if place.value is None:
        return Outcome(error=place.error)
    found = located.get(place.value.path)
    return Outcome(value=found) if found else Outcome(error=error_body(too_many))
