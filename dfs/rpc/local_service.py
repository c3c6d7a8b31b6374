"""Reads and writes of programs on this computer, over a Unix socket: check, lend or take, answer.

The same gate, disk and uploads as behind gRPC.  A reader whose token allows all of a block is lent
its file, open for reading, with the chunk hashes it was written with, and verifies for himself what
he reads.  What he may keep open beyond the life of his token are bytes that he was allowed to read
and that never change; retiring, quarantine and purge rename and unlink, so they do not wait for
him, and the room of a purged block is free once he closes it.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Final

from google.protobuf.message import DecodeError

from dfs.base.errors import BadRequest, DfsError, PeerUnreachable, ProgramFault
from dfs.base.events import Event
from dfs.nodes.standing import Standing
from dfs.rpc.block_disk import BlockDisk
from dfs.rpc.errors import ServiceLog
from dfs.rpc.gate import Gate
from dfs.rpc.local_inflow import LocalInflow
from dfs.rpc.traffic import Traffic
from dfs.rpc.upload import Uploads
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.local_socket import (
    Asked,
    Kind,
    Lent,
    LocalSocket,
    Message,
    RingReader,
    pack,
    read_payload,
    refusal,
)

HEADER_WAIT_S: Final = 5.0  # who does not say what he wants gives his place up


@dataclass(frozen=True, slots=True)
class LocalService:
    """What is done with each conversation."""

    disk: BlockDisk
    gate: Gate
    standing: Standing
    uploads: Uploads
    _: KW_ONLY
    traffic: Traffic
    log: ServiceLog

    def converse(self, line: LocalSocket) -> None:
        """Hear what is wanted and do it; whatever happens, the other side hears of it."""
        answer(line, self._serve, way="local", log=self.log)

    def _serve(self, line: LocalSocket, first: Message) -> None:
        if first.kind not in (Kind.READ, Kind.WRITE):
            raise BadRequest("a conversation begins with READ or WRITE")
        asked = read_payload(first, Asked)
        if asked.node != self.standing.node:
            say(line, Kind.ELSEWHERE)
        elif first.kind is Kind.READ:
            self._lend(line, asked.ref)
        else:
            self._take(line, first)

    def _lend(self, line: LocalSocket, raw: bytes) -> None:
        with self.traffic.call("local_read"):
            # All of the block or nothing: an open file has no window.
            name = self.gate.admit_reader(read_ref(raw), ())
            with self.disk.lend(name) as file:
                truth = file.truth
                lent = Lent(truth.length_bytes, truth.hash, file.label.chunk_hashes)
                line.send(Kind.LENT, pack(lent), file=file.fileno())
            self.traffic.lent(truth.length_bytes)

    def _take(self, line: LocalSocket, first: Message) -> None:
        with self.traffic.call("local_write"):
            if first.file is None:
                raise BadRequest("a local write comes with its ring")
            ring = RingReader(first.file)
            receipt = self.uploads.receive(LocalInflow(line, ring, first_s=HEADER_WAIT_S))
            line.send(Kind.RECEIPT, receipt.SerializeToString())


def answer(
    line: LocalSocket, serve: Callable[[LocalSocket, Message], None], *, way: str, log: ServiceLog
) -> None:
    """Hear what is wanted and do it; whatever happens, the other side hears of it."""
    call = way
    try:
        first = line.receive(timeout_s=HEADER_WAIT_S)
        if first is None:
            return
        call = f"{way} {first.kind.name.lower()}"
        try:
            serve(line, first)
        finally:
            first.drop()
    except PeerUnreachable as err:  # nobody is left to answer
        _log_refusal(log, call, way, err)
    except DfsError as err:
        _log_refusal(log, call, way, err)
        say(line, Kind.REFUSED, refusal(err))
    except Exception as bug:  # noqa: BLE001 - the server's edge
        log.exception(call, bug)  # noqa: TRY401 - ours takes it
        fault = ProgramFault("internal error of a DataNode; its log has the stack")
        say(line, Kind.REFUSED, refusal(fault))


def read_ref(raw: bytes) -> pb.BlockRef:
    """The block that a payload names.

    Raises:
        BadRequest: it names none.
    """
    try:
        return pb.BlockRef.FromString(raw)
    except DecodeError:
        raise BadRequest("the block's name cannot be read") from None


def say(line: LocalSocket, kind: Kind, payload: bytes = b"") -> None:
    """Send a message; that the other side is gone is no matter any more."""
    try:
        line.send(kind, payload)
    except PeerUnreachable:
        return


def _log_refusal(log: ServiceLog, call: str, peer: str, err: DfsError) -> None:
    log.emit(Event.REQUEST_REFUSED, call=call, peer=peer, code=err.code, why=err.message)
