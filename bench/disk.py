"""The yardstick: the same bytes copied to the same disk without DFS, twice, and synced."""

import os
from pathlib import Path

from bench.commands import run
from dfs.base.entropy import Random
from dfs.base.units import MiB


def make_large(path: Path, size_bytes: int) -> None:
    """A file of random bytes."""
    rng = Random(1)
    with path.open("wb") as out:
        for offset in range(0, size_bytes, 4 * MiB):
            out.write(rng.randbytes(min(4 * MiB, size_bytes - offset)))
        os.fsync(out.fileno())


def make_tree(root: Path, folders: int, files_each: int, *, file_bytes: int) -> None:
    """Folders with so many files each."""
    rng = Random(2)
    for folder in range(folders):
        place = root / f"folder-{folder:02}"
        place.mkdir(parents=True)
        for number in range(files_each):
            (place / f"file-{number:03}").write_bytes(rng.randbytes(file_bytes))


def copy_large_twice(source: Path, target: Path) -> None:
    """Two copies, each fdatasynced: what two DataNodes must at least do."""
    for number in (1, 2):
        run(["dd", f"if={source}", f"of={target}/copy-{number}", "bs=1M", "conv=fdatasync"])


def cat(source: Path, target: Path) -> None:
    """One copy, as `cat` makes it: what a get must at least do."""
    run(["sh", "-c", 'exec cat "$1" > "$2"', "sh", str(source), str(target / "copy")])


def copy_tree_twice(source: Path, target: Path) -> None:
    """Two copies of a tree, with one sync of the file system at the end."""
    for number in (1, 2):
        run(["cp", "-r", str(source), str(target / f"copy-{number}")])
    os.sync()


def copy_tree_once(source: Path, target: Path) -> None:
    """One copy of a tree, not synced."""
    run(["cp", "-r", str(source), str(target / "copy")])
