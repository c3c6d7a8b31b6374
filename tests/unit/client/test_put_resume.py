"""Going on with a put that was interrupted, and skipping what is there."""

import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.base.errors import BeingWritten, SourceChanged
from dfs.base.ids import BlockId
from dfs.base.records import WrittenBlock
from dfs.client import PutOptions
from dfs.client.put_plan import PlannedFile
from dfs.client.resume import PutState
from dfs.wire.data_api import OpenedFile
from tests.builders import a_truth
from tests.fake_datanode import FakeDataNode

MIB = 1 << 20
RESUME = PutOptions(resume=True, recursive=True)

KILLED = """
import os, sys
from pathlib import Path
from dfs.base import crashpoint
from dfs.client import connect
from dfs.client.options import PutOptions
crashpoint.arm({"DFS_CRASHPOINT": sys.argv[4]})
environment = {"HOME": sys.argv[1], "DFS_NAMENODE": sys.argv[2], "DFS_TOKEN": "dfs_session"}
with connect(environment=environment) as dfs:
    dfs.put([Path(sys.argv[3])], "/data/f", options=PutOptions(recursive=True))
"""


def some(length: int) -> bytes:
    return os.urandom(length)


def kill_a_put(home: Path, url: str, source: Path, at: str) -> None:
    """Put in a process of its own that ends, as by SIGKILL, at that point."""
    arguments = [sys.executable, "-c", KILLED, str(home), url, str(source), at]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 137, done.stderr


def uploads(nodes: list[FakeDataNode]) -> int:
    return sum(node.calls["upload"] for node in nodes)


def blocks_done(home: Path, source: Path) -> list[BlockId]:
    """Those that a killed put of the source remembered as durable."""
    found = source.stat()
    planned = PlannedFile(str(source), "/data/f", found.st_size, found.st_mtime_ns, 0o644)
    state = PutState.load(home / ".local/state/dfs", planned)
    assert state is not None
    state.close()
    return [written.truth.block for written in state.done.values()]


@pytest.mark.parametrize("block", [1, 3, 6])
def test_killed_put_shows_nothing_and_resume_sends_only_what_is_missing(
    catalog, nodes, connect_to, tmp_path: Path, block: int
) -> None:
    source, data = tmp_path / "f", some(6 * MIB + 5)
    source.write_bytes(data)
    kill_a_put(tmp_path, catalog.url, source, f"client.state.block:{block}")
    assert "/data/f" not in catalog.entries
    done = blocks_done(tmp_path, source)
    assert len(done) >= block
    client = connect_to(catalog)
    client.state_folder = tmp_path / ".local/state/dfs"
    assert client.put([source], "/data/f", options=RESUME).ok
    assert catalog.content("/data/f") == data
    # By name: what else the killed process had sent may still be on its way to a node.
    sent = Counter[BlockId]()
    for node in nodes:
        sent.update({name.block: times for name, times in node.uploads.items()})
    assert [sent[each] for each in done] == [2] * len(done), "to two nodes, once"
    assert list(client.state_folder.iterdir()) == []


@pytest.mark.parametrize("at", ["client.state.begun", "client.file.written", "client.file.created"])
def test_put_killed_anywhere_can_be_put_again(catalog, connect_to, tmp_path: Path, at: str) -> None:
    source, data = tmp_path / "f", some(3 * MIB)
    source.write_bytes(data)
    kill_a_put(tmp_path, catalog.url, source, at)
    assert "/data/f" not in catalog.entries
    client = connect_to(catalog)
    client.state_folder = tmp_path / ".local/state/dfs"
    if at == "client.file.created":
        catalog.writes.clear()  # nothing is remembered of it: its lease runs out
    assert client.put([source], "/data/f", options=RESUME).ok
    assert catalog.content("/data/f") == data


def test_put_without_resume_gives_the_interrupted_one_up(
    catalog, connect_to, tmp_path: Path
) -> None:
    source, data = tmp_path / "f", some(3 * MIB)
    source.write_bytes(data)
    kill_a_put(tmp_path, catalog.url, source, "client.state.block:1")
    client = connect_to(catalog)
    client.state_folder = tmp_path / ".local/state/dfs"
    assert client.put([source], "/data/f").ok
    assert catalog.content("/data/f") == data


