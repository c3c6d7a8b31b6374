"""Packs: blocks that many small files share, written first and made visible with their files.

A pack is an inode under construction with a lease and no name of its own, so everything that keeps
or ends a write works on it: renewal, abandonment, other targets, expiry.  `commit` ends it: in one
transaction its block is believed by its receipts, the files get names and extents in it
(`packed_files.py`), and inode and lease of the pack are gone.  What no file stands in is garbage.
"""

import dataclasses
import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from dfs.accounts.block_keys import BlockKeys
from dfs.base import crashpoint
from dfs.base.entropy import new_id
from dfs.base.errors import BadRequest, DfsError, LimitExceeded, PathExists
from dfs.base.ids import SUPERGROUP, BlockId, InodeId
from dfs.base.records import Principal, WrittenBlock
from dfs.base.states import InodeKind
from dfs.blocks.blockmap import BlockWish, allocated, apply_commits, discard
from dfs.blocks.commit import Commit, check_commit
from dfs.meta.tables import INODE, LEASE
from dfs.meta.txn import Txn
from dfs.namespace.batch import attempt
from dfs.namespace.edit import KEEPER, Edit, EntryCounts
from dfs.namespace.inode_rows import Inode, find_inodes, put_inodes
from dfs.namespace.leases import Lease, LeaseClock, check_lease, find_leases, give_up
from dfs.namespace.packed_files import FileBatch, PackContent
from dfs.namespace.writing import Writing
from dfs.settings.sections import Config
from dfs.wire.pack_api import (
    BeginPacksRequest,
    CommitFilesReply,
    CommitFilesRequest,
    NewPack,
    OpenedPack,
    PackedBlock,
    PackedFile,
    RefusedFile,
)
from dfs.wire.shapes import Outcomes, error_body

