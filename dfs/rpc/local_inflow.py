"""The frames of an upload from a program of this computer, taken out of its shared memory.

Each frame is copied once, into memory of ours, before anything of it is looked at: what the writer
does to its ring afterwards changes nothing.  The place is free for the next frame at once.
"""

from google.protobuf.message import DecodeError

from dfs.base.errors import BadRequest, PeerUnreachable
from dfs.wire.frames import Frame, read_frame
from dfs.wire.local_socket import Kind, LocalSocket, RingReader


class LocalInflow:
    """Messages of one upload; see `dfs.rpc.upload.Messages`.

    Args:
        first_s: the longest silence before the first one: who has shown no token yet holds a place
            among the conversations no longer than that.
    """

    def __init__(self, line: LocalSocket, ring: RingReader, *, first_s: float) -> None:
        self._line = line
        self._ring = ring
        self._wait_s: float | None = first_s

    def next(self) -> Frame:
        """The next message.

        Raises:
            PeerUnreachable: the writer is gone, or silent for too long.
            BadRequest: what came is no part of an upload.
        """
        message = self._line.receive(timeout_s=self._wait_s)
        self._wait_s = None  # from now on, the longest silence of the line
        if message is None:
            raise PeerUnreachable("the writer is gone")
        if message.file is not None:
            message.drop()
            raise BadRequest("an open file came in the middle of an upload")
        match message.kind:
            case Kind.PIECE:
                frame = _frame(self._ring.take(message.payload))
                self._line.send(Kind.FREE)
                return frame
            case Kind.HEADER | Kind.FOOTER:
                return _frame(message.payload)
            case _:
                raise _no_part()


def _frame(raw: bytes) -> Frame:
    try:
        return read_frame(raw)
    except DecodeError:
        raise _no_part() from None


def _no_part() -> BadRequest:
    return BadRequest("what came over the local socket is no part of an upload")
