"""Which block files lie in the quarantine of one data folder, without listing it each time.

The folder is read once, at the start; who moves a file in or out says so here.  Knows names and
ages, moves nothing (`removal` does) and decides nothing.
"""

import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from dfs.base.records import BlockName
from dfs.blockstore.layout import BUCKETS, SetAside, parse_set_aside


class Quarantine:
    """The files by block.  Safe for many threads."""

    def __init__(self, files: Iterator[tuple[Path, SetAside]]) -> None:
        self._lock = threading.Lock()
        self._files: dict[BlockName, dict[Path, int]] = {}
        for path, what in files:
            self._files.setdefault(what.name, {})[path] = what.at_ms

    def __len__(self) -> int:
        with self._lock:
            return sum(len(files) for files in self._files.values())

    def added(self, path: Path) -> None:
        """A block file was moved in."""
        what = parse_set_aside(path.name)
        assert what is not None
        with self._lock:
            self._files.setdefault(what.name, {})[path] = what.at_ms

    def removed(self, name: BlockName) -> None:
        """Every file of a block was moved out."""
        with self._lock:
            self._files.pop(name, None)

    def of(self, name: BlockName) -> list[Path]:
        """The files that were once this block."""
        with self._lock:
            return list(self._files.get(name, ()))

    def due(self, before_ms: int) -> list[tuple[int, BlockName]]:
        """`(since when, block)` of the blocks whose every file came here before a time."""
        with self._lock:
            newest = [(max(files.values()), name) for name, files in self._files.items()]
        return [each for each in newest if each[0] < before_ms]

    def by_bucket(self) -> dict[int, Collection[BlockName]]:
        """The blocks by the bucket folder they were in."""
        found: dict[int, set[BlockName]] = {}
        with self._lock:
            for name in self._files:
                found.setdefault(name.file % BUCKETS, set()).add(name)
        return dict(found)
