"""Upload, download, copy, delete and probe over real gRPC, onto real files."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.errors import (
    BadRequest,
    BlockConflict,
    BlockCorrupt,
    BlockNotFound,
    LengthMismatch,
    LimitExceeded,
    Overloaded,
    PeerUnreachable,
    StaleEpoch,
    StaleGeneration,
)
from dfs.base.ids import BlockId, Generation
from dfs.base.records import BlockName
from dfs.base.units import KiB, MiB
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import block_ref, read_receipts
from dfs.wire.tokens import Mode, receipt_holds
from tests.datanode_rig import NAME, PATH, RING, RigNode, download, ref, token, upload_messages
from tests.rpc_refusals import refusal

DATA = bytes(range(256)) * (10 * KiB) + b"the end"  # 2.5 MiB and a bit


def eventually(holds) -> None:
    """Wait until it is so."""
    pause = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("did not come to pass")


@pytest.mark.parametrize(
    "size", [0, 1, 256 * KiB - 1, 256 * KiB, 256 * KiB + 1, MiB - 1, MiB, MiB + 1, 3 * MiB]
)
def test_block_comes_back_as_it_went_in(node: RigNode, size: int) -> None:
    data = DATA[:size] if size <= len(DATA) else (DATA * 2)[:size]
    receipt = node.stub.UploadBlock(upload_messages(data))
    assert (receipt.length, receipt.hash) == (size, block_hash(data))
    assert download(node) == data


def test_receipt_is_signed_under_the_ring(node: RigNode) -> None:
    receipt = node.stub.UploadBlock(upload_messages(DATA))
    assert all(receipt_holds(each, RING) for each in read_receipts(receipt))
    assert receipt.node == node.node


def test_header_and_footer_may_carry_a_piece(node: RigNode) -> None:
    whole = list(upload_messages(b"tiny"))
    whole[0].data, whole[0].hashes = b"tiny", chunk_hashes(b"tiny")
    node.stub.UploadBlock(iter([whole[0], whole[2]]))
    assert download(node) == b"tiny"


def test_download_gives_the_ranges_asked_in_their_order(node: RigNode) -> None:
    node.stub.UploadBlock(upload_messages(DATA))
    wanted = [(MiB + 3, 700 * KiB), (0, 10), (len(DATA) - 7, 7), (5, 0)]
    request = pb.BlockRange(
        block=ref(Mode.READ), ranges=[pb.Range(offset=o, length=n) for o, n in wanted]
    )
    chunks = list(node.stub.DownloadBlock(request))
    assert b"".join(c.data for c in chunks) == b"".join(DATA[o : o + n] for o, n in wanted)
    assert all(c.hashes == chunk_hashes(c.data) for c in chunks)


def test_many_small_ranges_come_in_few_messages(node: RigNode) -> None:
    node.stub.UploadBlock(upload_messages(DATA))
    wanted = [(at, 8 * KiB) for at in range(0, len(DATA) - 8 * KiB, 16 * KiB)]
    request = pb.BlockRange(
        block=ref(Mode.READ), ranges=[pb.Range(offset=o, length=n) for o, n in wanted], joined=True
    )
    chunks = list(node.stub.DownloadBlock(request))
    assert len(chunks) <= 1 + sum(n for _, n in wanted) // MiB
    assert b"".join(c.data for c in chunks) == b"".join(DATA[o : o + n] for o, n in wanted)
    assert all(c.hashes == chunk_hashes(c.data) for c in chunks)


def test_download_refuses_a_range_past_the_end(node: RigNode) -> None:
    node.stub.UploadBlock(upload_messages(DATA))
    request = pb.BlockRange(block=ref(Mode.READ), ranges=[pb.Range(offset=len(DATA) - 1, length=2)])
    assert isinstance(refusal(lambda: download(node, request)), BadRequest)


def test_download_sends_no_wrong_byte_when_the_disk_lies(node: RigNode) -> None:
    node.stub.UploadBlock(upload_messages(DATA))
    (file,) = node.store.volumes()
    path = next(p for p in Path(file.path).rglob("000000.*"))
    raw = bytearray(path.read_bytes())
    raw[MiB + 5] ^= 1
    path.write_bytes(raw)
    got: list[bytes] = []

    def read() -> None:
        for chunk in node.stub.DownloadBlock(pb.BlockRange(block=ref(Mode.READ))):
            got.append(chunk.data)

    assert isinstance(refusal(read), BlockCorrupt)
    assert DATA.startswith(b"".join(got))


# ---- what an upload must look like


def pieces(*messages: pb.BlockChunk) -> Iterator[pb.BlockChunk]:
    yield pb.BlockChunk(header=pb.UploadHeader(block=ref()))
    yield from messages


def piece(offset: int, data: bytes, hashes: bytes | None = None) -> pb.BlockChunk:
    return pb.BlockChunk(
        offset=offset, data=data, hashes=chunk_hashes(data) if hashes is None else hashes
    )


FOOTER = pb.BlockChunk(footer=pb.UploadFooter(length=4, hash=block_hash(b"abcd")))
BAD_UPLOADS = {
    "nothing at all": (lambda: iter(()), BadRequest),
    "data before the header": (lambda: iter([piece(0, b"abcd")]), BadRequest),
    "two headers": (lambda: pieces(*pieces()), BadRequest),
    "no footer": (lambda: pieces(piece(0, b"abcd")), LengthMismatch),
    "a gap": (lambda: pieces(piece(4, b"abcd"), FOOTER), LengthMismatch),
    "wrong chunk hash": (lambda: pieces(piece(0, b"abcd", bytes(8)), FOOTER), BlockCorrupt),
    "no chunk hash": (lambda: pieces(piece(0, b"abcd", b""), FOOTER), BadRequest),
    "another length": (lambda: pieces(piece(0, b"abc"), FOOTER), LengthMismatch),
    "another hash": (lambda: pieces(piece(0, b"abce"), FOOTER), BlockCorrupt),
    "too large a piece": (lambda: pieces(piece(0, bytes(MiB + 1)), FOOTER), LimitExceeded),
}


@pytest.mark.parametrize("case", BAD_UPLOADS)
def test_upload_refuses_a_broken_stream_and_keeps_nothing(node: RigNode, case: str) -> None:
    messages, error = BAD_UPLOADS[case]
    assert isinstance(refusal(lambda: node.stub.UploadBlock(messages())), error)
    assert isinstance(refusal(lambda: download(node)), BlockNotFound)


def test_upload_refuses_more_than_the_token_allows(node: RigNode) -> None:
    block = block_ref(NAME, path=PATH, token=token(length_max=MiB))
    err = refusal(lambda: node.stub.UploadBlock(upload_messages(DATA, block=block)))
    assert isinstance(err, LengthMismatch)


def test_upload_refuses_an_announced_length_above_the_token(node: RigNode) -> None:
    block = block_ref(NAME, path=PATH, token=token(length_max=9), size_bytes=10)
    err = refusal(lambda: node.stub.UploadBlock(upload_messages(b"0123456789", block=block)))
    assert isinstance(err, LengthMismatch)


def test_upload_that_stalls_is_ended_and_leaves_nothing(new_node) -> None:
    node = new_node(stall_s=0.3)
    never = threading.Event()

    def stalling() -> Iterator[pb.BlockChunk]:
        yield from list(upload_messages(DATA))[:2]
        never.wait(30)

    err = refusal(lambda: node.stub.UploadBlock(stalling()))
    never.set()
    assert isinstance(err, PeerUnreachable)
    assert "no data" in err.message
    assert node.store.in_flight == 0


def test_reader_that_takes_nothing_is_ended(new_node) -> None:
    node = new_node(stall_s=0.3)
    data = bytes(48 * MiB)
    node.stub.UploadBlock(upload_messages(data))
    call = node.stub.DownloadBlock(pb.BlockRange(block=ref(Mode.READ)))
    next(call)
    eventually(lambda: node.traffic.total() == 0)
    with pytest.raises(grpc.RpcError):
        list(call)


# ---- replacement rule


def at(generation: int) -> BlockName:
    return BlockName(NAME.file, NAME.number, NAME.block, Generation(generation))


def put(node: RigNode, data: bytes, generation: int) -> pb.BlockReceipt:
    block = ref(Mode.WRITE, at(generation))
    return node.stub.UploadBlock(upload_messages(data, block=block))


def get(node: RigNode, generation: int) -> bytes:
    return download(node, pb.BlockRange(block=ref(Mode.READ, at(generation))))


def test_same_generation_with_the_same_bytes_is_a_success(node: RigNode) -> None:
    assert put(node, b"one", 9) == put(node, b"one", 9)


def test_same_generation_with_other_bytes_is_a_conflict(node: RigNode) -> None:
    put(node, b"one", 9)
    assert isinstance(refusal(lambda: put(node, b"two", 9)), BlockConflict)
    assert get(node, 9) == b"one"


def test_higher_generation_stands_beside_the_older(node: RigNode) -> None:
    put(node, b"one", 9)
    put(node, b"two", 10)
    assert (get(node, 9), get(node, 10)) == (b"one", b"two")


def test_lower_generation_is_refused(node: RigNode) -> None:
    put(node, b"two", 10)
    assert isinstance(refusal(lambda: put(node, b"one", 9)), StaleGeneration)


# ---- delete


def delete(node: RigNode, epoch: int, name: BlockName = NAME) -> bool:
    return node.stub.DeleteBlock(
        pb.DeleteRequest(block=ref(Mode.DELETE, name), epoch=epoch)
    ).deleted


def test_delete_retires_exactly_that_generation(node: RigNode) -> None:
    put(node, b"one", 9)
    put(node, b"two", 10)
    assert delete(node, 1, at(9))
    assert not delete(node, 1, at(9))
    assert isinstance(refusal(lambda: get(node, 9)), BlockNotFound)
    assert get(node, 10) == b"two"


def test_delete_of_an_epoch_that_is_over_is_refused(node: RigNode) -> None:
    put(node, b"one", 9)
    node.hear(epoch=5)
    assert isinstance(refusal(lambda: delete(node, 4)), StaleEpoch)
    assert get(node, 9) == b"one"


def test_delete_of_a_higher_epoch_is_obeyed_and_remembered(node: RigNode) -> None:
    put(node, b"one", 9)
    assert delete(node, 8)
    assert node.store.epoch == 8
    assert isinstance(refusal(lambda: delete(node, 7)), StaleEpoch)


# ---- probe


def probe(node: RigNode, *, verify: bool) -> pb.ProbeReply:
    return node.stub.ProbeBlock(pb.ProbeRequest(block=ref(Mode.READ), verify=verify))


def test_probe_says_what_is_held(node: RigNode) -> None:
    assert not probe(node, verify=False).held
    put(node, b"one", 9)
    reply = probe(node, verify=False)
    assert (reply.held, reply.length, reply.hash) == (True, 3, block_hash(b"one"))


@pytest.mark.parametrize("damaged", [False, True])
def test_probe_reads_the_disk_when_asked_to_verify(node: RigNode, *, damaged: bool) -> None:
    put(node, DATA, 9)
    if damaged:
        (volume,) = node.store.volumes()
        path = next(p for p in Path(volume.path).rglob("000000.*"))
        with path.open("r+b") as file:
            file.write(b"?")
    reply = probe(node, verify=True)
    assert (reply.held, reply.intact) == (True, not damaged)


# ---- copy


def copy(source: RigNode, target: RigNode, data: bytes, /, **changed: object) -> pb.BlockReceipt:
    fields: dict[str, object] = {
        "block": ref(peers=[source.target()]),
        "source": source.target(),
        "source_token": token(Mode.COPY),
        "length": len(data),
        "hash": block_hash(data),
    }
    return target.stub.CopyBlock(pb.CopyRequest(**(fields | changed)))


def test_copy_makes_the_same_block_with_path_and_contents_table(new_node) -> None:
    source, target = new_node(), new_node()
    source.stub.UploadBlock(upload_messages(DATA, pack=b"table"))
    receipt = copy(source, target, DATA)
    assert receipt.node == target.node
    assert download(target) == DATA
    label = target.store.label(NAME)
    assert (label.path, label.pack) == (PATH, b"table")


def test_copy_of_what_is_here_moves_no_byte(new_node) -> None:
    source, target = new_node(), new_node()
    target.stub.UploadBlock(upload_messages(DATA))
    source.close()
    assert copy(source, target, DATA).hash == block_hash(DATA)


def test_copy_mends_a_node_whose_own_copy_is_bad(new_node) -> None:
    source, target = new_node(), new_node()
    for each in (source, target):
        each.stub.UploadBlock(upload_messages(DATA))
    (volume,) = target.store.volumes()
    with next(Path(volume.path).rglob("000000.*")).open("r+b") as file:
        file.write(b"?")
    assert isinstance(refusal(lambda: download(target)), BlockCorrupt)
    assert copy(source, target, DATA).hash == block_hash(DATA)
    assert download(target) == DATA


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"hash": bytes(16)}, BlockCorrupt),
        ({"length": len(DATA) - 1}, LengthMismatch),
        ({"length": len(DATA) + 1}, LengthMismatch),
        ({"hash": b""}, BadRequest),
        ({"source": pb.Target(node=9)}, BadRequest),
    ],
)
def test_copy_refuses_anything_but_what_was_ordered(new_node, changed, error) -> None:
    source, target = new_node(), new_node()
    source.stub.UploadBlock(upload_messages(DATA))
    assert isinstance(refusal(lambda: copy(source, target, DATA, **changed)), error)
    assert isinstance(refusal(lambda: download(target)), BlockNotFound)


def test_copy_says_when_the_source_is_at_fault(new_node) -> None:
    source, target = new_node(), new_node()
    missing = refusal(lambda: copy(source, target, DATA))
    assert isinstance(missing, BlockNotFound)
    assert missing.details["side"] == "source"
    source.close()
    gone = refusal(lambda: copy(source, target, DATA))
    assert isinstance(gone, PeerUnreachable)
    assert gone.details["side"] == "source"


# ---- load


class HeldUpload:
    """An upload of four bytes under way, which waits to be finished."""

    def __init__(self, node: RigNode) -> None:
        self._go_on, self._begun = threading.Event(), threading.Event()
        self._call = node.stub.UploadBlock.future(self._messages())
        self._begun.wait(10)

    def finish(self) -> pb.BlockReceipt:
        self._go_on.set()
        return self._call.result(timeout=20)

    def _messages(self) -> Iterator[pb.BlockChunk]:
        first, *rest = upload_messages(b"abcd")
        yield first
        self._begun.set()
        self._go_on.wait(30)
        yield from rest


def test_calls_beyond_the_bound_are_turned_away(new_node) -> None:
    node = new_node(transfers_max=1)
    upload = HeldUpload(node)
    other = BlockName(NAME.file, 1, BlockId(8), Generation(9))
    message = pb.ProbeRequest(block=ref(Mode.READ, other))
    assert isinstance(refusal(lambda: node.stub.ProbeBlock(message)), Overloaded)
    assert upload.finish().length == 4


def test_stop_lets_an_upload_finish(node: RigNode) -> None:
    upload = HeldUpload(node)
    drained: list[bool] = []
    stopping = threading.Thread(target=lambda: drained.append(node.server.stop(20)))
    stopping.start()
    assert upload.finish().length == 4
    stopping.join(20)
    assert drained == [True]
