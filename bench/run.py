"""`make bench`: every workload against the disk itself, in one run.

    python -m bench.run [--only NAME,...] [--rounds N] [--quick] [--json FILE]

Each measurement alternates with its yardstick, so that what the machine does meanwhile falls on
both; before each the disk is synced.  Transfers are the `dfs` command as a person types it,
start-up included.  The table shows the smallest, middle and largest round of each figure, its
target, and whether the middle one reaches it.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench.ground import QUICK, Ground, Sizes
from bench.machine import in_words
from bench.workloads import (
    idle_clients,
    large,
    memory,
    repair,
    requests,
    scrub,
    start,
    transfers,
    tree,
    wide_folder,
)

Workload = Callable[[Ground], None]
WORKLOADS: Mapping[str, Workload] = {
    "large": large.measure,
    "tree": tree.measure,
    "start": start.measure,
    "stat": requests.measure_stat,
    "creates": requests.measure_creates,
    "memory": memory.measure,
    "scrub": scrub.measure,
    "repair": repair.measure,
}
# What grows with the work; by name, or with --scale.
SCALE: Mapping[str, Workload] = {
    "wide-folder": wide_folder.measure,
    "idle-clients": idle_clients.measure,
    "transfers": transfers.measure,
}


def main() -> None:
    """Run what was asked for and print the table."""
    args = parser().parse_args()
    sizes = QUICK if args.quick else Sizes()
    if args.rounds:
        sizes = dataclasses.replace(sizes, rounds=args.rounds)
    console = Console(stderr=True)
    with Ground(args.data.absolute(), memory=args.memory, sizes=sizes) as ground:
        for name in chosen(args.only, scale=args.scale):
            console.print(f"measuring: {name}", style="dim")
            {**WORKLOADS, **SCALE}[name](ground)
    title = sizes.words()
    if args.quick:
        title += "; quick: too small to judge by"
    ground.figures.show(title)
    console.print(in_words(), markup=False, soft_wrap=True)
    if args.json:
        ground.figures.write_json(args.json, title=title, command=sys.argv[1:])
    for name in ground.figures.missed():
        console.print(f"target missed: {name}", style="yellow", markup=False)


def parser() -> argparse.ArgumentParser:
    """What it takes."""
    made = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    made.add_argument("--data", type=Path, default=Path(".dfs-bench"), help="a folder to make")
    made.add_argument("--memory", type=Path, default=Path("/dev/shm"), help="a tmpfs (/dev/shm)")
    names = ", ".join([*WORKLOADS, *SCALE])
    made.add_argument("--only", default="", metavar="NAME,...", help=f"some of: {names}")
    made.add_argument("--scale", action="store_true", help=f"instead: {', '.join(SCALE)}")
    made.add_argument("--rounds", type=int, default=0, help="of each measurement (3)")
    made.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every round there, too")
    return made


def chosen(only: str, *, scale: bool) -> Sequence[str]:
    """The workloads to run, in their own order; all but those of scale where none is named."""
    known = [*WORKLOADS, *SCALE]
    if not only:
        return [*SCALE] if scale else [*WORKLOADS]
    asked = {name.strip() for name in only.split(",")}
    if unknown := sorted(asked - set(known)):
        sys.exit(f"no workload {', '.join(unknown)}; there are: {', '.join(known)}")
    return [name for name in known if name in asked]


if __name__ == "__main__":
    main()
