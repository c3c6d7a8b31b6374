"""Reads from afar over bare connections: check, say what follows, and have the kernel send it.

gRPC's Python copies each byte four times on either side; a file is sent from the page cache to the
network without one.  So the bytes are not looked at here: the reader holds them against the chunk
hashes with which the block was written, which are sent before them, as one who was lent the file
does, and asks over gRPC where they differ.  That is answered from a verified read, and a bad copy
is found by it.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Final

from dfs.base.checksum import CHUNK_HASH_BYTES, CHUNK_SIZE_BYTES, chunk_count
from dfs.base.errors import BadRequest
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk
from dfs.rpc.errors import ServiceLog
from dfs.rpc.gate import Gate
from dfs.rpc.local_service import answer, read_ref, say
from dfs.rpc.traffic import Traffic
from dfs.wire.local_socket import Kind, Lent, LocalSocket, Message, Wanted, pack, read_payload

_WAY: Final = "stream"


@dataclass(frozen=True, slots=True)
class StreamService:
    """What is done with each conversation."""

    disk: BlockDisk
    gate: Gate
    standing: Standing
    _: KW_ONLY
    traffic: Traffic
    log: ServiceLog

    def converse(self, line: LocalSocket) -> None:
        """Hear what is wanted and do it; whatever happens, the other side hears of it."""
        answer(line, self._serve, way=_WAY, log=self.log)

    def _serve(self, line: LocalSocket, first: Message) -> None:
        if first.kind is not Kind.STREAM:
            raise BadRequest("a conversation over a stream begins with STREAM")
        wanted = read_payload(first, Wanted)
        if wanted.node != self.standing.node:
            say(line, Kind.ELSEWHERE)
            return
        with self.traffic.call("stream_read"):
            begin, end = wanted.offset, wanted.offset + wanted.length_bytes
            if begin < 0 or wanted.length_bytes < 1:
                raise BadRequest("a stream has an offset and at least one byte")
            name = self.gate.admit_reader(read_ref(wanted.ref), ((begin, wanted.length_bytes),))
            with self.disk.lend(name) as file:
                length = file.truth.length_bytes
                if begin % CHUNK_SIZE_BYTES or (end % CHUNK_SIZE_BYTES and end != length):
                    raise BadRequest("a stream is of whole chunks")
                if end > length:
                    raise BadRequest(f"the block has {length} bytes")
                at = begin // CHUNK_SIZE_BYTES * CHUNK_HASH_BYTES
                upto = at + chunk_count(wanted.length_bytes) * CHUNK_HASH_BYTES
                lent = Lent(length, file.truth.hash, file.label.chunk_hashes[at:upto])
                line.send(Kind.LENT, pack(lent))
                line.send_file(file.fileno(), begin, wanted.length_bytes)
            self.traffic.sent(wanted.length_bytes)
