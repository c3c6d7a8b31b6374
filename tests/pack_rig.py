"""Packs in a namespace: files written together, as a client writes them."""

from collections.abc import Mapping, Sequence

from dfs.base.checksum import block_hash
from dfs.base.errors import DfsError
from dfs.base.records import Principal
from dfs.namespace.packing import Packing
from dfs.wire.pack_api import (
    BeginPacksRequest,
    CommitFilesReply,
    CommitFilesRequest,
    LocateManyReply,
    LocateManyRequest,
    NewPack,
    OpenedPack,
    PackedBlock,
    PackedFile,
)
from tests.namespace_rig import ADMIN, NamespaceRig, only


def packing(rig: NamespaceRig) -> Packing:
    return rig.space.packing


def begin_pack(
    rig: NamespaceRig, size_bytes: int, *, who: Principal = ADMIN, replication: int | None = None
) -> OpenedPack:
    body = BeginPacksRequest(packs=[NewPack(size_bytes=size_bytes, replication=replication)])
    return only(rig.change(lambda txn: packing(rig).begin(txn, who, body)))


def written_pack(
    rig: NamespaceRig, pack: OpenedPack, content: bytes, *, holders: int | None = None
) -> PackedBlock:
    block = rig.written(pack.block, content, holders=holders)
    return PackedBlock(inode=pack.inode, lease=pack.lease, block=block)


def laid_out(files: Mapping[str, bytes], *, pack: int = 0, **more: object) -> list[PackedFile]:
    """The files one after another in one pack; those without content in none."""
    entries, at = [], 0
    for path, content in files.items():
        where = (
            {"pack": pack, "offset": at, "length_bytes": len(content), "hash": block_hash(content)}
            if content
            else {}
        )
        entries.append(PackedFile(path=path, **where, **more))  # type: ignore[arg-type]
        at += len(content)
    return entries


def commit(
    rig: NamespaceRig,
    files: Sequence[PackedFile],
    packs: Sequence[PackedBlock] = (),
    *,
    who: Principal = ADMIN,
) -> CommitFilesReply:
    body = CommitFilesRequest(files=list(files), packs=list(packs))
    (reply,) = rig.change(lambda txn: packing(rig).commit(txn, [(who, body)]))
    if isinstance(reply, DfsError):
        raise reply
    return reply


def put_pack(
    rig: NamespaceRig,
    files: Mapping[str, bytes],
    *,
    who: Principal = ADMIN,
    holders: int | None = None,
    **more: object,
) -> CommitFilesReply:
    """Write those files as one pack."""
    content = b"".join(files.values())
    replication = more.get("replication")
    assert replication is None or isinstance(replication, int)
    pack = begin_pack(rig, len(content), who=who, replication=replication)
    done = written_pack(rig, pack, content, holders=holders)
    return commit(rig, laid_out(files, **more), [done], who=who)


def locate_many(
    rig: NamespaceRig, *paths: str, who: Principal = ADMIN, as_of: int | None = None
) -> LocateManyReply:
    body = LocateManyRequest(paths=list(paths), as_of=as_of)
    return rig.look(lambda c: rig.space.locating_many.locate_many(c, who, body))


def codes(reply: CommitFilesReply) -> dict[int, str]:
    """The refusals by index."""
    return {each.index: each.error.code for each in reply.refused}
