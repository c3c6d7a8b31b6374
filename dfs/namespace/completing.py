"""Making written files visible, and keeping or ending the writes that are not.

`complete` gives a file its name, its extents and its blocks' truth in one transaction: a reader
sees the old file or the new one, whole, and never anything between.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dfs.accounts.block_keys import BlockKeys
from dfs.accounts.permissions import may_remove_entry
from dfs.base import crashpoint, paths
from dfs.base.checksum import file_checksum
from dfs.base.errors import LeaseLost, PathExists, PathNotFound, PermissionDenied
from dfs.base.ids import DirentId, InodeId
from dfs.base.records import Principal
from dfs.blocks.blockmap import Commit, allocated, apply_commits, check_commit, discard
from dfs.meta.tables import EXTENT, LEASE
from dfs.meta.txn import Txn
from dfs.namespace.batch import attempt, look_each
from dfs.namespace.edit import Edit, EntryCounts
from dfs.namespace.inode_rows import (
    Dirent,
    Entry,
    Inode,
    find_children,
    find_inodes,
    put_dirents,
    put_inodes,
)
from dfs.namespace.leases import Lease, LeaseClock, check_lease, find_leases, give_up
from dfs.namespace.resolve import path_of
from dfs.namespace.status import StatusView
from dfs.settings.sections import NamenodeConfig, ReplicationConfig
from dfs.wire.data_api import Completed, CompleteItem, CompleteRequest, LeaseItem, LeasesRequest
from dfs.wire.shapes import Done, Outcome, Outcomes
from dfs.wire.tokens import KeyRing


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file that may become visible: checked, nothing done yet."""

    lease: Lease
    inode: Inode  # as it will be
    commit: Commit
    replaced: Entry | None
    path: str


class Completing:
    """Ends writes, one way or the other."""

    def __init__(
        self,
        *,
        counts: EntryCounts,
        heard: LeaseClock,
        keys: BlockKeys,
        config: NamenodeConfig,
        replication: ReplicationConfig,
    ) -> None:
        self._counts = counts
        self._heard = heard
        self._keys = keys
        self._config = config
        self._min_acks = replication.min_acks
        self._status = StatusView()

    def complete(self, txn: Txn, who: Principal, body: CompleteRequest) -> Outcomes[Completed]:
        """Make files visible, each with the blocks its client says, if the receipts bear it out."""
        terms = _Terms(self._keys.ring(), self._min_acks, self._config.block_tokens)
        batch = _Batch(txn, who, terms, [InodeId(item.inode) for item in body.items])
        edit = Edit(txn, who, self._counts)
        outcomes: list[Outcome[_Ready]] = [
            attempt(lambda item=item: batch.check(item))  # type: ignore[misc]
            for item in body.items
        ]
        ready = [each.value for each in outcomes if each.value is not None]
        _apply(edit, ready, not_before_ms=txn.now_ms + self._token_life_ms)
        txn.after_commit(lambda: self._heard.forget(each.inode.id for each in ready))
        crashpoint.reach("nn.complete.applied")
        statuses = self._status.many(txn.connection, [(each.path, each.inode) for each in ready])
        done = iter(
            Completed(status=status, owed=each.commit.owed)
            for status, each in zip(statuses, ready, strict=True)
        )
        return Outcomes(
            outcomes=[
                Outcome(error=each.error) if each.value is None else Outcome(value=next(done))
                for each in outcomes
            ]
        )

    def renew(self, txn: Txn, who: Principal, body: LeasesRequest) -> Outcomes[Done]:
        """Keep writes alive."""
        return self._each_lease(txn, who, body, self._heard.hear)

    def abandon(self, txn: Txn, who: Principal, body: LeasesRequest) -> Outcomes[Done]:
        """Give writes up: nothing of them was visible, nothing of them stays."""

        def end(inodes: Sequence[InodeId]) -> None:
            give_up(txn, inodes, keep_ms=self._token_life_ms)
            txn.after_commit(lambda: self._heard.forget(inodes))

        return self._each_lease(txn, who, body, end)

    @property
    def _token_life_ms(self) -> int:
        return int(self._config.block_token_life_s * 1000)

    def _each_lease(
        self,
        txn: Txn,
        who: Principal,
        body: LeasesRequest,
        act: Callable[[Sequence[InodeId]], None],
    ) -> Outcomes[Done]:
        leases = find_leases(txn, [InodeId(item.inode) for item in body.items])
        mine: list[InodeId] = []

        def one(item: LeaseItem) -> Done:
            mine.append(check_lease(leases.get(InodeId(item.inode)), item.lease, who).inode)
            return Done()

        answer = look_each(body.items, one)
        act(mine)
        return answer


@dataclass(frozen=True, slots=True)
class _Terms:
    """On what terms blocks are believed."""

    ring: KeyRing
    min_acks: int
    check_signatures: bool


