"""Errors at the gRPC surface: each kind's status, and the wrapping that lets no traceback out.

Our own refusals leave with their code, message and hint in the trailing metadata
(`dfs.wire.grpc_errors`).  Anything else is a bug: its stack goes to the log, the caller hears
INTERNAL.  This is one of the few places that catch every exception.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn, Protocol, TypeVar

import grpc

from dfs.base.errors import DfsError, ErrorKind, ProgramFault
from dfs.base.events import Event
from dfs.wire.grpc_errors import error_metadata

STATUS: Final[Mapping[ErrorKind, grpc.StatusCode]] = {
    ErrorKind.BAD_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.FENCED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.CORRUPT: grpc.StatusCode.DATA_LOSS,
}
_DETAILS_CHARACTERS_MAX: Final = 300


class ServiceLog(Protocol):
    """What a service writes to."""

    def emit(self, event: Event, **fields: object) -> None:
        """See `dfs.base.events.Emitter`."""
        ...

    def exception(self, where: str, exc: BaseException) -> None:
        """Record a bug with its stack."""
        ...


class Logged(Protocol):
    """A service whose methods are wrapped here."""

    @property
    def log(self) -> ServiceLog:
        """Where refusals and bugs are written."""
        ...


S = TypeVar("S", bound=Logged)
Q = TypeVar("Q")
R = TypeVar("R")
Context = grpc.ServicerContext


def answers(method: Callable[[S, Q, Context], R]) -> Callable[[S, Q, Context], R]:
    """Wrap a handler that returns one message."""

    @functools.wraps(method)
    def wrapped(service: S, request: Q, context: Context) -> R:
        try:
            return method(service, request, context)
        except Exception as exc:  # noqa: BLE001 - the server's edge
            caught = exc
        refuse(service.log, context, method.__name__, caught)

    return wrapped


def streams(
    method: Callable[[S, Q, Context], Iterator[R]],
) -> Callable[[S, Q, Context], Iterator[R]]:
    """Wrap a handler that returns a stream of messages."""

    @functools.wraps(method)
    def wrapped(service: S, request: Q, context: Context) -> Iterator[R]:
        try:
            yield from method(service, request, context)
        except Exception as exc:  # noqa: BLE001 - the server's edge
            caught = exc
        else:
            return
        refuse(service.log, context, method.__name__, caught)

    return wrapped


def refuse(log: ServiceLog, context: Context, call: str, exc: Exception) -> NoReturn:
    """End the call with what the exception means to its caller."""
    if isinstance(exc, DfsError):
        log.emit(
            Event.REQUEST_REFUSED, call=call, peer=context.peer(), code=exc.code, why=exc.message
        )
        context.set_trailing_metadata(error_metadata(exc))
        context.abort(STATUS[exc.kind], _one_line(exc.message))
    if isinstance(exc, grpc.RpcError):  # the caller hung up; nobody is left to answer
        log.emit(Event.REQUEST_REFUSED, call=call, peer=context.peer(), code="cancelled", why="")
        context.abort(grpc.StatusCode.CANCELLED, "the caller is gone")
    log.exception(call, exc)
    fault = ProgramFault("internal error of a DataNode; its log has the stack")
    context.set_trailing_metadata(error_metadata(fault))
    context.abort(grpc.StatusCode.INTERNAL, fault.message)


def _one_line(message: str) -> str:
    return message.replace("\n", " ")[:_DETAILS_CHARACTERS_MAX]
