"""A scrub of one volume that lies in memory, against plain reads of it.

What the scrubber itself costs: of a disk it reads nothing from the page cache, as that would prove
nothing, so only a volume without a disk shows more than how fast the disk is.
"""

from bench.ground import Ground
from bench.scrub import READ, SCRUB, measure_scrub
from bench.targets import SCRUB_RATE
from dfs.base.units import MiB

GB = 1_000_000_000
BLOCK_BYTES = 16 * MiB


def measure(ground: Ground) -> None:
    """A store of its own, without a daemon."""
    size_bytes = ground.sizes.scrub_bytes
    with ground.memory() as folder:
        found = measure_scrub(
            folder / "scrub",
            size_bytes=size_bytes,
            block_bytes=BLOCK_BYTES,
            rounds=ground.sizes.rounds,
            warm=True,
        )
    for took_s in found.series(SCRUB).values:
        ground.figures.add(SCRUB_RATE, size_bytes / GB / took_s, "GB/s", "verified")
    for took_s in found.series(READ).values:
        ground.figures.add("plain read of the same, rate", size_bytes / GB / took_s, "GB/s")
