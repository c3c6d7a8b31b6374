"""One large file in and out, by the network and on the same host, against `dd` and `cat`."""

from functools import partial

from bench import disk
from bench.ground import Ground
from bench.same_host import ways
from bench.targets import CAT, DD_TWICE, GET_LARGE, PUT_LARGE


def measure(ground: Ground) -> None:
    """Disk, each way, disk, each way ..."""
    source, by = ground.large, ways(ground)
    for _ in range(ground.sizes.rounds):
        with ground.out() as out:
            ground.time(DD_TWICE, partial(disk.copy_large_twice, source, out))
        for way, environment in by.items():
            words = ["put", "--quiet", str(source), _path(way)]
            ground.time_dfs(f"{PUT_LARGE}, {way}", words, environment)
        with ground.memory() as out:
            ground.time(CAT, partial(disk.cat, source, out))
        for way, environment in by.items():
            with ground.memory() as out:
                words = ["get", "--quiet", _path(way), str(out / "got")]
                ground.time_dfs(f"{GET_LARGE}, {way}", words, environment)
        for way in by:
            ground.dfs("rm", "--quiet", _path(way))
    for way in by:
        ground.figures.ratio(f"{PUT_LARGE}, {way}", DD_TWICE)
        ground.figures.ratio(f"{GET_LARGE}, {way}", CAT)


def _path(way: str) -> str:
    return "/large-" + way.replace(" ", "-")
