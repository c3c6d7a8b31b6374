"""The scrubber of one volume, unthrottled, against plain reading of the same files.

    python -m bench.scrub [--size 2GiB] [--block 16MiB] [--data FOLDER]

Each round drops the files from the page cache (posix_fadvise DONTNEED), lets the scrubber do a pass
that was ordered, which no rate limits, drops them again and reads the same files with plain reads
of 1 MiB, thrown away.  What is between the two is hashing, the catalog, and dropping from the cache
what was read.
"""

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.figures import Figures
from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import SystemClock
from dfs.base.entropy import Random, new_id
from dfs.base.events import SilentEmitter
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName
from dfs.base.units import GiB, MiB, format_size, parse_size
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.scrub import VolumeScrubber
from dfs.blockstore.store import BlockStore
from dfs.settings.sections import DatanodeConfig, ScrubConfig

SCRUB, READ = "scrub", "plain read"
PIECE_BYTES = 1 * MiB
ROUNDS = 3


@contextlib.contextmanager
def a_store(folder: Path) -> Iterator[BlockStore]:
    """A DataNode's store on one folder."""
    config = DatanodeConfig(reserve_bytes=0, reserve_percent=0.0)
    store = BlockStore.open([folder], config=config, clock=SystemClock(), emit=SilentEmitter())
    try:
        store.adopt(NodeIdentity(new_id(), store.uuid, NodeId(1), "secret"))
        yield store
    finally:
        store.close(clean=True)


def fill(store: BlockStore, *, size_bytes: int, block_bytes: int) -> None:
    """Blocks of random bytes, of that size in all."""
    rng = Random(1)
    for number, offset in enumerate(range(0, size_bytes, block_bytes)):
        data = rng.randbytes(min(block_bytes, size_bytes - offset))
        name = BlockName(InodeId(1), number, BlockId(number + 1), Generation(1))
        with store.begin(name, path="/bench", length_max=len(data), length=len(data)) as writer:
            for at in range(0, len(data), PIECE_BYTES):
                piece = data[at : at + PIECE_BYTES]
                writer.write(at, piece, chunk_hashes(piece))
            writer.finish(length=len(data), hash=block_hash(data))


def drop_from_cache(files: Sequence[Path]) -> int:
    """The next read of these comes from the disk."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return len(files)


def read_all(files: Sequence[Path]) -> int:
    """Read them as `cat` would; how many bytes that were."""
    buffer = bytearray(PIECE_BYTES)
    total = 0
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while got := opened.readinto(buffer):
                total += got
    return total


def scrub_all(scrubber: VolumeScrubber, run: int) -> int:
    """One ordered pass; how many bytes it verified."""
    scrubber.begin(run)
    total = 0
    while True:
        report = scrubber.run_once()
        assert not report.bad
        total += report.verified_bytes
        if report.passes:
            return total


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scrub", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    parser.add_argument("--size", type=parse_size, default=2 * GiB, help="of all blocks (2GiB)")
    parser.add_argument("--block", type=parse_size, default=16 * MiB, help="of each (16MiB)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each ({ROUNDS})")
    parser.add_argument("--warm", action="store_true", help="from the page cache instead")
    args = parser.parse_args()
    folder = args.data.absolute()
    folder.mkdir()
    try:
        figures = measure_scrub(
            folder,
            size_bytes=args.size,
            block_bytes=args.block,
            rounds=args.rounds,
            warm=args.warm,
        )
        figures.ratio(SCRUB, READ)
        blocks = f"{format_size(args.size)} in blocks of {format_size(args.block)}"
        figures.show(f"one volume, {blocks}, {'warm' if args.warm else 'cold'} cache")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_scrub(
    folder: Path, *, size_bytes: int, block_bytes: int, rounds: int, warm: bool = False
) -> Figures:
    """Both, alternating; before each the files are dropped from the page cache, or read into it."""
    prepare = read_all if warm else drop_from_cache
    figures = Figures()
    folder.mkdir(exist_ok=True)
    with a_store(folder / "volume") as store:
        fill(store, size_bytes=size_bytes, block_bytes=block_bytes)
        files = sorted(path for path in (folder / "volume/blocks").rglob("*") if path.is_file())
        (volume,) = store.folders
        scrubber = VolumeScrubber(
            store,
            volume,
            config=ScrubConfig(),
            clock=SystemClock(),
            emit=SilentEmitter(),
            wait=lambda _seconds: False,
        )
        scrubber.run_once()  # the first pass by itself: blocks are new, nothing is read
        for number in range(1, rounds + 1):
            prepare(files)
            with figures.series(SCRUB).timed():
                verified = scrub_all(scrubber, number)
            assert verified >= size_bytes, f"verified {verified} of {size_bytes} bytes"
            prepare(files)
            with figures.series(READ).timed():
                read_all(files)
        for name in (SCRUB, READ):
            rates = [size_bytes / MiB / took_s for took_s in figures.series(name).values]
            figures.series(f"{name}, rate", "MiB/s").values.extend(rates)
    return figures


if __name__ == "__main__":
    main()
