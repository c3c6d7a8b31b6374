"""Conversations with a DataNode past gRPC: over a Unix socket on its computer, a stream from afar.

A message is a kind, a length and a payload; one open file may come with it.  Bytes of blocks do not
travel in messages.  A reader is lent the block's file; a writer puts frames (`dfs.wire.frames`)
into a ring in shared memory and says where, so that they are copied once, into the DataNode.  From
afar a reader is sent the bytes bare, behind the message that says what they are (`streams.py`).

    READ   client: READ             DataNode: LENT and the block's file, REFUSED or ELSEWHERE
    WRITE  client: WRITE and the ring, HEADER, many PIECE, FOOTER
           DataNode: FREE for each PIECE once it has a copy of its own, at last RECEIPT;
           at any time REFUSED or ELSEWHERE
    STREAM client: STREAM           DataNode: LENT and the bytes, REFUSED or ELSEWHERE

Tokens decide who may do what, as everywhere; ELSEWHERE says only that this way is not open just now
and gRPC is.  A name in the file system was chosen over an abstract one, which has no owner: any
program could take it first.
"""

import contextlib
import fcntl
import mmap
import os
import select
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from dfs.base.checksum import Buffer
from dfs.base.clock import Clock
from dfs.base.decoding import json_reader, msgpack_reader
from dfs.base.errors import BadRequest, DfsError, PeerUnreachable, from_code
from dfs.base.units import KiB, MiB
from dfs.wire.channel import MESSAGE_BYTES_MAX, PIECE_BYTES
from dfs.wire.shapes import ErrorBody

PATH_BYTES_MAX: Final = 107  # of sockaddr_un, without its NUL
PAYLOAD_BYTES_MAX: Final = MESSAGE_BYTES_MAX
_HEAD: Final = struct.Struct(">BI")
_PLACE: Final = struct.Struct(">QI")
_FILES_MAX: Final = 1
_SENT_AT_ONCE: Final = 8 * MiB
_FILE = struct.Struct("i")
_TIMEVAL = struct.Struct("@ll")

SLOTS: Final = 4  # a piece is written while others are checked, passed on and stored
HEAD_BYTES_MAX: Final = 4 * KiB
SLOT_BYTES: Final = HEAD_BYTES_MAX + PIECE_BYTES  # the head of a frame, and its data after it
RING_BYTES_MAX: Final = 64 * MiB
_SEAL_FUTURE_WRITE: Final = 0x0010  # Linux 5.1; Python has no name for it yet
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

S = TypeVar("S", bound=msgspec.Struct)


class Kind(IntEnum):
    """What a message is."""

    READ = 1
    WRITE = 2
    HEADER = 3
    PIECE = 4
    FOOTER = 5
    LENT = 6
    FREE = 7
    RECEIPT = 8
    REFUSED = 9
    ELSEWHERE = 10
    STREAM = 11


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """How a conversation begins: whom the caller means, and the block (`BlockRef`) of a READ."""

    node: int
    ref: bytes = b""


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """How a STREAM begins: whom the caller means, the block (`BlockRef`), whole chunks of it."""

    node: int
    ref: bytes
    offset: int
    length_bytes: int


