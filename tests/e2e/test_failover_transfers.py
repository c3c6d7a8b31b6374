"""Transfers that are under way when the leader dies."""

import filecmp
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.client import GetOptions, PutOptions, SilentProgress
from tests.cluster_rig import KIB, MIB
from tests.ha_load import show
from tests.ha_rig import HaRig, running_rig

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

LARGE_BYTES = 48 * MIB
SMALL_FILES = 3_000


class Trap(SilentProgress):
    """Springs once, in a thread of its own, when a share of the transfer is on its way."""

    def __init__(self, spring: Callable[[], object], *, share: float = 0.3) -> None:
        self._spring = spring
        self._share = share
        self._left = 0.0
        self._pool = ThreadPoolExecutor(1)
        self._sprung = None

    def started(self, files: int, size_bytes: int) -> None:
        self._left = size_bytes * self._share

    def advanced(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left <= 0 and self._sprung is None:
            self._sprung = self._pool.submit(self._spring)

    def close(self) -> None:
        """Wait until it has sprung."""
        assert self._sprung is not None, "the transfer was over before anything happened"
        self._sprung.result()
        self._pool.shutdown()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaRig]:
    with running_rig(tmp_path_factory.mktemp("ha") / "cluster") as made:
        yield made


@pytest.fixture
def leader(rig: HaRig) -> Iterator[str]:
    """It is to be killed; another one is there afterwards, and then all three again."""
    killed = rig.await_sync()
    yield killed
    assert rig.await_leader(among=[n for n in rig.namenodes if n != killed])
    rig.start(killed)
    rig.await_sync()
    rig.check_tables()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    file.write_bytes(Random("large").randbytes(LARGE_BYTES))
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = Random("tree")
    for number in range(SMALL_FILES):
        file = tmp_path / "tree" / str(number % 10) / str(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(rng.randbytes(rng.randrange(8 * KIB)))
    return tmp_path / "tree"


def test_a_put_of_a_large_file_spans_a_failover(rig: HaRig, leader: str, large: Path) -> None:
    with rig.client() as client:
        trap = Trap(lambda: rig.kill(leader))
        report = client.put([large], "/large-put", progress=trap)
        trap.close()
        show(f"put: {report}")
        assert report.ok, report.failed
        assert client.read_bytes("/large-put") == large.read_bytes()


def test_a_get_of_a_large_file_spans_a_failover(rig: HaRig, leader: str, large: Path) -> None:
    with rig.client() as client:
        assert client.put([large], "/large-get").ok
        trap = Trap(lambda: rig.kill(leader))
        fetched = large.with_name("fetched")
        report = client.get(["/large-get"], fetched, progress=trap)
        trap.close()
        assert report.ok, report.failed
        assert filecmp.cmp(large, fetched, shallow=False)


def test_a_put_of_a_tree_of_small_files_spans_a_failover(
    rig: HaRig, leader: str, tree: Path
) -> None:
    with rig.client() as client:
        trap = Trap(lambda: rig.kill(leader))
        report = client.put([tree], "/tree", options=PutOptions(recursive=True), progress=trap)
        trap.close()
        show(f"put -r: {report}")
        assert report.ok, report.failed
        fetched = tree.with_name("fetched")
        got = client.get(["/tree"], fetched, options=GetOptions(recursive=True))
        assert got.ok, got.failed
    wanted = sorted(each.relative_to(tree) for each in tree.rglob("*"))
    assert sorted(each.relative_to(fetched) for each in fetched.rglob("*")) == wanted
    for each in wanted:
        if (tree / each).is_file():
            assert filecmp.cmp(tree / each, fetched / each, shallow=False), each
