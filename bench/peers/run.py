"""`make bench-peers`: DFS and its peers side by side: the same files, the same disk, in turn.

    python -m bench.peers.run --peers FOLDER [--only NAME,...] [--rounds N] [--quick] [--json FILE]

FOLDER is what `bench.peers.install` made.  Each peer is run beside a DFS cluster of its own, both
in one cage (`cage.py`), and each step is done by one, then by the other: A B A B.  Before each step
the disk is synced and the peer's mount is made anew, so that it reads from its servers and not from
what its client remembers.  What is to be written then is timed, too: for who does not fsync before
the answer, that is when the data was safe.
"""

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench import disk
from bench.commands import end_in_order, run, settle
from bench.figures import Figures
from bench.ground import QUICK, Sizes
from bench.machine import in_words
from bench.peers import cage
from bench.peers.glusterfs import GlusterFS
from bench.peers.hdfs import Hdfs
from bench.peers.install import DEBIAN
from bench.peers.moosefs import MooseFS
from bench.peers.ourselves import Ourselves
from bench.peers.seaweedfs import SeaweedFS
from bench.peers.system import LARGE, TREE, Place, System, Unavailable
from bench.targets import (
    GET_LARGE,
    GET_TREE,
    LIST_TREE,
    PUT_LARGE,
    PUT_TREE,
    REMOVE_TREE,
    of_system,
)

PEERS: Mapping[str, Callable[[Place], System]] = {
    "seaweedfs": SeaweedFS,
    "glusterfs": GlusterFS,
    "moosefs": MooseFS,
    "hdfs": Hdfs,
}
GET_AGAIN = "get tree again"
STEPS = (PUT_LARGE, GET_LARGE, PUT_TREE, GET_TREE, GET_AGAIN, LIST_TREE, REMOVE_TREE)
WRITES = frozenset({PUT_LARGE, PUT_TREE})
READS = {GET_LARGE: LARGE, GET_TREE: TREE, GET_AGAIN: TREE}
REMEMBERS = frozenset({GET_AGAIN})  # steps that may profit from what the last one left
ROOM = "dfs-bench-peers-"


class Pair:
    """DFS and one peer, both running."""

    def __init__(self, systems: Sequence[System], source: Path, memory: Path) -> None:
        self._systems = systems
        self._source = source
        self._memory = memory
        self.figures = Figures()

    def round(self) -> None:
        """Every step, by one and by the other."""
        for step in STEPS:
            for system in self._systems:
                self._step(system, step)
        for system in self._systems:
            run(system.remove_large(), system.environment())

    def finish(self) -> None:
        """How many times as long as the peer DFS took."""
        ours, peer = self._systems
        for step in STEPS:
            self.figures.ratio(of_system(ours.name, step), of_system(peer.name, step))

    def _step(self, system: System, step: str) -> None:
        with tempfile.TemporaryDirectory(prefix=ROOM, dir=self._memory) as out:
            words = self._words(system, step, Path(out) / "got")
            if step not in REMEMBERS:
                system.refresh()
            settle()
            name = of_system(system.name, step)
            with self.figures.series(name).timed():
                run(words, system.environment())
            if step in READS:
                self._check(Path(out) / "got", self._source / READS[step])
            if step in WRITES:
                with self.figures.series(f"{name}: sync after it").timed():
                    settle()

    def _check(self, got: Path, source: Path) -> None:
        """A copy that is not all there would be fast."""
        if _sizes(got) != _sizes(source):
            raise RuntimeError(f"{got} is not what was put from {source}")

    def _words(self, system: System, step: str, target: Path) -> Sequence[str]:
        words: Mapping[str, Callable[[], Sequence[str]]] = {
            PUT_LARGE: lambda: system.put_large(self._source / LARGE),
            GET_LARGE: lambda: system.get_large(target),
            PUT_TREE: lambda: system.put_tree(self._source / TREE),
            GET_TREE: lambda: system.get_tree(target),
            GET_AGAIN: lambda: system.get_tree(target),
            LIST_TREE: system.list_tree,
            REMOVE_TREE: system.remove_tree,
        }
        return words[step]()

    def commands(self) -> list[str]:
        """What was run, for the record."""
        place = Path("OUT")
        return [
            f"{one.name}, {step}: {' '.join(self._words(one, step, place))}"
            for one in self._systems
            for step in STEPS
            if step not in REMEMBERS
        ]


