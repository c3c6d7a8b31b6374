"""What the demo stores, and how it is compared afterwards.

Something real: a copy of the standard library of the Python that runs this, hundreds of files of
every size; and something large: one file of random bytes, which no layer can compress or guess.
Comparing is by SHA-256 of whole files, computed apart from anything DFS computes.
"""

import hashlib
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base.entropy import Random
from dfs.base.units import MiB

# What Python or pip put beside it, and its own tests: two thirds of its files.
_LEFT_OUT: Final = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "*.a", "test", "tests", "idle_test"
)
_READ_BYTES: Final = 4 * MiB


@dataclass(frozen=True, slots=True)
class Prints:
    """The SHA-256 of every file of a tree, by relative path, its folders, and its total size."""

    files: dict[str, str]
    folders: frozenset[str]
    size_bytes: int

    def differences(self, other: "Prints") -> list[str]:
        """In words, what is not the same there."""
        words = [f"missing: {name}" for name in self.files if name not in other.files]
        words += [f"not asked for: {name}" for name in other.files if name not in self.files]
        words += [
            f"differs: {name}"
            for name, digest in self.files.items()
            if other.files.get(name, digest) != digest
        ]
        return words + [f"folder differs: {name}" for name in self.folders ^ other.folders]


def copy_library(target: Path) -> None:
    """Copy Python's own library there, without its tests and what was put beside it."""
    source = sysconfig.get_path("stdlib")
    shutil.copytree(source, target, ignore=_LEFT_OUT, ignore_dangling_symlinks=True)


def write_random(target: Path, size_bytes: int, *, rng: Random) -> None:
    """A file of that many random bytes."""
    with target.open("wb") as out:
        left = size_bytes
        while left > 0:
            out.write(rng.randbytes(min(left, _READ_BYTES)))
            left -= _READ_BYTES


def take_prints(root: Path) -> Prints:
    """Read everything below `root`."""
    files: dict[str, str] = {}
    folders: set[str] = set()
    size_bytes = 0
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            folders.add(name)
        else:
            files[name] = digest_of(path)
            size_bytes += path.stat().st_size
    return Prints(files, frozenset(folders), size_bytes)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