PACKS_MAX: Final = 256  # in one request


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack whose block is believed: checked, nothing done yet."""

    inode: InodeId
    commit: Commit

    @property
    def block(self) -> BlockId:
        return self.commit.blocks[0].truth.block

    def content(self) -> PackContent:
        """What files may lie in."""
        block = self.commit.blocks[0]
        return PackContent(block.truth.block, block.truth.length_bytes, block.replication)

    def kept(self, copies: int) -> Commit:
        """The commit with as many copies wanted as the most demanding file wants."""
        block = dataclasses.replace(self.commit.blocks[0], replication=copies)
        owed = max(0, copies - len(block.holders))
        return Commit(blocks=(block,), owed=owed, leftover=self.commit.leftover)


class Packing:
    """Opens packs and makes the files in them visible.

    Args:
        writing: places blocks and signs the right to write them.
        keys: says which receipts hold.
    """

    def __init__(
        self,
        *,
        counts: EntryCounts,
        heard: LeaseClock,
        keys: BlockKeys,
        writing: Writing,
        config: Config,
    ) -> None:
        self._counts = counts
        self._heard = heard
        self._keys = keys
        self._writing = writing
        self._block_size_bytes = config.client.block_size_bytes
        self._size_bytes_max = config.limits.block_size_bytes_max
        self._check_signatures = config.namenode.block_tokens
        self._lease_soft_s = config.namenode.lease_soft_s
        self._keep_ms = int(config.namenode.block_token_life_s * 1000)

    # ---- for clients

    def begin(self, txn: Txn, who: Principal, body: BeginPacksRequest) -> Outcomes[OpenedPack]:
        """Begin packs: an inode, a lease and one block of each.

        Raises:
            Starting: DataNodes that may take the blocks are still to be heard of.
            LimitExceeded: too many packs at once.
        """
        _check_count(len(body.packs))

        def one(pack: NewPack) -> OpenedPack:
            copies = self._writing.copies(pack.replication)
            return self._open(txn, who, pack.size_bytes, copies)

        answer = Outcomes(
            outcomes=[attempt(lambda pack=pack: one(pack)) for pack in body.packs]  # type: ignore[misc]
        )
        crashpoint.reach("nn.packs.begun")
        return answer

    def commit(
        self, txn: Txn, asked: Sequence[tuple[Principal, CommitFilesRequest]]
    ) -> list[CommitFilesReply | DfsError]:
        """Make files visible, with the packs they lie in; what cannot be is refused one by one.

        Any number of requests, as each costs more than the files in it: those of one caller are
        looked at and written as one.  One that refuses as a whole is

            BadRequest: a pack is named twice.
            LimitExceeded: too many packs at once.

        Raises:
            BadRequest, LimitExceeded, PathExists: one of several cannot stand beside the others:
                they are to be asked for one by one.
        """
        replies: list[CommitFilesReply | DfsError] = []
        for who, group in itertools.groupby(asked, lambda one: one[0]):
            bodies = [body for _, body in group]
            try:
                replies += self._commit(txn, who, bodies)
            except DfsError as exc:
                if len(asked) > 1:
                    raise
                replies.append(exc)
        return replies

    def _commit(
        self, txn: Txn, who: Principal, bodies: Sequence[CommitFilesRequest]
    ) -> list[CommitFilesReply]:
        for body in bodies:
            _check_count(len(body.packs))
        items = [item for body in bodies for item in body.packs]
        packs = self._believe(txn, who, items) if items else []
        batch = FileBatch(
            Edit(txn, who, self._counts),
            [pack.content() if isinstance(pack, _Pack) else pack for pack in packs],
            copies=self._writing.copies,
            block_size_bytes=self._block_size_bytes,
            end_silent=lambda rivals: self._end_silent(txn, rivals),
        )
        refused = batch.check(_joined(bodies))
        if len(bodies) > 1 and batch.twins:
            raise PathExists("two requests write the same file")
        owed: dict[InodeId, int] = {}
        if packs:
            wanted = batch.copies_wanted()
            owed = self._close(txn, [pack for pack in packs if isinstance(pack, _Pack)], wanted)
        batch.write()
        crashpoint.reach("nn.packs.committed")
        ends = list(itertools.accumulate(len(body.files) for body in bodies))
        replies = [
            CommitFilesReply(
                owed=[owed.get(InodeId(pack.inode), 0) for pack in body.packs], refused=[]
            )
            for body in bodies
        ]
        for at in sorted(refused):
            which = bisect_right(ends, at)
            place = at - (ends[which - 1] if which else 0)
            replies[which].refused.append(RefusedFile(place, error_body(refused[at])))
        return replies

    # ---- for DFS itself

    def begin_own(self, txn: Txn, *, size_bytes: int, copies: int) -> OpenedPack:
        """A pack for DFS itself to write, that moves content between blocks.

        Raises:
            Starting, PlacementRefused: nobody takes it now.
        """
        return self._open(txn, KEEPER, size_bytes, copies)

    def close_own(self, txn: Txn, pack: OpenedPack, written: WrittenBlock) -> Commit:
        """Believe the block of such a pack; the caller points extents at it in this transaction.

        Raises:
            LeaseLost: it was given up meanwhile.
            BadRequest, PlacementRefused: it is not as it should be, or not on enough DataNodes.
        """
        item = PackedBlock(inode=pack.inode, lease=pack.lease, block=written)
        (found,) = self._believe(txn, KEEPER, [item])
        if isinstance(found, DfsError):
            raise found
        self._close(txn, [found], {found.block: pack.replication})
        return found.kept(pack.replication)

    def abandon_own(self, txn: Txn, pack: OpenedPack) -> None:
        """Give such a pack up; one that is over already is no error."""
        inode = InodeId(pack.inode)
        lease = find_leases(txn, [inode]).get(inode)
        if lease is not None and lease.secret == pack.lease:
            self._give_up(txn, [inode])

    # ---- one pack

    def _open(self, txn: Txn, who: Principal, size_bytes: int, copies: int) -> OpenedPack:
        if not 1 <= size_bytes <= self._size_bytes_max:
            raise BadRequest(f"a pack has between 1 and {self._size_bytes_max} bytes")
        self._writing.check_awake(copies)
        inode, secret = InodeId(txn.take("inode")), new_id()
        blocks = self._writing.place_blocks(txn, [BlockWish(inode, 0, size_bytes, copies)])
        put_inodes(txn, _inode_of_pack(txn, who, inode, size_bytes, copies))
        txn.put(
            LEASE,
            {
                "inode": inode,
                "secret": secret,
                "parent": inode,
                "name": "",
                "path": "",
                "user": who.user,
                "overwrite": 0,
                "created_ms": txn.now_ms,
            },
        )
        self._heard.hear((inode,))
        ((block,),) = self._writing.with_tokens(who, [("", blocks)])
        return OpenedPack(inode, secret, copies, self._writing.min_acks(copies), block)

    def _believe(
        self, txn: Txn, who: Principal, items: Sequence[PackedBlock]
    ) -> list[_Pack | DfsError]:
        """Each pack with its block as the receipts have it, or why it cannot be believed."""
        inodes = [InodeId(item.inode) for item in items]
        if len(set(inodes)) < len(inodes):
            raise BadRequest("a request names each of its packs once")
        leases, found = find_leases(txn, inodes), find_inodes(txn.connection, inodes)
        blocks, ring = allocated(txn, inodes), self._keys.ring()

        def one(item: PackedBlock) -> _Pack | DfsError:
            try:
                lease = _check_pack(leases.get(InodeId(item.inode)), item.lease, who)
                replication = found[lease.inode].replication
                commit = check_commit(
                    blocks[lease.inode],
                    [item.block],
                    ring=ring,
                    min_acks=self._writing.min_acks(replication),
                    replication=replication,
                    check_signatures=self._check_signatures,
                )
            except DfsError as exc:
                return exc
            return _Pack(lease.inode, commit)

        return [one(item) for item in items]

    def _close(
        self, txn: Txn, packs: Sequence[_Pack], wanted: Mapping[BlockId, int]
    ) -> dict[InodeId, int]:
        """End packs: those in which a file stands become blocks; how many copies each lacks."""
        kept = {pack.inode: pack.kept(wanted[pack.block]) for pack in packs if pack.block in wanted}
        apply_commits(txn, kept.values())
        leftover = [block for commit in kept.values() for block in commit.leftover]
        not_before_ms = txn.now_ms + self._keep_ms
        discard(txn, leftover, reason="replaced while written", not_before_ms=not_before_ms)
        txn.drop(LEASE, *((inode,) for inode in kept))
        txn.drop(INODE, *((inode,) for inode in kept))
        txn.after_commit(lambda: self._heard.forget(kept))
        self._give_up(txn, [pack.inode for pack in packs if pack.inode not in kept])
        return {inode: commit.owed for inode, commit in kept.items()}

    def _end_silent(self, txn: Txn, rivals: Sequence[InodeId]) -> set[InodeId]:
        """End those writes that were not heard of within the soft limit; which ones."""
        silent = [each for each in rivals if self._heard.silent_s(each) > self._lease_soft_s]
        self._give_up(txn, silent)
        return set(silent)

    def _give_up(self, txn: Txn, inodes: Sequence[InodeId]) -> None:
        if inodes:
            give_up(txn, inodes, keep_ms=self._keep_ms)
            txn.after_commit(lambda: self._heard.forget(inodes))


def _joined(bodies: Sequence[CommitFilesRequest]) -> Sequence[PackedFile]:
    """The files of all, with the packs counted through."""
    if len(bodies) == 1:
        return bodies[0].files
    files: list[PackedFile] = []
    before = 0
    for body in bodies:
        if before:
            files += [
                replace(file, pack=file.pack + before) if file.pack >= 0 else file
                for file in body.files
            ]
        else:
            files += body.files
        before += len(body.packs)
    return files


def _check_count(packs: int) -> None:
    if packs > PACKS_MAX:
        raise LimitExceeded(
            f"{packs} packs in one request; there may be {PACKS_MAX}", hint="send several requests"
        )


def _check_pack(lease: Lease | None, secret: str, who: Principal) -> Lease:
    """The lease, if it is the caller's and a pack's.

    Raises:
        LeaseLost, BadRequest: it is not.
    """
    found = check_lease(lease, secret, who)
    if found.parent != found.inode:
        raise BadRequest(f"{found.path} is being written as a file, not as a pack")
    return found


def _inode_of_pack(txn: Txn, who: Principal, inode: InodeId, size_bytes: int, copies: int) -> Inode:
    """Its one block is as long as it may get, so that another in its place is, too."""
    return Inode(
        id=inode,
        kind=InodeKind.FILE,
        owner=who.user,
        group=SUPERGROUP,
        mode=0,
        size_bytes=0,
        replication=copies,
        block_size_bytes=size_bytes,
        created_ms=txn.now_ms,
        modified_ms=txn.now_ms,
        changed_ms=txn.now_ms,
        checksum=b"",
        version=1,
        under_construction=1,
    )
