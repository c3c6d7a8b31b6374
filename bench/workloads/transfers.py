"""Sixty-four transfers at once, against the same bytes one after the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.commands import settle
from bench.ground import Ground
from dfs.client import DfsClient, connect

ONE, ALL = "one after the other", "all at once"
Transfer = Callable[[DfsClient, int], None]


def measure(ground: Ground) -> None:
    """One after the other, all at once, one after the other ..."""
    source = ground.file("transfer", ground.sizes.transfer_bytes)
    for number in range(ground.sizes.rounds):
        for way, at_once in ((ONE, 1), (ALL, ground.sizes.transfers)):
            root = f"/transfers-{number}-{at_once}"
            ground.client.mkdir(root)
            _time(ground, f"put, {way}", at_once, _putting(source, root))
            with ground.memory() as out:
                _time(ground, f"get, {way}", at_once, _getting(root, out))
                assert len(list(out.iterdir())) == ground.sizes.transfers
    for what in ("put", "get"):
        ground.figures.ratio(f"{what}, {ALL}", f"{what}, {ONE}")


def _time(ground: Ground, name: str, at_once: int, transfer: Transfer) -> None:
    """All transfers, so many at once, each by a client of its own."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                connect(config=ground.cluster.config(), environment=ground.environment)
            )
            for _ in range(at_once)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        settle()
        with ground.figures.series(name).timed():
            count = ground.sizes.transfers
            done = [pool.submit(transfer, clients[i % at_once], i) for i in range(count)]
            for one in done:
                one.result()


def _putting(source: Path, root: str) -> Transfer:
    def put(client: DfsClient, number: int) -> None:
        report = client.put([source], f"{root}/file-{number:03}")
        assert not report.failed, report.failed

    return put


def _getting(root: str, out: Path) -> Transfer:
    def get(client: DfsClient, number: int) -> None:
        report = client.get([f"{root}/file-{number:03}"], out / f"file-{number:03}")
        assert not report.failed, report.failed

    return get
