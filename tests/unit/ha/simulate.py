"""Live many histories and say which break an invariant: `make ha-sim`, or

python -m tests.unit.ha.simulate 0-10000           so many, over all processors
python -m tests.unit.ha.simulate 1177 --trace      one, letter by letter
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from multiprocessing import Pool

from tests.unit.ha.paper_cluster_ha import world_of

PER_TASK = 20


def broken_in(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    """Which of these histories break something, and what happened in all."""
    broken, happened = [], Counter[str]()
    for seed in seeds:
        world = world_of(seed)
        try:
            world.live()
        except AssertionError as exc:
            broken.append((seed, f"{type(exc).__name__}: {exc}"))
        happened.update(world.oracle.count)
    return broken, happened


def trace(seed: int) -> int:
    world = world_of(seed)
    world.trace = []
    try:
        world.live()
    except AssertionError as exc:
        world.trace.append(f"{type(exc).__name__}: {exc}")
        return 1
    else:
        return 0
    finally:
        print("\n".join(world.trace))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="simulate failover")
    parser.add_argument("seeds", help="one, or FIRST-BEFORE")
    parser.add_argument("--trace", action="store_true", help="print every letter of one history")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    asked = parser.parse_args(arguments)
    first, _, before = asked.seeds.partition("-")
    start, end = int(first), int(before or int(first) + 1)
    if asked.trace:
        return trace(start)
    tasks = [range(at, min(at + PER_TASK, end)) for at in range(start, end, PER_TASK)]
    broken, happened, done = [], Counter[str](), 0
    with Pool(asked.workers) as pool:
        for found, count in pool.imap_unordered(broken_in, tasks):
            broken += found
            happened.update(count)
            done += PER_TASK
            for seed, text in found:
                print(f"seed {seed}: {text}", flush=True)
            if done % 1000 < PER_TASK:
                print(f"{done} histories, {len(broken)} broken", flush=True)
    print(f"{end - start} histories, {len(broken)} broken; {dict(sorted(happened.items()))}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
