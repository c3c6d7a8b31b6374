"""Reading a block of this computer from its file, which its DataNode lends.

Exactly the bytes that are handed on are verified: they are read into memory of ours, held against
the chunk hashes with which the block was written, and only then given away; the whole is held
against the NameNode's hash by `replica_reader`, as whatever comes over the network.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from dfs.base.checksum import CHUNK_HASH_BYTES, CHUNK_SIZE_BYTES, Buffer, chunk_count, chunk_hashes
from dfs.base.errors import BlockCorrupt, DfsError
from dfs.base.ids import node_name
from dfs.base.records import BlockTruth, NodeAddress
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.local_links import Elsewhere, LocalLinks
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.codec import block_ref
from dfs.wire.local_socket import Asked, Kind, Lent, Message, is_plain_file, read_payload

STEP_BYTES: Final = PIECE_BYTES // 2  # stays in a core's cache while it is read, hashed, written
ANSWER_S: Final = 5.0  # to open a file; a node that takes longer is asked over gRPC as well
assert STEP_BYTES % CHUNK_SIZE_BYTES == 0


class LentBlock:
    """The file of a block, lent by its DataNode; `close` gives it back."""

    def __init__(self, address: NodeAddress, lent: Lent, file: int) -> None:
        self._peer = f"{node_name(address.node)} at {address.grpc}"
        self._lent = lent
        self._file = file

    def matches(self, truth: BlockTruth) -> bool:
        """Whether it was sealed as what the NameNode says the block is."""
        lent = self._lent
        return (lent.length_bytes, lent.hash) == (truth.length_bytes, truth.hash)

    def pieces(self, offset: int, length_bytes: int) -> Iterator[Buffer]:
        """The bytes of one range, in order, verified.

        Raises:
            BlockCorrupt: they are not those that were written, or are not there.
        """
        at, end = offset, offset + length_bytes
        while at < end:
            base = at - at % CHUNK_SIZE_BYTES
            data = self._verified(base, min(STEP_BYTES, self._lent.length_bytes - base))
            stop = min(end, base + len(data))
            whole = at == base and stop == base + len(data)
            yield data if whole else memoryview(data)[at - base : stop - base]
            at = stop

    def close(self) -> None:
        """Give it back."""
        os.close(self._file)

    def _verified(self, offset: int, length_bytes: int) -> bytes:
        try:
            data = os.pread(self._file, length_bytes, offset) if length_bytes > 0 else b""
        except OSError as exc:
            raise BlockCorrupt(f"{self._peer}: its file does not read: {exc.strerror}") from exc
        first = offset // CHUNK_SIZE_BYTES * CHUNK_HASH_BYTES
        count = chunk_count(length_bytes) * CHUNK_HASH_BYTES
        if not data or chunk_hashes(data) != self._lent.chunk_hashes[first : first + count]:
            raise BlockCorrupt(f"{self._peer}: bytes at offset {offset} do not match their hash")
        return data


class LocalReader:
    """Borrows blocks.  Safe to share between threads."""

    def __init__(self, links: LocalLinks) -> None:
        self._links = links

    def pieces(
        self,
        address: NodeAddress,
        access: BlockAccess,
        truth: BlockTruth,
        offset: int,
        length_bytes: int,
    ) -> Iterator[Buffer]:
        """See `replica_reader.ShortWay`."""
        with self.borrow(address, access) as lent:
            if lent is not None and lent.matches(truth):
                yield from lent.pieces(offset, length_bytes)

    @contextlib.contextmanager
    def borrow(self, address: NodeAddress, access: BlockAccess) -> Iterator[LentBlock | None]:
        """The block's file, if that node is here and lends it; None: ask it over gRPC.

        Why a node refused is not told: asked again, it says so itself.
        """
        lent = self._ask(address, access) if self._links.may_reach(address) else None
        try:
            yield lent
        finally:
            if lent is not None:
                lent.close()

    def _ask(self, address: NodeAddress, access: BlockAccess) -> LentBlock | None:
        ref = block_ref(access.name, path=access.path, token=access.token).SerializeToString()
        try:
            with self._links.to(address, Kind.READ, Asked(address.node, ref)) as line:
                return _lent(address, line.receive(timeout_s=ANSWER_S))
        except Elsewhere:
            self._links.avoid(address.node)
        except DfsError:
            pass  # the token has a window, the block is gone or damaged ...: gRPC sorts it out
        return None


def _lent(address: NodeAddress, message: Message) -> LentBlock:
    """The file that came, if it is one.

    Raises:
        Elsewhere: the answer is none.
    """
    try:
        if message.kind is not Kind.LENT or message.file is None:
            raise Elsewhere("not what was asked")
        if not is_plain_file(message.file):
            raise Elsewhere("what was lent is no file")
        return LentBlock(address, read_payload(message, Lent), message.file)
    except BaseException:
        message.drop()
        raise
