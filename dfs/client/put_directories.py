"""Making the directories of a put: parents first, open to their owner until they are filled."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from dfs.base.errors import DfsError, ErrorKind, NotADirectory, PathNotFound
from dfs.base.records import FileStatus
from dfs.client.names import NamespaceCalls, is_directory
from dfs.client.put_plan import PlannedDirectory
from dfs.client.tally import Tally

_OWNER_ENTERS: Final = 0o700

Made = FileStatus | DfsError


class PutDirectories:
    """The directories of one put.

    Args:
        planned: parents come before what is in them.
        parents: make what is missing above the topmost ones too.
        on_top: told the first of them as soon as it is there.
    """

    def __init__(
        self,
        names: NamespaceCalls,
        planned: Sequence[PlannedDirectory],
        *,
        parents: bool,
        tally: Tally,
        on_top: Callable[[FileStatus], None],
    ) -> None:
        self._names = names
        self._planned = planned
        self._parents = parents
        self._tally = tally
        self._on_top = on_top
        self._refused: set[str] = set()

    def make(self) -> None:
        """Make them, one request for those of one depth and mode."""
        order = sorted(self._planned, key=_level)
        for (depth, mode), group in itertools.groupby(order, key=_level):
            paths = [d.remote for d in group if not self.is_missing_above(d.remote)]
            is_top = depth == _level(order[0])[0]
            for path, made in zip(paths, self._mkdir(paths, mode, is_top=is_top), strict=True):
                if isinstance(made, DfsError):
                    self._refused.add(path)
                    self._tally.fail(path, made)
                    continue
                self._tally.directory()
                if path == self._planned[0].remote:
                    self._on_top(made)

    def is_missing_above(self, path: str) -> bool:
        """Whether a directory above could not be made."""
        return any(path.startswith(f"{above}/") for above in self._refused)

    def close(self) -> list[str]:
        """Give those their modes that would have kept us from filling them; what went wrong."""
        complaints: list[str] = []
        closed = [d for d in self._planned if d.mode != _making_mode(d)]
        for directory in reversed(closed):
            try:
                self._names.chmod(directory.remote, directory.mode)
            except DfsError as exc:
                complaints.append(f"{directory.remote}: mode not set: {exc.message}")
        return complaints

    def _mkdir(self, paths: list[str], mode: int, *, is_top: bool) -> list[Made]:
        """The topmost directories need parents that are there, unless asked for otherwise."""
        if not is_top or self._parents:
            return [_as_directory(each) for each in self._names.mkdir_all(paths, mode=mode)]
        return [self._mkdir_one(path, mode) for path in paths]

    def _mkdir_one(self, path: str, mode: int) -> Made:
        try:
            return self._names.mkdir(path, mode=mode)
        except DfsError as refusal:
            return self._existing(path, refusal)

    def _existing(self, path: str, refusal: DfsError) -> Made:
        """What is there, if that is why it was refused and it is a directory."""
        if isinstance(refusal, PathNotFound):
            above = path.rpartition("/")[0]
            return PathNotFound(refusal.message, hint=f"make it first with: dfs mkdir -p {above}")
        if refusal.kind is not ErrorKind.CONFLICT:
            return refusal
        try:
            return _as_directory(self._names.stat(path))
        except DfsError:
            return refusal


def _level(directory: PlannedDirectory) -> tuple[int, int]:
    return directory.remote.count("/"), _making_mode(directory)


def _making_mode(directory: PlannedDirectory) -> int:
    return directory.mode | _OWNER_ENTERS


def _as_directory(found: Made) -> Made:
    if isinstance(found, FileStatus) and not is_directory(found):
        return NotADirectory("a file stands where a directory is needed")
    return found
