"""Block files as no client writes them: true to themselves, and wrong all the same."""

from pathlib import Path

import msgspec

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.blockstore.format import (
    TRAILER_BYTES,
    Label,
    Trailer,
    decode_label,
    decode_trailer,
    encode_tail,
)
from dfs.blockstore.layout import Layout


def take_apart(path: Path) -> tuple[bytes, Label, Trailer]:
    """Content, label and trailer of a block file."""
    raw = path.read_bytes()
    trailer = decode_trailer(raw[-TRAILER_BYTES:])
    length = trailer.truth.length_bytes
    label = decode_label(raw[length : length + trailer.label_bytes], trailer)
    return raw[:length], label, trailer


def rewrite(path: Path, content: bytes) -> None:
    """The same block with other bytes, and hashes and trailer that vouch for them."""
    _, label, trailer = take_apart(path)
    truth = trailer.truth
    path.write_bytes(_made(label, truth.block, truth.generation, content))


def forge(data: Path, like: Path, *, block: int, generation: int, file: int | None = None) -> Path:
    """A block file in a data folder with the content of another and ids of its own.

    Args:
        like: the file of a block of the same cluster.
        file: whose block it says it is; None is the other's.
    """
    content, label, _ = take_apart(like)
    if file is not None:
        label = msgspec.structs.replace(label, file=file)
    name = BlockName(InodeId(label.file), label.number, BlockId(block), Generation(generation))
    path = Layout(data).block(name)
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(_made(label, name.block, name.generation, content))
    return path


def _made(label: Label, block: BlockId, generation: Generation, content: bytes) -> bytes:
    label = msgspec.structs.replace(label, chunk_hashes=chunk_hashes(content))
    truth = BlockTruth(block, generation, len(content), block_hash(content))
    return content + encode_tail(label, truth)
