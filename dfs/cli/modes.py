"""Pure: the modes that `chmod` takes, octal (`640`, `1777`) and symbolic (`u+x,go-w`).

Symbolic modes are those of POSIX chmod without set-id bits, which DFS does not have: who is any of
`ugoa` (none means all; there is no umask here), then `+`, `-` or `=`, then any of `rwxXt` or one
of `ugo` to copy from.  `X` is execute for directories and for files someone can execute already.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from dfs.base.errors import BadRequest

MODE_MAX: Final = 0o1777
STICKY: Final = 0o1000
EXECUTE_ANY: Final = 0o111
_SHIFT: Final = {"u": 6, "g": 3, "o": 0}
_BIT: Final = {"r": 4, "w": 2, "x": 1}
_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXt]*))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo]|[rwxXt]*)")


class Action(NamedTuple):
    """One change: who (`ugo`), how (`+-=`), what (`rwxXt`, or one of `ugo` to copy)."""

    who: str
    sign: str
    what: str


class ModeChange(NamedTuple):
    """What a mode argument asks for.  `fixed` when it does not depend on the mode before."""

    fixed: int | None
    actions: tuple[Action, ...] = ()

    def apply(self, mode: int, *, directory: bool) -> int:
        """The mode after the change."""
        if self.fixed is not None:
            return self.fixed
        for action in self.actions:
            mode = _applied(action, mode, directory=directory)
        return mode


def parse_mode(text: str) -> ModeChange:
    """Read an octal or symbolic mode.

    Raises:
        BadRequest: it is neither.
    """
    if text.isascii() and text.isdigit():
        return ModeChange(_octal(text))
    actions: list[Action] = []
    for part in text.split(","):
        clause = _CLAUSE.fullmatch(part)
        if clause is None:
            raise _not_a_mode(text)
        who = "ugo" if not clause[1] or "a" in clause[1] else clause[1]
        actions += [Action(who, sign, what) for sign, what in _ACTION.findall(clause[2])]
    return ModeChange(None, tuple(actions))


def _octal(text: str) -> int:
    if not set(text) <= set("01234567") or int(text, 8) > MODE_MAX:
        raise _not_a_mode(text)
    return int(text, 8)


def _not_a_mode(text: str) -> BadRequest:
    return BadRequest(
        f"not a mode: {text!r}", hint="write it like 640, 1777, u+x, go-w or a=rX (no set-id bits)"
    )


def _applied(action: Action, mode: int, *, directory: bool) -> int:
    bits = 0
    for who in action.who:
        bits |= _permission_bits(action.what, mode, directory=directory) << _SHIFT[who]
    if "t" in action.what:
        bits |= STICKY
    if action.sign == "+":
        return mode | bits
    if action.sign == "-":
        return mode & ~bits
    cleared = sum(7 << _SHIFT[who] for who in set(action.who))
    if set(action.who) == set("ugo"):
        cleared |= STICKY
    return (mode & ~cleared) | bits


def _permission_bits(what: str, mode: int, *, directory: bool) -> int:
    if what in _SHIFT:
        return mode >> _SHIFT[what] & 7
    bits = sum(_BIT[letter] for letter in set(what) & set(_BIT))
    if "X" in what and (directory or mode & EXECUTE_ANY):
        bits |= _BIT["x"]
    return bits