@pytest.mark.parametrize("why", ["lease lost", "source changed"])
def test_resume_begins_anew_when_the_earlier_blocks_are_no_good(
    catalog, connect_to, tmp_path: Path, why: str
) -> None:
    source, data = tmp_path / "f", some(3 * MIB)
    source.write_bytes(data)
    kill_a_put(tmp_path, catalog.url, source, "client.state.block:2")
    client = connect_to(catalog)
    client.state_folder = tmp_path / ".local/state/dfs"
    if why == "lease lost":
        catalog.writes.clear()
    else:
        data = some(3 * MIB)
        source.write_bytes(data)
        os.utime(source, (1_600_000_000, 1_600_000_000))
    assert client.put([source], "/data/f", options=RESUME).ok
    assert catalog.content("/data/f") == data


def test_put_that_failed_for_want_of_nodes_can_be_gone_on_with(
    catalog, nodes, client, tmp_path: Path
) -> None:
    source, data = tmp_path / "f", some(5 * MIB)
    source.write_bytes(data)
    for node in nodes:
        node.upload_ends_after = MIB
    assert not client.put([source], "/data/f").ok
    assert len(catalog.writes) == 1, "its lease is kept"
    for node in nodes:
        node.upload_ends_after = None
        client.cluster.plane.memory.succeeded(node.node)
    assert client.put([source], "/data/f", options=RESUME).ok
    assert catalog.content("/data/f") == data


def test_state_with_a_cut_line_has_one_block_less(client, catalog, tmp_path: Path) -> None:
    planned = PlannedFile(str(tmp_path / "f"), "/data/f", 5, 6, 0o644)
    opened = OpenedFile("/data/f", 1, "lease", MIB, 2, 1, [])
    state = PutState.begin(tmp_path / "s", planned, opened)
    assert state is not None
    state.add(0, WrittenBlock(a_truth(1), ()))
    state.add(1, WrittenBlock(a_truth(2), ()))
    state.close()
    file = next((tmp_path / "s").iterdir())
    os.truncate(file, file.stat().st_size - 9)
    again = PutState.load(tmp_path / "s", planned)
    assert again is not None
    assert set(again.done) == {0}
    again.add(1, WrittenBlock(a_truth(3), ()))
    again.close()
    last = PutState.load(tmp_path / "s", planned)
    assert last is not None
    assert last.done[1].truth == a_truth(3)


@pytest.mark.parametrize("options", [RESUME, PutOptions()], ids=["resume", "anew"])
def test_second_put_of_a_file_leaves_the_one_that_runs_alone(
    catalog, connect_to, tmp_path: Path, watching, options: PutOptions
) -> None:
    source, data = tmp_path / "f", some(4 * MIB)
    source.write_bytes(data)
    first, second = connect_to(catalog), connect_to(catalog)
    begun, go_on = threading.Event(), threading.Event()
    moved = watching.advanced

    def hold_up(size: int) -> None:
        moved(size)
        begun.set()
        go_on.wait(30)

    watching.advanced = hold_up
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(first.put, [source], "/data/f", progress=watching)
        try:
            assert begun.wait(30)
            report = second.put([source], "/data/f", options=options)
        finally:
            go_on.set()
        assert isinstance(report.worst(), BeingWritten)
        assert running.result(60).ok
    assert catalog.content("/data/f") == data
    assert list(first.state_folder.iterdir()) == []


def test_state_in_use_is_neither_loaded_nor_begun_anew(
    tmp_path: Path,
) -> None:
    planned = PlannedFile(str(tmp_path / "f"), "/data/f", 5, 6, 0o644)
    opened = OpenedFile("/data/f", 1, "lease", MIB, 2, 1, [])
    running = PutState.begin(tmp_path / "s", planned, opened)
    assert running is not None
    assert PutState.load(tmp_path / "s", planned) is None
    assert PutState.begin(tmp_path / "s", planned, opened) is None
    running.forget()
    assert PutState.load(tmp_path / "s", planned) is None
    assert PutState.begin(tmp_path / "s", planned, opened) is not None


# --- what is there ------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, client) -> Path:
    top = tmp_path / "t"
    top.mkdir()
    for number in range(4):
        (top / f"f{number}").write_bytes(some(MIB + number))
    assert client.put([top], "/data/t", options=RESUME).ok
    return top


