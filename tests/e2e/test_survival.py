"""What a cluster of real processes outlives: any DataNode, the NameNode, a client, all of them."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import select

from dfs.base.entropy import Random
from dfs.base.errors import BeingWritten
from dfs.client import DfsClient, GetOptions, PutOptions, connect
from dfs.local.demo_files import Prints, copy_library, take_prints, write_random
from dfs.meta.tables import BLOCK
from tests.cluster_rig import MIB, WAIT_S, RigCluster, running_cluster, wait_until

SIZE = 24 * MIB
BLOCK_SIZE = 1 * MIB


@pytest.fixture(scope="module", params=["on", pytest.param("off", marks=pytest.mark.faults)])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RigCluster]:
    """With transfers over the sockets of DataNodes of this computer, and over the network."""
    folder = tmp_path_factory.mktemp("survival") / "cluster"
    with running_cluster(
        folder,
        datanodes=3,
        block_size_bytes="1MiB",
        lease_hard_s="6s",
        local_transfers=str(request.param),
    ) as made:
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    write_random(file, SIZE, rng=Random(tmp_path.name))
    return file


class Gate(io.RawIOBase):
    """A stream that stands still after a third of its bytes, until `opened` is set."""

    def __init__(self, source: BinaryIO | None = None) -> None:
        self.hash = hashlib.md5()
        self.reached, self.opened = threading.Event(), threading.Event()
        self._source = source
        self._moved = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the source."""
        assert self._source is not None
        data = self._source.read(size)
        self.write(data)
        return data

    def write(self, data: bytes) -> int:
        """Take note of bytes that go by."""
        self.hash.update(data)
        self._moved += len(data)
        if self._moved >= SIZE // 3 and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(WAIT_S)
        return len(data)


def _meanwhile(work: Callable[[], object], gate: Gate, disturb: Callable[[], None]) -> None:
    """Disturb when a third of the bytes have moved; the work must end well."""
    failures: list[BaseException] = []

    def worker() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - the waiting thread raises it
            failures.append(exc)

    thread = threading.Thread(target=worker, daemon=True)
    thread.start()
    wait_until(lambda: gate.reached.is_set() or not thread.is_alive(), "bytes to move")
    disturb()
    thread.join(120)
    assert not thread.is_alive(), "the transfer does not end"
    if failures:
        raise failures[0]


def _put(client: DfsClient, file: Path, target: str) -> int:
    """Put it over what is there; how many copies are owed."""
    report = client.put([file], target, options=PutOptions(overwrite=True))
    assert report.ok, report.worst()
    return report.owed


def _get(client: DfsClient, path: str, target: Path) -> None:
    report = client.get([path], target, options=GetOptions(overwrite=True))
    assert report.ok, report.worst()


def _put_whole(cluster: RigCluster, file: Path, target: str) -> None:
    """With every copy, once every DataNode is known again."""

    def is_whole() -> bool:
        with cluster.client() as client:
            return _put(client, file, target) == 0

    wait_until(is_whole, "every copy is made")


def _is_same(file: Path, other: Path) -> bool:
    return _hash(file) == _hash(other)


def _put_stream(client: DfsClient, gate: Gate, target: str) -> None:
    client.put_stream(gate, target, options=PutOptions(overwrite=True))


def _hash(file: Path) -> bytes:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "md5").digest()


@pytest.mark.timeout(300)
def test_kill_of_any_one_datanode_during_get_loses_nothing(
    cluster: RigCluster, source: Path
) -> None:
    _put_whole(cluster, source, "/read")
    for name in cluster.datanodes:
        with cluster.client() as client:
            gate = Gate()

            def kill(name: str = name, gate: Gate = gate) -> None:
                cluster.kill(name)
                gate.opened.set()

            _meanwhile(partial(client.get_stream, "/read", gate), gate, kill)
        assert gate.hash.digest() == _hash(source), f"{name} killed"
        cluster.start(name)


@pytest.mark.timeout(300)
def test_kill_of_any_one_datanode_during_put_loses_nothing(
    cluster: RigCluster, source: Path, tmp_path: Path
) -> None:
    for name in cluster.datanodes:
        with cluster.client() as client, source.open("rb") as file:
            gate = Gate(file)

            def kill(name: str = name, gate: Gate = gate) -> None:
                cluster.kill(name)
                gate.opened.set()

            _meanwhile(partial(_put_stream, client, gate, "/written"), gate, kill)
            _get(client, "/written", tmp_path / "back")
        assert _is_same(source, tmp_path / "back"), f"while {name} is down"
        cluster.start(name)
    wait_until(lambda: not cluster.parts(), "no .part is left")


