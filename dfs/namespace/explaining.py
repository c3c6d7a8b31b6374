"""Why a write, a read or a repair of a path goes where it goes, or cannot.

Finds what the path means and asks those who decide: permissions and caution say what is refused,
`dfs.blocks.explanation` puts the rest into words.  Nothing is changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from dfs.accounts.account_rows import need_account, principal_of
from dfs.accounts.permissions import Access
from dfs.base import paths
from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.base.errors import BadRequest, DfsError, IsADirectory, PathExists, PermissionDenied
from dfs.base.ids import BlockId
from dfs.base.records import NodeView, Principal
from dfs.blocks.explanation import NO_REPAIR, RepairState, explain_read, explain_repair
from dfs.blocks.redundancy import KeptBlock, Standings
from dfs.namespace.checking import NOT_COMMITTED, FilePiece, read_pieces
from dfs.namespace.resolve import Place, Resolver
from dfs.namespace.writing import Writing
from dfs.settings.sections import Config
from dfs.wire.check_api import Explained, ExplainReply, ExplainRequest

BLOCKS_MAX: Final = 1_000  # explained in one answer
WHATS: Final = ("write", "read", "repair")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciders:
    """Whom to ask.

    Attributes:
        nodes: every DataNode as of now.
        standings: what copies on each of them are worth now.
        writing: where a new block would go.
    """

    nodes: Callable[[], Sequence[NodeView]]
    standings: Callable[[], Standings]
    writing: Writing
    clock: Clock
    rng: Random
    config: Config


class Explaining:
    """See the module.

    Attributes:
        refusal_of_changes: what every change of the namespace is refused with now, or None.
        repairs: what repair is about with blocks; the composition root fills both in.
    """

    def __init__(self, deciders: Deciders) -> None:
        self._ask = deciders
        self.refusal_of_changes: Callable[[], DfsError | None] = lambda: None
        self.repairs: Callable[[Sequence[KeptBlock]], Mapping[BlockId, RepairState]] = lambda _: {}

    def explain(self, connection: Connection, who: Principal, body: ExplainRequest) -> ExplainReply:
        """Explain one thing of one path.

        Raises:
            BadRequest: there is no such thing to explain.
            DfsError: no such path, user, or a directory where a file is wanted.
        """
        if body.what not in WHATS:
            raise BadRequest(f"nothing to explain: {body.what!r}", hint=f"it is {', '.join(WHATS)}")
        if body.user:
            who = principal_of(connection, need_account(connection, body.user))
        if body.what == "write":
            return self._explain_write(connection, who, body)
        return self._explain_file(connection, who, body)

    # ---- writing

    def _explain_write(
        self, connection: Connection, who: Principal, body: ExplainRequest
    ) -> ExplainReply:
        place = Resolver(connection, who).place(body.path)
        size_bytes, copies = self._size_and_copies(place)
        refusal = self.refusal_of_changes() or _why_not_writable(connection, who, place)
        explained: list[Explained] = []
        try:
            explained.append(self._ask.writing.would_place(size_bytes=size_bytes, copies=copies))
        except DfsError as exc:
            refusal = refusal or exc
        words = _words(refusal)
        verdict = explained[0].verdict if explained else "no block can be placed yet"
        return ExplainReply(
            path=place.path,
            what=body.what,
            summary=f"a write by {who.name} would be refused" if words else verdict,
            refusal=words,
            blocks=len(explained),
            explained=explained,
        )

    def _size_and_copies(self, place: Place) -> tuple[int, int]:
        config = self._ask.config
        if place.entry is None or place.inode.is_directory:
            return config.client.block_size_bytes, config.replication.default
        return place.inode.block_size_bytes, place.inode.replication

    # ---- reading and repairing

    def _explain_file(
        self, connection: Connection, who: Principal, body: ExplainRequest
    ) -> ExplainReply:
        resolver = Resolver(connection, who)
        place = resolver.place(body.path)
        if place.inode.is_directory:
            raise IsADirectory(f"is a directory: {place.path}", hint="name a file in it")
        refusal = ""
        if body.what == "read" and not resolver.may(place.inode, Access.READ):
            refusal = f"{who.name} has no read permission for {place.path}"
        pieces = read_pieces(connection, [place.inode.id])[place.inode.id]
        first, limit = max(0, body.first_block), max(1, min(body.limit, BLOCKS_MAX))
        wanted = pieces[first : first + limit]
        explained = self._reads(wanted) if body.what == "read" else self._repairs(wanted)
        return ExplainReply(
            path=place.path,
            what=body.what,
            summary=_summary(body.what, explained, len(pieces)),
            refusal=refusal,
            blocks=len(pieces),
            explained=explained,
        )

    def _reads(self, pieces: Sequence[FilePiece]) -> list[Explained]:
        nodes = {view.node: view for view in self._ask.nodes()}
        at, now_ms = self._ask.standings(), self._ask.clock.now_ms()
        return [
            explain_read(piece.kept, nodes=nodes, now_ms=now_ms, at=at, rng=self._ask.rng)
            if piece.kept
            else _lost(piece)
            for piece in pieces
        ]

    def _repairs(self, pieces: Sequence[FilePiece]) -> list[Explained]:
        at = self._ask.standings()
        states = self.repairs([piece.kept for piece in pieces if piece.kept])
        return [
            explain_repair(piece.kept, at=at, state=states.get(piece.block, NO_REPAIR))
            if piece.kept
            else _lost(piece)
            for piece in pieces
        ]


def _why_not_writable(connection: Connection, who: Principal, place: Place) -> DfsError | None:
    """What a write there is refused with, whatever the cluster does."""
    if place.entry is not None and place.inode.is_directory:
        directory, path = place.inode, place.path
    else:
        directory, path = place.parent, place.parent_path
    if paths.is_reserved(place.path):
        return PermissionDenied(f"{paths.RESERVED} is DFS's own")
    if place.entry is None and not place.name:
        return PathExists("the root directory is no file")
    try:
        Resolver(connection, who).require(directory, Access.WRITE | Access.EXECUTE, path)
    except DfsError as exc:
        return exc
    return None


def _words(refusal: DfsError | None) -> str:
    if refusal is None:
        return ""
    return f"{refusal.message} ({refusal.hint})" if refusal.hint else refusal.message


def _lost(piece: FilePiece) -> Explained:
    return Explained(
        title=f"block {piece.block}", verdict=NOT_COMMITTED, chosen=[], refused=[], is_well=False
    )


def _summary(what: str, explained: Sequence[Explained], blocks: int) -> str:
    if not blocks:
        return "the file is empty: it has no blocks"
    ill = sum(not each.is_well for each in explained)
    of = f"{len(explained):,} blocks" if len(explained) != 1 else "1 block"
    if not ill:
        words = "a good copy answers for each" if what == "read" else "nothing to repair"
        return f"{of}, {words}"
    return f"{of}, {ill:,} of them {'not read as usual' if what == 'read' else 'to look at'}"