class _Batch:
    """The files of one `complete`, looked up together, then checked one by one."""

    def __init__(self, txn: Txn, who: Principal, terms: _Terms, inodes: Sequence[InodeId]) -> None:
        self._txn = txn
        self._who = who
        self._terms = terms
        self._leases = find_leases(txn, inodes)
        self._inodes = find_inodes(txn.connection, inodes)
        self._allocated = allocated(txn, inodes)
        self._parents: dict[InodeId, tuple[str, bool]] = {}
        self._directories = find_inodes(
            txn.connection, [lease.parent for lease in self._leases.values()]
        )
        self._checked: set[InodeId] = set()
        self._there = self._find_there()

    def check(self, item: CompleteItem) -> _Ready:
        """Whether one file may become visible.

        Raises:
            LeaseLost, PathNotFound, PathExists, PermissionDenied: it may not, there.
            BadRequest, PlacementRefused: its blocks are not as they should be.
        """
        lease = check_lease(self._leases.get(InodeId(item.inode)), item.lease, self._who)
        path = self._path(lease)
        replaced = self._there.get((lease.parent, lease.name))
        if replaced is not None and (replaced.inode.is_directory or not lease.overwrite):
            raise PathExists(f"already there: {path}")
        if replaced is not None:
            self._check_removable(lease, replaced, path)
        inode = self._inodes[lease.inode]
        commit = check_commit(
            self._allocated[inode.id],
            item.blocks,
            ring=self._terms.ring,
            min_acks=self._terms.min_acks,
            replication=inode.replication,
            check_signatures=self._terms.check_signatures,
        )
        if inode.id in self._checked:
            raise LeaseLost("the same write is completed by this request already")
        self._checked.add(inode.id)
        return _Ready(lease, self._finished(inode, item), commit, replaced, path)

    def _check_removable(self, lease: Lease, replaced: Entry, path: str) -> None:
        """Refuse to replace what is not the caller's to remove: it may have come there meanwhile.

        Raises:
            PermissionDenied: directory or sticky bit forbid it.
        """
        directory = self._directories[lease.parent]
        allowed = may_remove_entry(
            self._who,
            directory_owner=directory.owner,
            directory_group=directory.group,
            directory_mode=directory.mode,
            entry_owner=replaced.inode.owner,
        )
        if not allowed:
            raise PermissionDenied(f"{self._who.name} may not replace {path}")

    def _finished(self, inode: Inode, item: CompleteItem) -> Inode:
        now_ms = self._txn.now_ms
        return Inode(  # each field by itself: `replace` costs twice that, a thousand times
            id=inode.id,
            kind=inode.kind,
            owner=inode.owner,
            group=inode.group,
            mode=inode.mode,
            replication=inode.replication,
            block_size_bytes=inode.block_size_bytes,
            created_ms=inode.created_ms,
            size_bytes=sum(block.truth.length_bytes for block in item.blocks),
            checksum=file_checksum(
                (block.truth.length_bytes, block.truth.hash) for block in item.blocks
            ),
            modified_ms=now_ms if item.modified_ms is None else item.modified_ms,
            changed_ms=now_ms,
            version=inode.version + 1,
            under_construction=0,
        )

    def _path(self, lease: Lease) -> str:
        """Where the file will be now: its directory may have moved since the write began.

        Raises:
            PathNotFound: the directory was removed.
        """
        if lease.parent not in self._parents:
            self._parents[lease.parent] = path_of(self._txn.connection, lease.parent)
        above, alive = self._parents[lease.parent]
        if not alive:
            raise PathNotFound(f"its directory was removed while {lease.path} was written")
        return paths.join(above, lease.name)

    def _find_there(self) -> dict[tuple[InodeId, str], Entry]:
        names: dict[InodeId, list[str]] = {}
        for lease in self._leases.values():
            names.setdefault(lease.parent, []).append(lease.name)
        return {
            (parent, name): entry
            for parent, wanted in names.items()
            for name, entry in find_children(self._txn.connection, parent, wanted).items()
        }


def _apply(edit: Edit, ready: Sequence[_Ready], *, not_before_ms: int) -> None:
    """Write everything that makes the files visible: blocks, extents, inodes, names."""
    txn = edit.txn
    apply_commits(txn, [each.commit for each in ready])
    txn.put(EXTENT, *(row for each in ready for row in _extent_rows(each, txn.txid)))
    put_inodes(txn, *(each.inode for each in ready))
    for each in ready:
        if each.replaced is not None:
            edit.unlink(each.replaced.dirent, by=edit.who.user)
    first = txn.take("dirent", len(ready)) if ready else 0
    put_dirents(
        txn,
        *(
            Dirent(
                DirentId(first + at), each.lease.parent, each.lease.name, each.inode.id, txn.txid
            )
            for at, each in enumerate(ready)
        ),
    )
    txn.drop(LEASE, *((each.inode.id,) for each in ready))
    leftover = [block for each in ready for block in each.commit.leftover]
    discard(txn, leftover, reason="replaced while written", not_before_ms=not_before_ms)
    edit.touch_inodes({each.lease.parent for each in ready})


def _extent_rows(ready: _Ready, txid: int) -> Iterator[dict[str, object]]:
    offset = 0
    for seq, block in enumerate(ready.commit.blocks):
        yield {
            "inode": ready.inode.id,
            "seq": seq,
            "file_offset": offset,
            "block": block.truth.block,
            "block_offset": 0,
            "length_bytes": block.truth.length_bytes,
            "born_tx": txid,
            "died_tx": None,
        }
        offset += block.truth.length_bytes
