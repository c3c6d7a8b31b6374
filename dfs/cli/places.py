"""What a remote path on a command line means: where it begins, and which names a pattern matches.

Relative paths begin in the working directory of the shell, else in the user's home.  `*`, `?` and
`[...]` match names in DFS as a shell matches local ones, except that a path which exists exactly
as written is that path: a name may hold a star, and `rm 'a*'` must not take more than was meant.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from dfs.base.errors import NotADirectory, PathNotFound
from dfs.base.paths import ROOT, join, parse

if TYPE_CHECKING:
    from dfs.base.records import FileStatus

_MAGIC: Final = re.compile(r"[*?\[]")


class Tree(Protocol):
    """What is asked of the cluster to match a pattern."""

    def stat(self, path: str) -> FileStatus:
        """Status of one path; `PathNotFound`."""
        ...

    def listdir(self, path: str) -> Iterator[FileStatus]:
        """Entries of a directory in name order; `NotADirectory`, `PathNotFound`."""
        ...


def has_pattern(path: str) -> bool:
    """Whether the path may be a pattern."""
    return _MAGIC.search(path) is not None


def expand(path: str, tree: Tree) -> list[str]:
    """The absolute paths that an absolute path or pattern means, in name order.

    A pattern that matches nothing is given back as it is: what is done to it then fails with the
    name the user typed.

    Raises:
        DfsError: what the cluster refuses, except for what does not exist.
    """
    if not has_pattern(path) or _exists(path, tree):
        return [path]
    found = [ROOT]
    for name in parse(path):
        if has_pattern(name):
            found = [join(at, match) for at in found for match in _matches(at, name, tree)]
        else:
            found = [join(at, name) for at in found]
    kept = found if has_pattern(parse(path)[-1]) else [at for at in found if _exists(at, tree)]
    return kept or [path]


def _exists(path: str, tree: Tree) -> bool:
    try:
        tree.stat(path)
    except (PathNotFound, NotADirectory):
        return False
    return True


def _matches(directory: str, pattern: str, tree: Tree) -> list[str]:
    wanted = name_matcher(pattern)
    try:
        names = [entry.path.rpartition("/")[2] for entry in tree.listdir(directory)]
    except (PathNotFound, NotADirectory):
        return []
    return [name for name in names if wanted(name)]


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name fits; as in shells, a leading dot is matched by a dot only."""
    fits = re.compile(fnmatch.translate(pattern)).match
    shows_hidden = pattern.startswith(".")
    return lambda name: fits(name) is not None and (shows_hidden or not name.startswith("."))
