"""Pure: what a DFS path may be.

A path is absolute, UTF-8, and means exactly what it says: nothing is resolved or folded except
that one trailing slash is allowed.  What is refused is refused by name, never mended in silence.
"""

from collections.abc import Iterator
from typing import Final

from dfs.base.errors import BadPath, LimitExceeded

NAME_BYTES_MAX: Final = 255
PATH_BYTES_MAX: Final = 4096
DEPTH_MAX: Final = 128
ROOT: Final = "/"
HOME_PARENT: Final = "/user"
RESERVED: Final = "/.dfs"  # what DFS keeps for itself


def parse(path: str) -> tuple[str, ...]:
    """The names on the way from the root; the root itself is ().

    Raises:
        BadPath: not absolute, an empty, `.` or `..` component, NUL, or text that is not UTF-8.
        LimitExceeded: a name over 255 bytes, a path over 4,096, or deeper than 128.
    """
    if not path.startswith("/"):
        raise BadPath(f"path is not absolute: {path!r}")
    if path == ROOT:
        return ()
    names = path.removesuffix("/")[1:].split("/")
    for name in names:
        check_name(name, path)
    if len(path.encode()) > PATH_BYTES_MAX:
        raise LimitExceeded(f"path is longer than {PATH_BYTES_MAX} bytes: {path[:80]!r}...")
    if len(names) > DEPTH_MAX:
        raise LimitExceeded(f"path is deeper than {DEPTH_MAX} directories: {path[:80]!r}...")
    return tuple(names)


def check_name(name: str, path: str) -> None:
    """Refuse a name that cannot be an entry of a directory.

    Raises:
        BadPath: empty, `.`, `..`, with a slash or NUL, or not UTF-8.
        LimitExceeded: over 255 bytes.
    """
    if name in ("", ".", ".."):
        raise BadPath(f"{name!r} cannot be a name in DFS: {path!r}")
    if "\0" in name or "/" in name:
        raise BadPath(f"a name cannot hold NUL or '/': {path!r}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise BadPath(f"name is not valid UTF-8: '{printable(path)}'") from None
    if len(encoded) > NAME_BYTES_MAX:
        raise LimitExceeded(f"name is longer than {NAME_BYTES_MAX} bytes: {name[:40]!r}...")


def join(parent: str, name: str) -> str:
    """The path of `name` in the directory `parent`."""
    return f"{parent.removesuffix('/')}/{name}"


def build(names: tuple[str, ...]) -> str:
    """The path with those names from the root."""
    return "/" + "/".join(names)


def split(path: str) -> tuple[str, str]:
    """`(parent, name)` of a path that is not the root.

    Raises:
        BadPath: it is the root, or not a path.
    """
    names = parse(path)
    if not names:
        raise BadPath("the root directory has no name and no parent")
    return build(names[:-1]), names[-1]


def is_reserved(path: str) -> bool:
    """Whether it is DFS's own: nobody else changes it, and listings of what is above omit it."""
    return path == RESERVED or path.startswith(RESERVED + "/")


def home(user: str) -> str:
    """Where a user's relative paths begin."""
    return f"{HOME_PARENT}/{user}"


def absolute(path: str, base: str) -> str:
    """What a user means by `path` while standing in `base`: here `.` and `..` are understood.

    For command lines only; what goes on the wire has been through here.
    """
    stack: list[str] = []
    for name in _components(path, base):
        if name == "..":
            del stack[-1:]
        else:
            stack.append(name)
    return build(tuple(stack))


def _components(path: str, base: str) -> Iterator[str]:
    whole = path if path.startswith("/") else f"{base}/{path}"
    return (name for name in whole.split("/") if name not in ("", "."))


def printable(path: str) -> str:
    """The path for one line of a terminal: control characters and bytes of bad UTF-8 escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in path)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python carries a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
