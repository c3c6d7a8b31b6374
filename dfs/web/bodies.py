"""Pure: what a request says, read into the route's shape or refused by the name of the field.

A body is JSON; a GET of a safe route says the same by query parameters, a list by repeating its
name.  Lists are bounded here, before any of their items is looked at.
"""

import re
from collections.abc import Mapping
from typing import Final, Generic, TypeVar, get_origin, get_type_hints

import msgspec

from dfs.base.decoding import json_reader
from dfs.base.errors import BadRequest, LimitExceeded
from dfs.wire.routes import Route
from dfs.wire.shapes import Request

Q = TypeVar("Q", bound=Request)

_SHOWN_CHARS: Final = 200
_INT_MAX: Final = 2**63 - 1
_MAYBE_TOO_LARGE: Final = re.compile(rb"[0-9]{19}")  # 2**63 has as many digits


class BodyReader(Generic[Q]):
    """Reads the requests of one route."""

    def __init__(self, route: Route[Q, object], *, items_max: int) -> None:
        self._kind = route.takes
        self._decode = json_reader(route.takes)
        self._lists = _list_fields(route.takes)
        self._items_max = items_max

    def from_json(self, raw: bytes) -> Q:
        """The request in a body; an empty body says nothing.

        Raises:
            BadRequest: not JSON, an unknown or missing field, or a value of another type.
            LimitExceeded: a list with too many items.
        """
        try:
            body = self._decode(raw or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise BadRequest(f"request not understood: {_first_words(exc)}") from None
        if _MAYBE_TOO_LARGE.search(raw):  # hardly ever: most bodies are not looked at twice
            _refuse_wide(msgspec.to_builtins(body), "$")
        return self._bounded(body)

    def from_query(self, query: Mapping[str, list[str]]) -> Q:
        """The request in query parameters.

        Raises:
            as `from_json`.
        """
        fields = {k: v if k in self._lists else v[-1] for k, v in query.items()}
        try:
            body = msgspec.convert(fields, self._kind, strict=False)
        except msgspec.ValidationError as exc:
            raise BadRequest(f"request not understood: {_first_words(exc)}") from None
        _refuse_wide(msgspec.to_builtins(body), "$")
        return self._bounded(body)

    def _bounded(self, body: Q) -> Q:
        for name in self._lists:
            count = len(getattr(body, name))
            if count > self._items_max:
                raise LimitExceeded(
                    f"{name} holds {count} items, more than {self._items_max}",
                    hint="send several requests; the bound is [limits] batch_items_max",
                )
        return body


def _refuse_wide(value: object, where: str) -> None:
    """Refuse a number that 64 bits with a sign do not hold: the database could not keep it.

    Raises:
        BadRequest: `where` says which one.
    """
    if isinstance(value, int) and not -_INT_MAX - 1 <= value <= _INT_MAX:
        raise BadRequest(f"request not understood: a number beyond 64 bits - at `{where}`")
    if isinstance(value, dict):
        for name, each in value.items():
            _refuse_wide(each, f"{where}.{name}")
    if isinstance(value, list):
        for at, each in enumerate(value):
            _refuse_wide(each, f"{where}[{at}]")


def _list_fields(kind: type[Request]) -> tuple[str, ...]:
    hints = get_type_hints(kind)
    return tuple(name for name, hint in hints.items() if get_origin(hint) is list)


def _first_words(exc: Exception) -> str:
    return str(exc)[:_SHOWN_CHARS]
