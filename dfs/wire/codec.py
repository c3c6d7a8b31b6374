"""gRPC messages to records and back: the only module that knows both."""

from collections.abc import Iterable

from dfs.base.errors import BadRequest
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName, NodeAddress, Receipt
from dfs.wire import dataNode_pb2 as pb


def block_file_name(name: BlockName) -> str:
    """The file of a block inside its file's folder: `<number>.<block id>.<generation>`."""
    return f"{name.number:06d}.{name.block:016x}.{name.generation:016x}"


def block_ref(name: BlockName, *, path: str, token: bytes, size_bytes: int = 0) -> pb.BlockRef:
    """How a block is named on the wire."""
    return pb.BlockRef(
        filename=path,
        block_name=block_file_name(name),
        block_number=name.number,
        block_size=size_bytes,
        block_id=name.block,
        generation=name.generation,
        file_id=name.file,
        token=token,
    )


def read_block_ref(ref: pb.BlockRef) -> BlockName:
    """The block that a reference names.

    Raises:
        BadRequest: an id is missing, or the block name does not agree with the ids.
    """
    name = BlockName(
        InodeId(ref.file_id), ref.block_number, BlockId(ref.block_id), Generation(ref.generation)
    )
    if not (ref.file_id and ref.block_id and ref.generation):
        raise BadRequest("a block is named by file id, block id and generation, all above 0")
    if ref.block_name != block_file_name(name):
        raise BadRequest(f"block name {ref.block_name[:80]!r} does not agree with its ids")
    return name


def target(address: NodeAddress) -> pb.Target:
    """A pipeline target."""
    return pb.Target(node=address.node, address=address.grpc)


def write_receipt(receipt: Receipt) -> pb.BlockReceipt:
    """A receipt as it travels."""
    return pb.BlockReceipt(
        block_id=receipt.block,
        generation=receipt.generation,
        length=receipt.length_bytes,
        hash=receipt.hash,
        node=receipt.node,
        epoch=receipt.epoch,
        key_id=receipt.key_id,
        signature=receipt.signature,
    )


def read_receipt(message: pb.BlockReceipt) -> Receipt:
    """The receipt in a message, without those of later targets."""
    return Receipt(
        BlockId(message.block_id),
        Generation(message.generation),
        message.length,
        message.hash,
        NodeId(message.node),
        message.epoch,
        message.key_id,
        message.signature,
    )


def read_receipts(message: pb.BlockReceipt) -> tuple[Receipt, ...]:
    """Every receipt in an answer: the first target's, then the later ones'."""
    messages: Iterable[pb.BlockReceipt] = (message, *message.downstream)
    return tuple(read_receipt(each) for each in messages)