def test_resume_skips_what_is_there_with_equal_size_and_time(client, nodes, tree, watching) -> None:
    for node in nodes:
        node.calls.clear()
    report = client.put([tree], "/data/", options=RESUME, progress=watching)
    assert (report.files, report.skipped) == (0, 4)
    assert uploads(nodes) == 0
    assert watching.moved == watching.size_bytes


def test_resume_compares_content_when_only_the_time_differs(client, nodes, tree) -> None:
    for path in tree.iterdir():
        os.utime(path, (1_500_000_000, 1_500_000_000))
    (tree / "f0").write_bytes(some(MIB))
    options = PutOptions(resume=True, recursive=True, overwrite=True)
    report = client.put([tree], "/data/", options=options)
    assert (report.files, report.skipped) == (1, 3)


def test_resume_puts_what_is_missing(client, catalog, tree) -> None:
    (tree / "new").write_bytes(b"n")
    report = client.put([tree], "/data/", options=RESUME)
    assert (report.files, report.skipped) == (1, 4)
    assert catalog.content("/data/t/new") == b"n"


def test_changed_source_is_not_kept_for_resume(client, catalog, tmp_path: Path, watching) -> None:
    source = tmp_path / "f"
    source.write_bytes(some(5 * MIB))
    moved = watching.advanced

    def meddle(size: int) -> None:
        moved(size)
        os.utime(source, (1, 1))

    watching.advanced = meddle
    report = client.put([source], "/data/f", progress=watching)
    assert isinstance(report.worst(), SourceChanged)
    assert list(client.state_folder.iterdir()) == []


# --- a directory under a new name ---------------------------------------------------------------


@pytest.fixture
def cut_short(tmp_path: Path, client, watching) -> Path:
    """A tree whose put to /data/new was ended by ^C."""
    top = tmp_path / "t"
    (top / "deep").mkdir(parents=True)
    (top / "f").write_bytes(some(3 * MIB))
    (top / "deep" / "g").write_bytes(b"g")

    def interrupted(_size: int) -> None:
        raise KeyboardInterrupt

    advanced, watching.advanced = watching.advanced, interrupted
    with pytest.raises(KeyboardInterrupt):
        client.put([top], "/data/new", options=PutOptions(recursive=True), progress=watching)
    watching.advanced = advanced
    return top


@pytest.mark.parametrize("target", ["/data/new", "/data/new/"])
def test_resume_goes_on_in_the_directory_that_the_put_made(
    catalog, connect_to, cut_short: Path, target: str
) -> None:
    client = connect_to(catalog)
    assert client.put([cut_short], target, options=RESUME).ok
    assert catalog.content("/data/new/f") == (cut_short / "f").read_bytes()
    assert catalog.content("/data/new/deep/g") == b"g"
    assert "/data/new/t" not in catalog.entries
    assert list(client.state_folder.iterdir()) == []


def test_tree_killed_when_its_directory_is_marked_goes_on_in_it(
    catalog, connect_to, tmp_path: Path
) -> None:
    top = tmp_path / "t"
    top.mkdir()
    (top / "g").write_bytes(b"g")
    kill_a_put(tmp_path, catalog.url, top, "client.tree.marked")
    client = connect_to(catalog)
    client.state_folder = tmp_path / ".local/state/dfs"
    assert client.put([top], "/data/f", options=RESUME).ok
    assert catalog.content("/data/f/g") == b"g"
    assert "/data/f/t" not in catalog.entries


def test_resume_goes_into_a_directory_that_the_put_did_not_make(
    catalog, connect_to, cut_short: Path
) -> None:
    client = connect_to(catalog)
    client.remove("/data/new", recursive=True, skip_trash=True)
    client.mkdir("/data/new")
    assert client.put([cut_short], "/data/new", options=RESUME).ok
    assert catalog.content("/data/new/t/deep/g") == b"g"
    assert "/data/new/f" not in catalog.entries


def test_put_without_resume_goes_into_the_directory_that_is_there(
    catalog, connect_to, cut_short: Path
) -> None:
    client = connect_to(catalog)
    assert client.put([cut_short], "/data/new", options=PutOptions(recursive=True)).ok
    assert catalog.content("/data/new/t/deep/g") == b"g"
