"""A whole namespace over a real database, with imagined DataNodes that sign real receipts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dfs.accounts.block_keys import BlockKeys
from dfs.base.checksum import block_hash
from dfs.base.clock import ManualClock
from dfs.base.entropy import Random
from dfs.base.errors import DfsError
from dfs.base.events import SilentEmitter
from dfs.base.ids import SUPERGROUP, SUPERUSER, GroupId, NodeId, UserId
from dfs.base.records import (
    AllocatedBlock,
    BlockTruth,
    FileStatus,
    NodeView,
    Principal,
    WrittenBlock,
)
from dfs.namespace.genesis import create_cluster
from dfs.namespace.leases import LeaseExpiry
from dfs.namespace.purge import Purge, PurgeReport
from dfs.namespace.service import Namespace, build_namespace
from dfs.settings.sections import Config
from dfs.wire.data_api import CompleteItem, CompleteRequest, CreateRequest, NewFile, OpenedFile
from dfs.wire.files_api import (
    CopyRequest,
    ListRequest,
    MkdirRequest,
    MoveRequest,
    PairRequest,
    PathsRequest,
    Removed,
    RemoveRequest,
    UndeleteRequest,
)
from dfs.wire.shapes import Outcomes, raised
from dfs.wire.tokens import sign_receipt
from tests.builders import a_node
from tests.metadata_rig import MetadataRig

T = TypeVar("T")
ADMIN = Principal(SUPERUSER, "admin", frozenset({SUPERGROUP}))
CLUSTER = "c" * 32


def user(number: int, *groups: int) -> Principal:
    """Somebody without special rights."""
    return Principal(UserId(number), f"u{number}", frozenset(GroupId(g) for g in groups or (2,)))


def only(outcomes: Outcomes[T]) -> T:
    """The value of a batch of one, or its refusal raised."""
    (outcome,) = outcomes.outcomes
    if outcome.error is not None:
        raise raised(outcome.error)
    assert outcome.value is not None
    return outcome.value


class NamespaceRig(MetadataRig):
    """One NameNode's metadata without its daemon; `restart` closes and opens the database."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Config | None = None,
        nodes: Sequence[NodeView] | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.nodes = list(nodes if nodes is not None else [a_node(1), a_node(2), a_node(3)])
        super().__init__(folder, config=config, clock=clock)
        if self.is_fresh:
            create_cluster(self.writer, cluster=CLUSTER, password_hash="x")
            self.keys.rotate_once()

    def open(self) -> None:
        super().open()
        self.keys = BlockKeys(
            self.writer,
            self.reader,
            self.clock,
            self.config.namenode,
            CLUSTER,
            emit=SilentEmitter(),
        )
        self.space: Namespace = build_namespace(
            clock=self.clock,
            config=self.config,
            nodes=lambda: self.nodes,
            keys=self.keys,
            rng=Random(1),
        )

    def advance(self, seconds: float) -> None:
        """Let time pass, with the jobs that keep block keys fresh."""
        self.clock.advance(seconds)
        self.keys.rotate_once()

    # What tests say most, in one line each; all raise what was refused.

    def mkdir(self, path: str, *, who: Principal = ADMIN, parents: bool = False, mode: int = 0o755):
        body = MkdirRequest(paths=[path], parents=parents, mode=mode)
        return only(self.change(lambda txn: self.space.changes.mkdir(txn, who, body)))

    def create(self, path: str, *, who: Principal = ADMIN, **more: object) -> OpenedFile:
        body = CreateRequest(files=[NewFile(path=path, **more)])  # type: ignore[arg-type]
        return only(self.change(lambda txn: self.space.writing.create(txn, who, body)))

    def written(
        self, block: AllocatedBlock, content: bytes, *, holders: int | None = None
    ) -> WrittenBlock:
        """The block as its targets would acknowledge it."""
        truth = BlockTruth(
            block.name.block, block.name.generation, len(content), block_hash(content)
        )
        key = self.keys.ring().newest()
        nodes = [target.node for target in block.targets][:holders]
        receipts = tuple(sign_receipt(truth, node=NodeId(n), epoch=1, key=key) for n in nodes)
        return WrittenBlock(truth, receipts)

    def complete(self, opened: OpenedFile, pieces: Sequence[bytes], *, who: Principal = ADMIN):
        blocks = [
            self.written(block, piece) for block, piece in zip(opened.blocks, pieces, strict=True)
        ]
        item = CompleteItem(inode=opened.inode, lease=opened.lease, blocks=blocks)
        body = CompleteRequest(items=[item])
        return only(self.change(lambda txn: self.space.completing.complete(txn, who, body)))

    def put(
        self, path: str, content: bytes = b"", *, who: Principal = ADMIN, **more: object
    ) -> FileStatus:
        """Create and complete a file of at most one block."""
        opened = self.create(path, who=who, size_bytes=len(content), **more)
        return self.complete(opened, [content] if content else [], who=who).status

    def stat(self, path: str, *, who: Principal = ADMIN, as_of: int | None = None) -> FileStatus:
        body = PathsRequest(paths=[path], as_of=as_of)
        return only(self.look(lambda c: self.space.lookup.stat(c, who, body)))

    def exists(self, path: str) -> bool:
        try:
            self.stat(path)
        except DfsError:
            return False
        return True

    def names(self, path: str, *, who: Principal = ADMIN, as_of: int | None = None) -> list[str]:
        body = ListRequest(path=path, as_of=as_of)
        page = self.look(lambda c: self.space.lookup.list(c, who, body))
        return [entry.path.rsplit("/", 1)[1] for entry in page.entries]

    def move(self, source: str, target: str, *, who: Principal = ADMIN, overwrite: bool = False):
        body = MoveRequest(moves=[PairRequest(source=source, target=target)], overwrite=overwrite)
        return only(self.change(lambda txn: self.space.changes.move(txn, who, body)))

    def copy(self, source: str, target: str, *, who: Principal = ADMIN, **more: bool):
        body = CopyRequest(copies=[PairRequest(source=source, target=target)], **more)  # type: ignore[arg-type]
        return only(self.change(lambda txn: self.space.copying.copy(txn, who, body)))

    def remove(self, path: str, *, who: Principal = ADMIN, **more: bool) -> Removed:
        body = RemoveRequest(paths=[path], **more)  # type: ignore[arg-type]
        return only(self.change(lambda txn: self.space.trash.remove(txn, who, body)))

    def undelete(self, path: str, *, who: Principal = ADMIN, target: str = "") -> FileStatus:
        body = UndeleteRequest(path=path, target=target)
        return self.change(lambda txn: self.space.trash.undelete(txn, who, body))

    def purge(self) -> PurgeReport:
        job = Purge(
            self.writer, clock=self.clock, config=self.config.namenode, emit=SilentEmitter()
        )
        return job.run_once()

    def expire_leases(self) -> int:
        job = LeaseExpiry(
            self.writer,
            self.reader,
            self.space.heard,
            config=self.config.namenode,
            emit=SilentEmitter(),
        )
        return job.run_once().given_up