class Lent(msgspec.Struct, frozen=True, array_like=True):
    """A block: its length, its hash, and the hashes of all its chunks, or of those that follow.

    The file that comes with it holds the block from its offset 0 on.
    """

    length_bytes: int
    hash: bytes
    chunk_hashes: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message that arrived; who takes it closes `file`."""

    kind: Kind
    payload: bytes
    file: int | None = None

    def drop(self) -> None:
        """Close the file that came with it."""
        if self.file is not None:
            os.close(self.file)


class LocalSocket:
    """One end of a conversation.  For one thread, but for `cancel`.

    Args:
        timeout_s: the longest that one message may take; None: until `cancel`.
    """

    def __init__(self, sock: socket.socket, *, clock: Clock, timeout_s: float | None) -> None:
        self._socket = sock
        self._clock = clock
        self._timeout_s = timeout_s
        if timeout_s is not None:
            seconds, micros = int(timeout_s), int(timeout_s % 1 * 1_000_000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(seconds, micros))

    def send(self, kind: Kind, payload: Buffer = b"", *, file: int | None = None) -> None:
        """Send a message, and an open file with it, which stays open here.

        Raises:
            PeerUnreachable: the other side is gone, or takes nothing.
        """
        assert len(payload) <= PAYLOAD_BYTES_MAX
        rights = [] if file is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _FILE.pack(file))]
        head = _HEAD.pack(kind, len(payload))
        with self._translated():
            self._socket.settimeout(self._timeout_s)
            sent = self._socket.sendmsg([head, payload], rights)
            if sent < len(head) + len(payload):
                self._socket.sendall((head + bytes(payload))[sent:])

    def receive(self, *, timeout_s: float | None = None) -> Message | None:
        """The next message; None at the end.

        Raises:
            PeerUnreachable: the other side is gone in mid-message, or silent.
            BadRequest: what came is no message.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        end_s = None if timeout_s is None else self._clock.monotonic_s() + timeout_s
        with self._translated():
            head, file = self._receive_head(end_s)
            if not head:
                return None
            try:
                kind, length = self._check(head)
                return Message(kind, self._receive_exactly(length, end_s), file)
            except BaseException:
                if file is not None:
                    os.close(file)
                raise

    def send_file(self, file: int, offset: int, length_bytes: int) -> None:
        """Send bytes of an open file bare; the kernel takes them from where they are.

        Raises:
            PeerUnreachable: the other side is gone, or took nothing; or the file does not read.
        """
        with self._translated():
            self._socket.settimeout(self._timeout_s)
            ready = select.poll()
            ready.register(self._socket, select.POLLOUT)
            wait_ms = None if self._timeout_s is None else self._timeout_s * 1000
            while length_bytes:
                if not ready.poll(wait_ms):
                    raise TimeoutError
                with contextlib.suppress(BlockingIOError):
                    count = min(length_bytes, _SENT_AT_ONCE)
                    sent = os.sendfile(self._socket.fileno(), file, offset, count)
                    if not sent:
                        raise PeerUnreachable("the file ends before the block does")
                    offset, length_bytes = offset + sent, length_bytes - sent

    def receive_bytes(self, length_bytes: int) -> bytes:
        """So many bare bytes.

        Raises:
            PeerUnreachable: the other side is gone, or silent.
        """
        with self._translated():
            # The kernel ends the wait: a socket with Python's time-out hands over each part alone.
            self._socket.settimeout(None)
            parts: list[bytes] = []
            while length_bytes:
                try:
                    part = self._socket.recv(length_bytes, socket.MSG_WAITALL)
                except BlockingIOError as exc:
                    raise TimeoutError from exc
                if not part:
                    raise PeerUnreachable("the other side ended in mid-block")
                parts.append(part)
                length_bytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def cancel(self) -> None:
        """End the conversation from another thread: what waits for the other side ends at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the conversation."""
        self._socket.close()

    def _receive_head(self, end_s: float | None) -> tuple[bytes, int | None]:
        self._settle(end_s)
        room = socket.CMSG_SPACE(_FILES_MAX * _FILE.size)
        head, rights, flags, _address = self._socket.recvmsg(
            _HEAD.size, room, socket.MSG_CMSG_CLOEXEC
        )
        files = [
            _FILE.unpack_from(data, at)[0]
            for level, kind, data in rights
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for at in range(0, len(data) - len(data) % _FILE.size, _FILE.size)
        ]
        try:
            if len(files) > _FILES_MAX or flags & socket.MSG_CTRUNC:
                raise BadRequest("more open files than one came with a message")
            if head and len(head) < _HEAD.size:
                head += self._receive_exactly(_HEAD.size - len(head), end_s)
        except BaseException:
            for file in files:
                os.close(file)
            raise
        return head, files[0] if files else None

    def _receive_exactly(self, length: int, end_s: float | None) -> bytes:
        parts: list[bytes] = []
        while length:
            self._settle(end_s)
            part = self._socket.recv(length)
            if not part:
                raise PeerUnreachable("the other side ended in mid-message")
            parts.append(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check(self, head: bytes) -> tuple[Kind, int]:
        kind, length = _HEAD.unpack(head)
        if kind not in Kind.__members__.values() or length > PAYLOAD_BYTES_MAX:
            raise BadRequest("what came over the local socket is no message")
        return Kind(kind), length

    def _settle(self, end_s: float | None) -> None:
        """What is left of the time for this message."""
        left_s = None if end_s is None else end_s - self._clock.monotonic_s()
        if left_s is not None and left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            raise PeerUnreachable("silent on the local socket") from exc
        except OSError as exc:
            raise PeerUnreachable(f"the local socket: {exc.strerror or exc}") from exc


class Ring:
    """Shared memory in which frames lie while they are handed over, in slots of one frame.

    Made by the writer, who alone writes to it: all but his own mapping is sealed against writes, or
    a DataNode could change what another is about to take, and what the writer is about to hash.
    Its size is sealed as well, so that who reads from it can neither be held nor hit by its end; he
    takes a copy and judges that, never the ring itself.
    """

    def __init__(self) -> None:
        self.file = os.memfd_create("dfs-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(self.file, 0, SLOTS * SLOT_BYTES)  # all of it now, or an error
            self._memory = memoryview(mmap.mmap(self.file, SLOTS * SLOT_BYTES))
            with contextlib.suppress(OSError):  # an older kernel
                fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(self.file)
            raise

    def room(self, number: int, length_bytes: int) -> memoryview:
        """Where the data of the `number`th frame goes."""
        assert length_bytes <= PIECE_BYTES
        at = number % SLOTS * SLOT_BYTES + HEAD_BYTES_MAX
        return self._memory[at : at + length_bytes]

    def put(self, number: int, head: bytes, length_bytes: int) -> bytes:
        """Put the head before so many bytes of data; the payload of the PIECE that says where."""
        assert len(head) <= HEAD_BYTES_MAX
        at = number % SLOTS * SLOT_BYTES + HEAD_BYTES_MAX
        begin = at - len(head)
        self._memory[begin:at] = head
        return _PLACE.pack(begin, len(head) + length_bytes)

    def close(self) -> None:
        """Give it back; the other side may have it open still."""
        os.close(self.file)


class RingReader:
    """The DataNode's end of a ring.

    Raises, on making one:
        BadRequest: it is not shared memory of a fixed, reasonable size.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        try:
            seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
        except OSError:
            seals = 0  # a file of a file system, a pipe, a device: reading it could hang
        size = os.fstat(file).st_size
        if seals & fcntl.F_SEAL_SHRINK == 0 or not 0 < size <= RING_BYTES_MAX:
            raise BadRequest("not a ring of shared memory with a sealed size")

    def take(self, payload: bytes) -> bytes:
        """A copy of the frame of which a PIECE speaks.

        Raises:
            BadRequest: it does not lie in the ring, or is too long.
        """
        if len(payload) != _PLACE.size:
            raise BadRequest("what came over the local socket is no message")
        at, length = _PLACE.unpack(payload)
        if not 0 < length <= SLOT_BYTES or at + length > RING_BYTES_MAX:
            raise BadRequest("the piece does not lie in the ring")
        frame = os.pread(self._file, length, at)
        if len(frame) != length:
            raise BadRequest("the piece does not lie in the ring")
        return frame


def connect(path: str, *, timeout_s: float) -> socket.socket:
    """A connection to the DataNode that listens at `path`.

    Raises:
        OSError: nobody does, or it is not within reach.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        with bindable(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def bindable(path: str) -> Iterator[str]:
    """The path in a form that fits into a socket address, by way of its open folder if need be."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield path
        return
    folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{Path(path).name}"
    finally:
        os.close(folder)


def is_plain_file(file: int) -> bool:
    """Whether an open file that came over a socket is one of a file system."""
    return stat.S_ISREG(os.fstat(file).st_mode)


def pack(said: msgspec.Struct) -> bytes:
    """A structure as the payload of a message."""
    return msgspec.msgpack.encode(said)


def read_payload(message: Message, kind: type[S]) -> S:
    """The payload of a message.

    Raises:
        BadRequest: it is not of that shape.
    """
    try:
        return msgpack_reader(kind)(message.payload)
    except msgspec.MsgspecError:
        raise BadRequest("a message over the local socket cannot be read") from None


def refusal(err: DfsError) -> bytes:
    """The payload of REFUSED."""
    body = ErrorBody(err.code, err.message, err.hint, err.details)
    raw = msgspec.json.encode(body, enc_hook=str)
    if len(raw) > PAYLOAD_BYTES_MAX:
        raw = msgspec.json.encode(ErrorBody(err.code, err.message[:400], err.hint[:400]))
    return raw


def refused(message: Message) -> DfsError:
    """The error that the other side refused with."""
    try:
        body = json_reader(ErrorBody)(message.payload)
    except msgspec.MsgspecError:
        return PeerUnreachable("refused in a way that cannot be read")
    return from_code(body.code, body.message, body.hint, body.details)
