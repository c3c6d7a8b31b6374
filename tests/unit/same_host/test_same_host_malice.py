"""What a program that means harm can do at the socket: nothing that lasts."""

import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import SystemClock
from dfs.base.errors import (
    BadRequest,
    BlockCorrupt,
)
from dfs.transfer.block_channel import BlockAccess, upload_header
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.frames import data_head, footer_frame, header_frame
from dfs.wire.local_socket import (
    Asked,
    Kind,
    LocalSocket,
    Ring,
    connect,
    pack,
    refused,
)
from dfs.wire.tokens import Mode
from tests.cluster_rig import wait_until
from tests.datanode_rig import NAME, PATH, RigNode, download, token, upload_messages
from tests.same_host_rig import MIB, some


@pytest.fixture
def line(nodes: list[RigNode]) -> Iterator[LocalSocket]:
    sock = connect(nodes[0].socket, timeout_s=10)
    made = LocalSocket(sock, clock=SystemClock(), timeout_s=10)
    yield made
    made.close()


def header() -> bytes:
    access = BlockAccess(NAME, PATH, token(Mode.WRITE, NAME))
    return header_frame(upload_header(access, MIB, ())).raw


def put(ring: Ring, data: bytes) -> bytes:
    ring.room(0, len(data))[:] = data
    return ring.put(0, data_head(0, len(data), chunk_hashes(data)), len(data))


def refusal_of(line: LocalSocket) -> str:
    while (message := line.receive()) is not None:
        if message.kind is Kind.REFUSED:
            return refused(message).code
    return "ended"


def begin_write(line: LocalSocket) -> Ring:
    ring = Ring()
    line.send(Kind.WRITE, pack(Asked(1)), file=ring.file)
    line.send(Kind.HEADER, header())
    return ring


def test_bytes_changed_in_the_ring_do_not_match_their_hash(
    line: LocalSocket, nodes: list[RigNode]
) -> None:
    data, ring = some(MIB), begin_write(line)
    place = put(ring, data)
    ring.room(0, MIB)[50_000:50_001] = b"!"
    line.send(Kind.PIECE, place)
    assert refusal_of(line) == BlockCorrupt.code
    assert nodes[0].store.entry(NAME) is None
    ring.close()


def test_bytes_changed_after_they_were_taken_change_nothing(
    line: LocalSocket, nodes: list[RigNode]
) -> None:
    data, ring = some(MIB), begin_write(line)
    line.send(Kind.PIECE, put(ring, data))
    message = line.receive()
    assert message is not None
    assert message.kind is Kind.FREE
    ring.room(0, MIB)[:] = bytes(MIB)
    footer = footer_frame(pb.UploadFooter(length=MIB, hash=block_hash(data))).raw
    line.send(Kind.FOOTER, footer)
    message = line.receive()
    assert message is not None
    assert message.kind is Kind.RECEIPT
    assert download(nodes[0]) == data
    ring.close()


def test_only_its_writer_can_write_to_a_ring() -> None:
    ring = Ring()
    with pytest.raises(PermissionError):
        os.pwrite(ring.file, b"!", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(ring.file, MIB, mmap.MAP_SHARED, mmap.PROT_WRITE)
    again = os.open(f"/proc/self/fd/{ring.file}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.pwrite(again, b"!", 0)
    os.close(again)
    ring.close()


@pytest.mark.parametrize("kind", [Kind.HEADER, Kind.PIECE, Kind.FOOTER])
def test_frame_that_is_none_is_refused(line: LocalSocket, nodes: list[RigNode], kind: Kind) -> None:
    ring = begin_write(line) if kind is not Kind.HEADER else Ring()
    if kind is Kind.HEADER:
        line.send(Kind.WRITE, pack(Asked(1)), file=ring.file)
    broken = b"\x0a\xff"
    line.send(kind, ring.put(0, broken, 0) if kind is Kind.PIECE else broken)
    assert refusal_of(line) == BadRequest.code
    assert nodes[0].store.entry(NAME) is None
    ring.close()


@pytest.mark.parametrize("place", [(1 << 40, 100), (0, 1 << 30), (0, 0), (64 * MIB - 1, 100)])
def test_piece_beyond_the_ring_is_refused(line: LocalSocket, place: tuple[int, int]) -> None:
    ring = begin_write(line)
    line.send(Kind.PIECE, struct.pack(">QI", *place))
    assert refusal_of(line) == BadRequest.code
    ring.close()


@pytest.mark.parametrize("what", ["file", "pipe", "unsealed", "huge", "none"])
def test_ring_that_could_hang_or_shrink_is_refused(
    line: LocalSocket, tmp_path: Path, what: str
) -> None:
    files: list[int] = []
    if what == "file":
        (tmp_path / "f").write_bytes(bytes(MIB))
        files.append(os.open(tmp_path / "f", os.O_RDONLY))
    elif what == "pipe":
        files += os.pipe()
    elif what == "unsealed":
        files.append(os.memfd_create("x", os.MFD_ALLOW_SEALING))
        os.ftruncate(files[0], MIB)
    elif what == "huge":
        files.append(os.memfd_create("x", os.MFD_ALLOW_SEALING))
        os.ftruncate(files[0], 1 << 40)
        fcntl.fcntl(files[0], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    line.send(Kind.WRITE, pack(Asked(1)), file=files[0] if files else None)
    assert refusal_of(line) == BadRequest.code
    for file in files:
        os.close(file)


def test_messages_that_are_none_are_refused_and_leave_no_open_file(nodes: list[RigNode]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Path("/dev/null").open("rb") as null:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("ii", *[null.fileno()] * 2))]
        for head, sent in (
            (b"\x01\x00\x00\x00\x03", rights),
            (b"\x01\xff\xff\xff\xff", []),
            (b"\x63\x00\x00\x00\x00", []),
            (b"\x03\x00\x00\x00\x00", rights[:0]),
            (b"\x01\x00\x00\x00\x02\x91\x01", []),
            (b"\x01\x00", []),
        ):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(nodes[0].socket)
                sock.sendmsg([head], sent)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass
    wait_until(lambda: not nodes[0].beside.count(), "all conversations have ended")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert download_of(nodes[0])


def download_of(node: RigNode) -> bytes:
    """It still serves."""
    node.stub.UploadBlock(upload_messages(b"x"))
    return download(node)


def test_client_killed_in_mid_write_leaves_nothing(nodes: list[RigNode]) -> None:
    sock = connect(nodes[0].socket, timeout_s=10)
    line = LocalSocket(sock, clock=SystemClock(), timeout_s=10)
    data, ring = some(MIB), begin_write(line)
    line.send(Kind.PIECE, put(ring, data))
    message = line.receive()
    assert message is not None
    assert message.kind is Kind.FREE
    line.close()
    ring.close()
    wait_until(lambda: not nodes[0].traffic.total(), "the upload has ended")
    assert list((nodes[0].folder / "tmp").iterdir()) == []
    assert nodes[0].store.entry(NAME) is None