def _sizes(path: Path) -> dict[str, int]:
    """Each file in it, or it alone, and how large."""
    if path.is_file():
        return {"": path.stat().st_size}
    return {str(f.relative_to(path)): f.stat().st_size for f in path.rglob("*") if f.is_file()}


def measure(name: str, args: argparse.Namespace, sizes: Sizes) -> Figures:
    """One peer beside DFS.

    Raises:
        Unavailable: it cannot be run here.
    """
    data = args.data / name
    place = Place(args.peers, data)
    systems = [Ourselves(place), PEERS[name](place)]
    source = args.data / "source"
    console = Console(stderr=True)
    try:
        data.mkdir(parents=True)
        for system in systems:
            system.start()
        pair = Pair(systems, source, args.memory)
        for _ in range(sizes.rounds):
            pair.round()
        pair.finish()
        for system in systems:
            about = f"{system.name} {system.version()}: {system.copies} copies, {system.durability}"
            console.print(about, markup=False, soft_wrap=True)
        for line in pair.commands():
            console.print(f"  {line}", markup=False, style="dim", soft_wrap=True)
        return pair.figures
    finally:
        for system in reversed(systems):
            system.stop()
        shutil.rmtree(data, ignore_errors=True)


def inside(args: argparse.Namespace) -> None:
    """In the cage: everything."""
    cage.furnish(args.peers / DEBIAN)
    sizes = QUICK if args.quick else Sizes()
    sizes = dataclasses.replace(sizes, rounds=args.rounds or sizes.rounds)
    source = args.data / "source"
    source.mkdir(parents=True)
    disk.make_large(source / LARGE, sizes.large_bytes)
    disk.make_tree(source / TREE, sizes.folders, sizes.files_each, file_bytes=sizes.file_bytes)
    all_figures, refused = Figures(), 0
    for name in args.only:
        print(f"measuring: DFS beside {name}", file=sys.stderr, flush=True)
        try:
            figures = measure(name, args, sizes)
        except Unavailable as exc:
            refused += 1
            print(f"{name}: not available: {exc}", file=sys.stderr)
            continue
        figures.show(f"DFS beside {name}; {sizes.words()}")
        all_figures.take(figures)
    if args.json:
        all_figures.write_json(args.json, title=sizes.words(), command=sys.argv[1:])
    print(in_words())
    sys.exit(1 if refused == len(args.only) else 0)


def parser() -> argparse.ArgumentParser:
    """What it takes."""
    made = argparse.ArgumentParser(prog="python -m bench.peers.run", description=__doc__)
    made.add_argument("--peers", type=_folder, required=True, help="where they are installed")
    made.add_argument("--data", type=_folder, default=_folder(".dfs-bench"), help="made, removed")
    made.add_argument("--memory", type=_folder, default=Path("/dev/shm"), help="a tmpfs")
    made.add_argument("--only", type=_names, default=list(PEERS), help=", ".join(PEERS))
    made.add_argument("--rounds", type=int, default=0, help="of each step (3)")
    made.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    made.add_argument("--json", type=_folder, metavar="FILE", help="write every round there, too")
    return made


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(PEERS)):
        raise argparse.ArgumentTypeError(f"no peer {unknown[0]}; there are: {', '.join(PEERS)}")
    return names


def main() -> None:
    """Outside: make the cage, and clean up after it."""
    args = parser().parse_args()
    if cage.is_inside():
        inside(args)
        return
    end_in_order()
    if args.data.exists():
        sys.exit(f"{args.data} is there already; name another with --data")
    try:
        code = cage.run_inside("bench.peers.run", sys.argv[1:])
    except Unavailable as exc:
        sys.exit(f"no peer can be measured here: {exc}")
    finally:
        shutil.rmtree(args.data, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
