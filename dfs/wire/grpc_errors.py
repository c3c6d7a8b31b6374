"""How a refusal travels over gRPC: JSON in the trailing metadata, and the same class again there.

The gRPC status carries the kind for programs that are not ours (`dfs.rpc.errors`); the metadata
carries code, message, hint and details.  An answer without it did not come from a handler of ours:
the peer is gone, or something between lost the call.
"""

from typing import Final

import grpc
import msgspec

from dfs.base.decoding import json_reader
from dfs.base.errors import DfsError, Overloaded, PeerUnreachable, from_code
from dfs.wire.shapes import ErrorBody

ERROR_KEY: Final = "dfs-error-bin"
# HTTP/2 peers refuse headers over 8 KiB; long texts and lists of details are cut to stay below.
ERROR_BYTES_MAX: Final = 6 * 1024
_TEXT_CHARACTERS_MAX: Final = 400


def error_metadata(err: DfsError) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that carries the error."""
    raw = msgspec.json.encode(ErrorBody(err.code, err.message, err.hint, err.details), enc_hook=str)
    if len(raw) > ERROR_BYTES_MAX:
        short = err.message[:_TEXT_CHARACTERS_MAX], err.hint[:_TEXT_CHARACTERS_MAX]
        raw = msgspec.json.encode(ErrorBody(err.code, *short))
    return ((ERROR_KEY, raw),)


def from_rpc_error(exc: grpc.RpcError, peer: str) -> DfsError:
    """The error that the far side raised.

    Args:
        exc: what a stub's call raised.
        peer: whom we called, for messages (`dn-3`, `10.0.0.5:9866`).

    Returns:
        The same class as over there; `Overloaded` when its gRPC server turned the call away;
        `PeerUnreachable` when no word of ours came back.
    """
    call = _call_of(exc)
    if call is None:
        return PeerUnreachable(f"{peer}: {exc}")
    body = _body_in(call)
    if body is not None:
        return from_code(body.code, body.message, body.hint, body.details)
    status, words = call.code(), (call.details() or "").strip()
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"{peer}: too many transfers at once")
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return PeerUnreachable(f"{peer}: no answer in time")
    return PeerUnreachable(f"{peer}: {words[:_TEXT_CHARACTERS_MAX] or status.name.lower()}")


def _call_of(raised: object) -> grpc.Call | None:
    """What a stub raises is a `grpc.Call` too; the library's types do not say so."""
    return raised if isinstance(raised, grpc.Call) else None


def _body_in(call: grpc.Call) -> ErrorBody | None:
    for key, value in call.trailing_metadata() or ():
        if key == ERROR_KEY:
            return _decoded(value)
    return None


def _decoded(raw: str | bytes) -> ErrorBody | None:
    try:
        return json_reader(ErrorBody)(raw)
    except msgspec.MsgspecError:
        return None
