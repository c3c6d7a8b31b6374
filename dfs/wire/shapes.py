"""What every REST shape is built from: requests that refuse unknown fields, replies, outcomes.

One struct a shape, read by the server and the client alike; `routes.py` says which belongs to which
address.  Every batch answers one `Outcome` an item, in the order asked: a refused item does not
undo the others unless `atomic` was asked for.
"""

from typing import Annotated, Generic, TypeVar

import msgspec

from dfs.base.errors import DfsError, from_code

T = TypeVar("T")
Paths = Annotated[list[str], msgspec.Meta(min_length=1)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a caller sends: unknown fields are refused."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered: a newer server may say more than an older client reads."""


class Nothing(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No fields."""


class Done(Reply, frozen=True, kw_only=True):
    """It is done; there is nothing more to say."""

    done: bool = True


class ErrorBody(msgspec.Struct, frozen=True):
    """A refusal: stable code, what happened, what to do next, facts."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, object] = msgspec.field(default_factory=dict)


class ErrorReply(msgspec.Struct, frozen=True):
    """The body of every answer that is not 2xx."""

    error: ErrorBody


class Outcome(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """One item of a batch: its value, or why not."""

    value: T | None = None
    error: ErrorBody | None = None


class Outcomes(Reply, Generic[T], frozen=True, kw_only=True):
    """The answer to a batch, in the order asked."""

    outcomes: list[Outcome[T]]


class NameRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The account, group or node meant."""

    name: str


def error_body(error: DfsError) -> ErrorBody:
    """A refusal as it travels."""
    return ErrorBody(error.code, error.message, error.hint, error.details)


def raised(body: ErrorBody) -> DfsError:
    """The refusal that travelled, as an error to raise."""
    return from_code(body.code, body.message, body.hint, body.details)
