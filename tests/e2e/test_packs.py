"""Small files of a tree share blocks, and lose none of the promises that files have."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.base.entropy import Random
from dfs.base.errors import (
    DataUnavailable,
    LocalNotFound,
    PathExists,
    PermissionDenied,
    SourceChanged,
)
from dfs.client import DfsClient, GetOptions, PutOptions, SilentProgress, connect
from dfs.client.names import is_directory
from tests.cluster_rig import KIB, RigCluster, running_cluster, wait_until
from tests.e2e.integrity_rig import block_paths, flip, kept_blocks, quarantined, wait_healed

TREE = PutOptions(recursive=True)
GET = GetOptions(recursive=True)
PACK = 512 * KIB
FILES = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigCluster]:
    folder = tmp_path_factory.mktemp("packs") / "cluster"
    with running_cluster(folder, datanodes=3, stray_keep_s="1s") as made:
        yield made


@pytest.fixture
def client(cluster: RigCluster) -> Iterator[DfsClient]:
    with cluster.client() as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of every size around what is packed, empty ones among them, in some directories."""
    rng = Random(tmp_path.name)
    top = tmp_path / "tree"
    for number in range(FILES):
        path = top / f"d{number % 7}" / f"deep{number % 3}" / f"f{number:03d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = rng.choice([0, 1, 700, 8 * KIB, 8 * KIB + 1, 30 * KIB, 64 * KIB, 64 * KIB + 1])
        path.write_bytes(rng.randbytes(size))
        path.chmod(rng.choice([0o640, 0o755, 0o400]))
        os.utime(path, ns=(0, 1_600_000_000_123_000_000 + number * 1_000_000))
    return top


class Disturbing(SilentProgress):
    """Does something once: when the plan is made, or when bytes have moved."""

    def __init__(
        self,
        *,
        planned: Callable[[], object] | None = None,
        moved: Callable[[], object] | None = None,
    ) -> None:
        self._planned, self._moved = planned, moved
        self._lock = threading.Lock()

    def started(self, files: int, size_bytes: int) -> None:
        """The plan is made."""
        del files, size_bytes
        if self._planned is not None:
            self._planned()

    def advanced(self, size_bytes: int) -> None:
        """Bytes moved."""
        del size_bytes
        with self._lock:
            moved, self._moved = self._moved, None
        if moved is not None:
            moved()


