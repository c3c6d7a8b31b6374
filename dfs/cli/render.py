"""Pure: values as people and as programs read them.

Programs: JSON with stable keys, bytes as hex, every `*_ms` accompanied by the same time in ISO 8601
UTC.  People: local time, short sizes, modes as `ls` writes them, text that cannot move the cursor.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

from dfs.base.paths import printable
from dfs.base.units import format_size

if TYPE_CHECKING:
    from dfs.base.records import FileStatus

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

STICKY: Final = 0o1000
NOTHING: Final = "-"


def to_json(value: object) -> Json:
    """The value in JSON's own types.

    Raises:
        TypeError: it is of a kind that has no JSON form here.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return _dictionary({str(key): item for key, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return _dictionary({name: getattr(value, name) for name in _field_names(value)})


def _field_names(value: object) -> Sequence[str]:
    kind = type(value)
    # Those of a dataclass, or of a msgspec struct; neither module is loaded to ask.
    names = getattr(kind, "__dataclass_fields__", getattr(kind, "__struct_fields__", None))
    if names is None:
        raise TypeError(f"no JSON form for {type(value).__name__}")
    return list(names)


def _dictionary(items: Mapping[str, object]) -> dict[str, Json]:
    made: dict[str, Json] = {}
    for key, item in items.items():
        made[key] = to_json(item)
        if key.endswith("_ms") and isinstance(item, int):
            made.setdefault(key.removesuffix("_ms"), iso(item))
    return made


def status_json(status: FileStatus) -> dict[str, Json]:
    """A file or directory for programs: `mode` in octal, `permissions` as `ls` writes it."""
    made = to_json(status)
    assert isinstance(made, dict)
    made["mode"] = f"{status.mode:04o}"
    made["permissions"] = permissions(status.mode)
    return made


def iso(at_ms: int) -> str:
    """``2026-11-22T10:54:00.123Z``; the empty string for a time that never was."""
    moment = _moment(at_ms)
    if moment is None:
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def local_time(at_ms: int) -> str:
    """``2026-11-22 10:54`` where the reader sits."""
    moment = _moment(at_ms)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment and at_ms else NOTHING


def local_time_exact(at_ms: int) -> str:
    """``2026-11-22 10:54:00.123 +0100``."""
    moment = _moment(at_ms)
    if moment is None or not at_ms:
        return NOTHING
    here = moment.astimezone()
    return here.strftime("%Y-%m-%d %H:%M:%S") + f".{at_ms % 1000:03d}" + here.strftime(" %z")


def _moment(at_ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(at_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # a time no calendar holds: shown as unknown


def permissions(mode: int) -> str:
    """``rwxr-xr-x``, the last letter ``t`` or ``T`` where sticky."""
    letters = [letter if mode >> (8 - at) & 1 else "-" for at, letter in enumerate("rwxrwxrwx")]
    if mode & STICKY:
        letters[-1] = "t" if mode & 1 else "T"
    return "".join(letters)


def size(size_bytes: int, *, human: bool) -> str:
    """Bytes, or ``1.5 GiB``."""
    return format_size(size_bytes) if human else str(size_bytes)


def percent(part: int, whole: int) -> str:
    """``42%``; a dash of nothing."""
    return f"{100 * part / whole:.0f}%" if whole > 0 else NOTHING


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``5,120 files``."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number:,} {word}"


def plain(text: str) -> str:
    """The text for one line: control characters escaped, so a name can neither lie nor beep."""
    return text if text.isprintable() else printable(text)


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """The text filled with spaces to that many columns."""
    fill = " " * max(0, columns - width(text))
    return fill + text if right else text + fill


def in_columns(
    names: Sequence[str], line_width: int, *, style: Callable[[str], str] = str
) -> list[str]:
    """Names laid out downwards in as few lines as fit, as `ls` does on a terminal.

    Args:
        style: may dress a name in characters that take no room.
    """
    widths = [width(name) + 2 for name in names]
    for lines in range(1, len(names) + 1):
        stretches = [range(at, min(at + lines, len(names))) for at in range(0, len(names), lines)]
        needs = [max(widths[i] for i in stretch) for stretch in stretches]
        if sum(needs) - 2 <= line_width:
            return [
                "".join(
                    style(names[stretch[line]]) + " " * (need - widths[stretch[line]] + 2)
                    for stretch, need in zip(stretches, needs, strict=True)
                    if line < len(stretch)
                ).rstrip()
                for line in range(lines)
            ]
    return [style(name) for name in names]
