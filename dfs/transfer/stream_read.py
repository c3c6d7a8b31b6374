"""Reading long stretches of a block from afar, as its DataNode's kernel sends them.

The bytes come bare, behind the chunk hashes with which the block was written; they are held against
those before they are handed on, and the whole against the NameNode's hash by `replica_reader`.
Short stretches, and such as begin or end within a chunk, are left to gRPC.
"""

from collections.abc import Callable, Iterator
from typing import Final

from dfs.base.checksum import CHUNK_HASH_BYTES, CHUNK_SIZE_BYTES, Buffer, chunk_count, chunk_hashes
from dfs.base.errors import BlockCorrupt, DfsError
from dfs.base.ids import node_name
from dfs.base.records import BlockTruth, NodeAddress
from dfs.base.units import MiB
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.local_links import Elsewhere, LocalLine, StreamLinks
from dfs.wire.channel import PIECE_BYTES
from dfs.wire.codec import block_ref
from dfs.wire.local_socket import Kind, Lent, Wanted, read_payload

STREAM_BYTES_MIN: Final = MiB  # of less, gRPC's open connection brings the answer sooner
STEP_BYTES: Final = PIECE_BYTES
assert STEP_BYTES % CHUNK_SIZE_BYTES == 0


class StreamReader:
    """Reads by streams.  Safe to share between threads."""

    def __init__(self, links: StreamLinks) -> None:
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
        end = offset + length_bytes
        is_whole = not offset % CHUNK_SIZE_BYTES and (
            not end % CHUNK_SIZE_BYTES or end == truth.length_bytes
        )
        if length_bytes < STREAM_BYTES_MIN or not is_whole or not self._links.may_reach(address):
            return
        ref = block_ref(access.name, path=access.path, token=access.token).SerializeToString()
        wanted = Wanted(address.node, ref, offset, length_bytes)
        try:
            with self._links.to(address, Kind.STREAM, wanted) as line:
                lent = read_payload(line.receive(), Lent)
                if (lent.length_bytes, lent.hash) == (truth.length_bytes, truth.hash):
                    yield from _checked(line, lent, address, offset, length_bytes)
        except Elsewhere:
            self._links.avoid(address.node)
        except BlockCorrupt:
            raise
        except DfsError:
            return  # it refused: asked over gRPC, it says so itself


def _checked(
    line: LocalLine, lent: Lent, address: NodeAddress, offset: int, length_bytes: int
) -> Iterator[Buffer]:
    for at, data, hashes in arriving(line.receive_bytes, lent, length_bytes):
        if hashes is None:
            raise BlockCorrupt(
                f"{node_name(address.node)} at {address.grpc}: bytes at offset {offset + at} do "
                "not match their hash"
            )
        yield data


def arriving(
    receive: Callable[[int], bytes], lent: Lent, length_bytes: int
) -> Iterator[tuple[int, bytes, bytes | None]]:
    """What comes over a stream: offset from its begin, bytes, and the hashes of their chunks.

    None for hashes: the bytes do not have those that were announced.
    """
    for at in range(0, length_bytes, STEP_BYTES):
        data = receive(min(STEP_BYTES, length_bytes - at))
        first = at // CHUNK_SIZE_BYTES * CHUNK_HASH_BYTES
        said = lent.chunk_hashes[first : first + chunk_count(len(data)) * CHUNK_HASH_BYTES]
        yield at, data, said if chunk_hashes(data) == said else None