def described(top: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and time of every file below."""
    return {
        str(path.relative_to(top)): (
            path.read_bytes(),
            path.stat().st_mode & 0o777,
            path.stat().st_mtime_ns // 1_000_000,
        )
        for path in top.rglob("*")
        if path.is_file()
    }


def remote_files(client: DfsClient, top: str) -> dict[str, bytes]:
    """The content of every file below, by the library."""
    names = [status.path for status in client.walk(top) if not is_directory(status)]
    found = {}
    for name, content in client.read_many(names):
        assert isinstance(content, bytes), content
        found[name.removeprefix(top + "/")] = content
    return found


def fresh(tmp_path: Path) -> str:
    """A remote name that no other test has."""
    return f"/{tmp_path.name}"


def test_tree_of_small_files_comes_back_as_it_was_from_few_blocks(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    top = fresh(tmp_path)
    before = len(kept_blocks(cluster))
    report = client.put([tree], top, options=TREE)
    assert report.ok, report.failed[:3]
    assert (report.files, report.owed) == (FILES, 0)
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    large = sum(1 for p in tree.rglob("*") if p.is_file() and p.stat().st_size > 64 * KIB)
    packs = len(kept_blocks(cluster)) - before - 2 * large
    assert packs <= size // (PACK - 64 * KIB) + 1
    assert client.get([top], tmp_path / "back", options=GET).ok
    assert described(tmp_path / "back") == described(tree)
    assert remote_files(client, top) == {n: d[0] for n, d in described(tree).items()}
    cluster.check_metadata()


def test_tree_put_again_with_resume_moves_nothing(
    client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    top = fresh(tmp_path)
    assert client.put([f"{tree}/."], top, options=TREE).ok
    (tree / "d0" / "later").write_bytes(b"x" * 900)
    again = client.put([f"{tree}/."], top, options=PutOptions(recursive=True, resume=True))
    assert again.ok
    assert (again.files, again.skipped) == (1, FILES)


def test_files_that_change_or_go_while_they_are_put_fail_alone(
    client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    files = sorted(p for p in tree.rglob("*") if p.is_file() and p.stat().st_size < 64 * KIB)
    growing, gone = files[3], files[8]

    def meddle() -> None:
        with growing.open("ab") as out:
            out.write(b"more")
        gone.unlink()

    report = client.put([tree], fresh(tmp_path), options=TREE, progress=Disturbing(planned=meddle))
    assert {Path(path): type(why) for path, why in report.failed} == {
        growing: SourceChanged,
        gone: LocalNotFound,
    }
    assert report.files == FILES - 2
    there = remote_files(client, fresh(tmp_path))
    assert not {str(path.relative_to(tree)) for path in (growing, gone)} & there.keys()


def test_files_that_exist_are_kept_or_replaced_as_asked_and_stop_no_others(
    client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    top = fresh(tmp_path)
    taken = sorted(str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file())[:5]
    for name in taken:
        client.mkdir(f"{top}/{name}".rpartition("/")[0], parents=True)
        client.write_bytes(f"{top}/{name}", b"old")
    report = client.put([f"{tree}/."], top, options=TREE)
    assert {type(why) for _path, why in report.failed} == {PathExists}
    assert len(report.failed) == len(taken)
    there = remote_files(client, top)
    assert all(there[name] == b"old" for name in taken)
    assert client.put([f"{tree}/."], top, options=PutOptions(recursive=True, overwrite=True)).ok
    assert remote_files(client, top) == {n: d[0] for n, d in described(tree).items()}


def test_files_that_may_not_be_made_fail_alone(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    top = fresh(tmp_path)
    for deep in range(3):
        client.mkdir(f"{top}/d1/deep{deep}", parents=True)
    client.register("bob", "a long enough password")
    client.chown(top, owner="bob")
    own = replace(cluster.config.client, credentials=str(tmp_path / "bob.json"))
    with connect(config=replace(cluster.config, client=own), token="") as bob:
        bob.login("bob", "a long enough password")
        report = bob.put([f"{tree}/."], top, options=TREE)
        assert {type(why) for _path, why in report.failed} == {PermissionDenied}
        there = remote_files(bob, top)
    refused = {name for name in described(tree) if name.startswith("d1/")}
    assert there.keys() == described(tree).keys() - refused


def test_put_goes_on_when_a_datanode_dies_in_the_middle(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    killed = cluster.datanodes[0]
    disturbing = Disturbing(moved=lambda: cluster.kill(killed))
    report = client.put([tree], fresh(tmp_path), options=TREE, progress=disturbing)
    assert report.ok, report.failed[:3]
    assert remote_files(client, fresh(tmp_path)) == {n: d[0] for n, d in described(tree).items()}
    cluster.start(killed)
    wait_healed(cluster)


def test_get_goes_on_when_a_datanode_dies_in_the_middle(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    assert client.put([tree], fresh(tmp_path), options=TREE).ok
    killed = cluster.datanodes[1]
    disturbing = Disturbing(moved=lambda: cluster.kill(killed))
    report = client.get([fresh(tmp_path)], tmp_path / "back", options=GET, progress=disturbing)
    assert report.ok, report.failed[:3]
    assert described(tmp_path / "back") == described(tree)
    cluster.start(killed)
    wait_healed(cluster)


def test_pack_with_one_bad_copy_is_read_from_another_and_the_bad_one_is_reported(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    wait_healed(cluster)
    assert client.put([tree], fresh(tmp_path), options=TREE).ok
    name = cluster.datanodes[0]
    before = len(quarantined(cluster, name))
    for path in block_paths(cluster, name):
        flip(path)
    report = client.get([fresh(tmp_path)], tmp_path / "back", options=GET)
    assert report.ok, report.failed[:3]
    assert described(tmp_path / "back") == described(tree)
    wait_until(lambda: len(quarantined(cluster, name)) > before, "the bad copies are put aside")
    wait_healed(cluster)


def test_files_of_a_pack_without_a_good_copy_say_so_and_no_wrong_byte_comes(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    top.mkdir()
    for number in range(12):
        (top / f"f{number:02d}").write_bytes(bytes([number]) * 60 * KIB)
    with (
        running_cluster(tmp_path / "cluster", datanodes=2, pack_bytes="1MiB") as cluster,
        cluster.client() as client,
    ):
        assert client.put([top], "/tree", options=TREE).ok
        (pack,) = {path.name for n in cluster.datanodes for path in block_paths(cluster, n)}
        for name in cluster.datanodes:
            flip(next(p for p in block_paths(cluster, name) if p.name == pack))
        report = client.get(["/tree"], tmp_path / "back", options=GET)
        assert report.failed
        assert len(report.failed) + report.files == 12
        assert {type(why) for _path, why in report.failed} == {DataUnavailable}
        assert described(tmp_path / "back").items() <= described(top).items()


CLIENT_POINTS = [
    "client.pack.begun",
    "client.pack.written:2",
    "client.pack.committed",
    "client.piece.sent:2",
    "client.block.sent:2",
    "client.block.acknowledged:2",
]


@pytest.mark.parametrize("point", CLIENT_POINTS)
def test_client_killed_while_it_puts_packs_leaves_whole_files_or_none(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path, point: str
) -> None:
    top = fresh(tmp_path)
    assert _dfs(cluster, "put", "-r", f"{tree}/.", top, point=point) == CRASH_EXIT_CODE
    expected = {name: data for name, (data, _mode, _time) in described(tree).items()}
    seen = remote_files(client, top)
    assert seen.items() <= expected.items(), "what is visible is whole"
    if point != "client.pack.committed":
        assert len(seen) < FILES
    again = ("put", "-r", "--resume", f"{tree}/.", top)
    wait_until(lambda: _dfs(cluster, *again) == 0, "what it was writing is released")
    assert remote_files(client, top) == expected
    cluster.check_metadata()


@pytest.mark.parametrize("point", ["client.part.written:50", "client.part.published:50"])
def test_client_killed_while_it_gets_packs_leaves_whole_files_or_none(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path, point: str
) -> None:
    top = fresh(tmp_path)
    assert client.put([f"{tree}/."], top, options=TREE).ok
    back = tmp_path / "back"
    assert _dfs(cluster, "get", "-r", top, str(back), point=point) == CRASH_EXIT_CODE
    for part in back.rglob("*.part"):
        part.unlink()
    assert described(back).items() <= described(tree).items()


def test_cat_of_many_files_gives_them_in_the_order_asked(
    cluster: RigCluster, client: DfsClient, tree: Path, tmp_path: Path
) -> None:
    top = fresh(tmp_path)
    assert client.put([f"{tree}/."], top, options=TREE).ok
    names = sorted(described(tree))[::-1]
    words = [f"{top}/{name}" for name in names]
    words.insert(3, f"{top}/none")
    done = subprocess.run(
        [sys.executable, "-m", "dfs.cli.user", "cat", *words],
        env=cluster.variables,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert b"none" in done.stderr
    assert done.stdout == b"".join(described(tree)[name][0] for name in names)


def _dfs(cluster: RigCluster, *words: str, point: str = "") -> int:
    armed = {"DFS_CRASHPOINT": point} if point else {}
    program = (
        "import os, sys; from dfs.base import crashpoint; crashpoint.arm(os.environ);"
        "from dfs.cli.user import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**cluster.variables, **armed},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    refused = [line for line in done.stderr.splitlines() if line.startswith("dfs: ")]
    in_use = bool(refused) and all("another client is writing" in line for line in refused)
    assert done.returncode in (0, CRASH_EXIT_CODE) or in_use, done.stderr[-2000:]
    return done.returncode
