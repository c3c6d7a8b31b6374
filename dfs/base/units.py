"""Pure: sizes and durations, as people write and read them."""

import re
from typing import Final

from dfs.base.errors import BadRequest

KiB: Final = 1 << 10
MiB: Final = 1 << 20
GiB: Final = 1 << 30
TiB: Final = 1 << 40

_SIZE_UNITS = {"": 1, "b": 1, "k": KiB, "m": MiB, "g": GiB, "t": TiB}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes meant by ``128MiB``, ``64 k``, ``1.5G`` or ``4096``; units are powers of 1024.

    Raises:
        BadRequest: not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadRequest(f"not a size: {text!r}", hint="write it like 128MiB, 64k or 4096")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def parse_duration_s(text: str) -> float:
    """Seconds meant by ``3s``, ``500ms``, ``10m``, ``24h``, ``14d`` or ``30``.

    Raises:
        BadRequest: not a duration.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadRequest(f"not a duration: {text!r}", hint="write it like 30s, 10m, 24h or 14d")
    return float(match[1]) * _DURATION_UNITS[match[2].lower()]


def format_size(size_bytes: float) -> str:
    """``1.5 GiB``: three significant figures, or whole bytes below 1 KiB."""
    value, units = float(size_bytes), ["KiB", "MiB", "GiB", "TiB"]
    if abs(value) < KiB:
        return f"{int(value)} B"
    value, unit = value / KiB, units.pop(0)
    while abs(value) >= 1000 and units:
        value, unit = value / KiB, units.pop(0)
    return f"{value:.3g} {unit}" if abs(value) < 1000 else f"{value:.0f} {unit}"


def format_duration(seconds: float) -> str:
    """``2d 3h``, ``4m 05s``, ``1.2s``: the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest_s = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest_s:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}h"
