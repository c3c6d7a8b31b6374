"""The yardstick: the same bytes copied to the same disk without DFS, twice, and synced."""

import os
import shutil
from pathlib import Path

from dfs.base.entropy import Random
from dfs.base.units import KiB, MiB

FOLDERS, FILES_EACH, FILE_BYTES = 50, 100, 8 * KiB


def make_large(path: Path, size_bytes: int) -> None:
    """A file of random bytes."""
    rng = Random(1)
    with path.open("wb") as out:
        for _ in range(0, size_bytes, 4 * MiB):
            out.write(rng.randbytes(min(4 * MiB, size_bytes - out.tell())))
        os.fsync(out.fileno())


def make_tree(root: Path) -> None:
    """50 folders with 100 files of 8 KiB each."""
    rng = Random(2)
    for folder in range(FOLDERS):
        place = root / f"folder-{folder:02}"
        place.mkdir(parents=True)
        for number in range(FILES_EACH):
            (place / f"file-{number:03}").write_bytes(rng.randbytes(FILE_BYTES))


def copy_large_twice(source: Path, target: Path) -> None:
    """Two copies, each fdatasynced: what two DataNodes must at least do."""
    for number in (1, 2):
        copy = target / f"copy-{number}"
        shutil.copyfile(source, copy)
        with copy.open("rb") as written:
            os.fdatasync(written.fileno())


def copy_large_once(source: Path, target: Path) -> None:
    """One copy, not synced: what a get must at least do."""
    shutil.copyfile(source, target / "copy")


def copy_tree_twice(source: Path, target: Path) -> None:
    """Two copies of a tree, with one sync of the file system at the end."""
    for number in (1, 2):
        shutil.copytree(source, target / f"copy-{number}", copy_function=shutil.copyfile)
    os.sync()


def copy_tree_once(source: Path, target: Path) -> None:
    """One copy of a tree, not synced."""
    shutil.copytree(source, target / "copy", copy_function=shutil.copyfile)
