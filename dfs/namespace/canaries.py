"""The files of the canaries: `/.dfs/canary/dn-<node>.<round>`, one block each, DFS's own.

They are ordinary files - inode, name, extent, block, lease while they are written - so every rule
of metadata holds for them; only their place is not open to anybody else (`edit.KEEPER`).  When one
is made, spoiled and done with, `dfs.upkeep.canary` decides.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from dfs.accounts.block_keys import BlockKeys
from dfs.base import paths
from dfs.base.entropy import Random
from dfs.base.errors import PathNotFound
from dfs.base.ids import SUPERUSER, InodeId, NodeId, node_name
from dfs.base.records import NodeView, WrittenBlock
from dfs.meta.txn import Txn
from dfs.namespace.completing import Completing
from dfs.namespace.edit import KEEPER, Edit, EntryCounts
from dfs.namespace.inode_rows import Entry, page_of_children
from dfs.namespace.leases import LeaseClock, give_up
from dfs.namespace.writing import Writing
from dfs.settings.sections import Config
from dfs.wire.data_api import CompleteItem, CompleteRequest, CreateRequest, NewFile, OpenedFile
from dfs.wire.shapes import Outcomes, raised

T = TypeVar("T")
FOLDER: Final = f"{paths.RESERVED}/canary"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
LISTED_MAX: Final = 10_000  # canaries looked through; there are some for each node


class Canaries:
    """Makes and ends the canaries' files, inside the caller's transaction."""

    def __init__(
        self,
        *,
        counts: EntryCounts,
        heard: LeaseClock,
        keys: BlockKeys,
        rng: Random,
        config: Config,
        completing: Completing,
    ) -> None:
        self._counts = counts
        self._heard = heard
        self._keys = keys
        self._rng = rng
        self._config = config
        self._completing = completing

    def begin(
        self, txn: Txn, node: NodeId, nodes: Sequence[NodeView], *, size_bytes: int
    ) -> OpenedFile:
        """A canary of `node` to be written, with its one block, one copy on each of `nodes`.

        Raises:
            PlacementRefused: none of them takes it.
        """
        edit = Edit(txn, KEEPER, self._counts)
        edit.make_directories(paths.parse(FOLDER), mode=FOLDER_MODE)
        writing = Writing(
            counts=self._counts,
            heard=self._heard,
            nodes=lambda: nodes,
            keys=self._keys,
            rng=self._rng,
            config=self._config,
        )
        file = NewFile(
            path=f"{FOLDER}/{node_name(node)}.{txn.take('canary')}",
            replication=len(nodes),
            mode=FILE_MODE,
            size_bytes=size_bytes,
        )
        return _only(writing.create(txn, KEEPER, CreateRequest(files=[file])))

    def complete(self, txn: Txn, opened: OpenedFile, block: WrittenBlock) -> None:
        """Make it visible, on the word of the DataNodes that hold it.

        Raises:
            DfsError: they do not, or its lease ended meanwhile.
        """
        item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=[block])
        _only(self._completing.complete(txn, KEEPER, CompleteRequest(items=[item])))

    def abandon(self, txn: Txn, opened: OpenedFile) -> None:
        """Give it up: nobody took it."""
        keep_ms = int(self._config.namenode.block_token_life_s * 1000)
        inode = InodeId(opened.inode)
        give_up(txn, [inode], keep_ms=keep_ms)
        txn.after_commit(lambda: self._heard.forget([inode]))

    def retire(self, txn: Txn, node: NodeId, *, keep: str = "") -> int:
        """End every canary of `node` but the one at `keep`, past the trash; how many there were."""
        edit = Edit(txn, KEEPER, self._counts)
        ended = 0
        for entry in self._of(edit, node):
            path = paths.join(FOLDER, entry.dirent.name)
            if path != keep:
                edit.unlink(entry.dirent, by=SUPERUSER, keep=False)
                edit.touch(edit.resolver.place(path))
                ended += 1
        return ended

    def _of(self, edit: Edit, node: NodeId) -> list[Entry]:
        try:
            folder = edit.resolver.directory(paths.parse(FOLDER))
        except PathNotFound:
            return []
        all_of = page_of_children(edit.txn.connection, folder.id, limit=LISTED_MAX)
        prefix = f"{node_name(node)}."
        return [entry for entry in all_of if entry.dirent.name.startswith(prefix)]


def _only(outcomes: Outcomes[T]) -> T:
    (outcome,) = outcomes.outcomes
    if outcome.error is not None:
        raise raised(outcome.error)
    assert outcome.value is not None
    return outcome.value
