"""The frames of an upload from a program of this computer, taken out of its shared memory.

Each frame is copied once, into memory of ours, before anything of it is looked at: what the writer
does to its ring afterwards changes nothing.  The place is free for the next frame at once.
"""

from dfs.base.errors import BadRequest, PeerUnreachable
from dfs.wire.frames import Frame, read_frame
from dfs.wire.local_socket import Kind, LocalSocket, RingReader


class LocalInflow:
    """Messages of one upload; see `dfs.rpc.upload.Messages`."""

    def __init__(self, line: LocalSocket, ring: RingReader) -> None:
        self._line = line
        self._ring = ring

    def next(self) -> Frame:
        """The next message.

        Raises:
            PeerUnreachable: the writer is gone, or silent for too long.
            BadRequest: what came is no part of an upload.
        """
        message = self._line.receive()
        if message is None:
            raise PeerUnreachable("the writer is gone")
        if message.file is not None:
            message.drop()
            raise BadRequest("an open file came in the middle of an upload")
        match message.kind:
            case Kind.PIECE:
                frame = read_frame(self._ring.take(message.payload))
                self._line.send(Kind.FREE)
                return frame
            case Kind.HEADER | Kind.FOOTER:
                return read_frame(message.payload)
            case _:
                raise BadRequest("what came over the local socket is no part of an upload")
