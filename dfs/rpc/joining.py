"""Many small pieces of a block in few messages.

Who reads thousands of small files out of a pack asks for as many ranges; a message costs as much
as hashing a megabyte, however little it brings.
"""

from collections.abc import Iterator

from dfs.base.checksum import chunk_hashes
from dfs.blockstore.reader import PIECE_BYTES, Piece


def joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Consecutive pieces in one, at most 1 MiB long; its offset is that of its first byte."""
    waiting: list[Piece] = []
    size_bytes = 0
    for piece in pieces:
        if waiting and size_bytes + len(piece.data) > PIECE_BYTES:
            yield _one_of(waiting)
            waiting, size_bytes = [], 0
        waiting.append(piece)
        size_bytes += len(piece.data)
    if waiting:
        yield _one_of(waiting)


def _one_of(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    data = b"".join(piece.data for piece in pieces)
    return Piece(pieces[0].offset, data, chunk_hashes(data))