@pytest.mark.timeout(300)
def test_kill_and_restart_of_everything_loses_nothing(
    cluster: RigCluster, source: Path, tmp_path: Path
) -> None:
    _put_whole(cluster, source, "/kept")
    (tmp_path / "empty").touch()
    with cluster.client() as client:
        _put(client, tmp_path / "empty", "/empty")
    for name in cluster.names:
        cluster.kill(name)
    cluster.up()
    with cluster.client() as client:
        _get(client, "/kept", tmp_path / "back")
        assert client.read_bytes("/empty") == b""
        assert all(verdict.intact for verdict in client.verify("/kept"))
    assert _is_same(source, tmp_path / "back")
    cluster.check_metadata()


@pytest.mark.timeout(300)
def test_put_waits_for_a_namenode_that_comes_back(
    cluster: RigCluster, source: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    config, variables = cluster.config, cluster.variables
    with (
        connect(config=config, environment=variables, notice=said.append) as client,
        source.open("rb") as file,
    ):
        gate = Gate(file)

        def restart() -> None:
            cluster.kill("nn-1")
            gate.opened.set()
            wait_until(lambda: said, "the client says that it waits")
            cluster.start("nn-1")

        _meanwhile(partial(_put_stream, client, gate, "/patient"), gate, restart)
        assert "trying again" in said[0]
        _get(client, "/patient", tmp_path / "back")
    assert _is_same(source, tmp_path / "back")


def _dfs(cluster: RigCluster, home: Path, *words: object) -> subprocess.Popen[str]:
    """The command, with nothing remembered but what it keeps below `home`."""
    return subprocess.Popen(
        [sys.executable, "-m", "dfs.cli.user", *map(str, words)],
        env={**cluster.variables, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _kill_in_mid_put(
    cluster: RigCluster, home: Path, file: Path, target: str, *, sent: int
) -> list[int]:
    """Put, and kill the client when it knows so many blocks as durable; those blocks."""

    def remembered() -> list[int]:
        states = list(home.rglob("put-*.jsonl"))
        lines = states[0].read_bytes().splitlines()[1:] if states else []
        whole = [line for line in lines if line.endswith(b"}")]
        return [json.loads(line)["block"]["truth"]["block"] for line in whole]

    putting = _dfs(cluster, home, "put", "--jobs", "1", file, target)
    wait_until(lambda: len(remembered()) >= sent or putting.poll() is not None, "blocks are sent")
    putting.kill()
    putting.communicate(timeout=30)
    assert putting.returncode == -9, "it was too quick to be killed"
    return remembered()


def _stored_blocks(cluster: RigCluster) -> set[int]:
    return {block for name in cluster.datanodes for block, _ in cluster.block_files(name)}


def _committed_blocks(cluster: RigCluster) -> set[int]:
    with cluster.metadata() as connection:
        return set(connection.scalars(select(BLOCK.c.id).where(BLOCK.c.state == "committed")))


@pytest.mark.timeout(300)
def test_client_killed_in_mid_put_leaves_no_path_no_lock_and_in_the_end_no_block(
    cluster: RigCluster, tmp_path: Path
) -> None:
    file = tmp_path / "large"
    write_random(file, 8 * SIZE, rng=Random(1))
    blocks = _kill_in_mid_put(cluster, tmp_path / "home", file, "/cut", sent=2)
    with cluster.client() as client:
        assert not client.exists("/cut")
        assert set(blocks) <= _stored_blocks(cluster)

        def is_written() -> bool:
            try:
                client.write_bytes("/cut", b"another client's")
            except BeingWritten:
                return False
            return True

        wait_until(is_written, "the soft limit lets another client write", within_s=30)
        assert client.read_bytes("/cut") == b"another client's"
    wait_until(lambda: not cluster.parts(), "no .part is left")
    wait_until(
        lambda: _stored_blocks(cluster) == _committed_blocks(cluster),
        "blocks that no file shows are collected",
    )
    cluster.check_metadata()


@pytest.mark.timeout(300)
def test_put_resume_goes_on_with_the_blocks_of_a_killed_client(tmp_path: Path) -> None:
    file = tmp_path / "large"
    write_random(file, 8 * SIZE, rng=Random(2))
    home = tmp_path / "home"
    with running_cluster(
        tmp_path / "cluster", datanodes=2, block_size_bytes="1MiB", lease_hard_s="10m"
    ) as cluster:
        blocks = _kill_in_mid_put(cluster, home, file, "/resumed", sent=3)
        again = _dfs(cluster, home, "put", "--resume", file, "/resumed")
        said, _ = again.communicate(timeout=120)
        assert again.returncode == 0, said
        with cluster.client() as client:
            shown = {extent.truth.block for extent in client.locate("/resumed").extents}
            _get(client, "/resumed", tmp_path / "back")
        assert _is_same(file, tmp_path / "back")
        assert len(shown & set(blocks)) == len(blocks) >= 3, "blocks that were there are sent again"
        assert not list(home.rglob("put-*.jsonl")), "a put that is done is still remembered"


# ---- the long one

SOAK_SETTINGS = {
    "block_size_bytes": "128MiB",
    "block_token_life_s": "10m",
    "lease_soft_s": "60s",
    "lease_hard_s": "20m",
    "stall_s": "30s",
    "timeout_s": "30s",
    "give_up_s": "120s",
    "transfer_give_up_s": "10m",
}
SOAK_FILES_MIN = 5_000
SOAK_COPIES_MAX = 10
SOAK_BYTES = 2048 * MIB


class _Digest:
    """A stream that keeps the hash of what is written to it."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None: ...


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_source_tree_and_two_gibibytes_survive_every_datanode_and_a_restart_of_everything(
    tmp_path: Path,
) -> None:
    tree, large = tmp_path / "tree", tmp_path / "large"
    prints = _make_tree(tree)
    write_random(large, SOAK_BYTES, rng=Random(3))
    with large.open("rb") as out:
        digest = hashlib.file_digest(out, "sha256").hexdigest()
    print(f"{len(prints.files):,} files, {prints.size_bytes:,} bytes; {SOAK_BYTES:,} in one file")
    with running_cluster(tmp_path / "cluster", datanodes=3, **SOAK_SETTINGS) as cluster:
        with cluster.client(local_transfers=True) as client:
            _timed("put tree", lambda: _put_two_copies(client, tree, recursive=True))
        with cluster.client(local_transfers=False) as client:
            _timed("put large", lambda: _put_two_copies(client, large, recursive=False))
        large.unlink()
        for name in cluster.datanodes:
            cluster.kill(name)
            _compare(cluster, tmp_path / "back", prints, digest, f"without {name}")
            cluster.start(name)
        for name in cluster.names:
            cluster.kill(name)
        _timed("start everything", cluster.up)
        _compare(cluster, tmp_path / "back", prints, digest, "after a restart of everything")
        cluster.check_metadata()


def _make_tree(tree: Path) -> Prints:
    """Python's own library, as often as it takes."""
    for number in range(SOAK_COPIES_MAX):
        copy_library(tree / f"library-{number}")
        prints = take_prints(tree)
        if len(prints.files) >= SOAK_FILES_MIN:
            return prints
    raise AssertionError(f"{len(prints.files)} files are too few for this test")


def _put_two_copies(client: DfsClient, source: Path, *, recursive: bool) -> None:
    options = PutOptions(recursive=recursive, replication=2)
    report = client.put([source], "/", options=options)
    assert report.ok, report.worst()
    assert report.owed == 0


def _compare(cluster: RigCluster, back: Path, prints: Prints, digest: str, when: str) -> None:
    """Either way to DataNodes in turn: over the network without the second, over sockets else."""
    with cluster.client(local_transfers="dn-2" not in when) as client:
        options = GetOptions(recursive=True)
        report = _timed(f"get tree {when}", lambda: client.get(["/tree"], back, options=options))
        assert report.ok, report.worst()
        assert prints.differences(take_prints(back)) == [], when
        shutil.rmtree(back)
        out = _Digest()
        _timed(f"get large {when}", lambda: client.get_stream("/large", out))
        assert out.hash.hexdigest() == digest, when


def _timed(what: str, work: Callable[[], object]):
    began = time.monotonic()
    result = work()
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)
    return result
