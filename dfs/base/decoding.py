"""Reading JSON and MessagePack into values, from many threads at once.

What msgspec works out of a structure's annotations, when it is first asked for, other threads see
before it is complete: one that reads the same structure meanwhile follows a null pointer, and the
process dies.  So it is worked out here, one type at a time, before anybody uses it.
"""

import threading
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")
_one_at_a_time = threading.Lock()


@cache
def _reader(decoder: Any, kind: Hashable) -> Callable[[Any], Any]:
    with _one_at_a_time:
        return decoder(kind).decode  # type: ignore[no-any-return]


def json_reader(kind: type[T]) -> Callable[[bytes | str], T]:
    """What reads JSON as that type; it raises `msgspec.MsgspecError`."""
    return _reader(msgspec.json.Decoder, cast(Hashable, kind))


def msgpack_reader(kind: type[T]) -> Callable[[bytes | memoryview], T]:
    """What reads MessagePack as that type; it raises `msgspec.MsgspecError`."""
    return _reader(msgspec.msgpack.Decoder, cast(Hashable, kind))
