"""Putting files, trees and streams, through real sockets."""

import io
import os
import tracemalloc
from pathlib import Path

import pytest

from dfs.base.errors import (
    BadRequest,
    BeingWritten,
    DiskFull,
    IsADirectory,
    LeaseLost,
    LocalNotFound,
    NotADirectory,
    PathExists,
    PathNotFound,
    PlacementRefused,
    SourceChanged,
)
from dfs.client import DfsClient, DfsError, PutOptions
from tests.fake_catalog import FakeCatalog
from tests.fake_datanode import FakeDataNode

MIB = 1 << 20
TREE = PutOptions(recursive=True)
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 1, 7 * MIB + 12345]


def some(length: int) -> bytes:
    return (bytes(n % 253 for n in range(4099)) * (length // 4099 + 1))[:length]


def a_file(path: Path, data: bytes = b"hello", *, mode: int = 0o640, mtime: int = 1_600_000_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, (mtime, mtime))
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["pipeline", "fan-out"])
def test_put_stores_the_file_on_two_nodes(client, catalog, nodes, tmp_path, size, mode) -> None:
    source = a_file(tmp_path / "f", some(size))
    report = client.put([source], "/data/f", options=PutOptions(write_mode=mode))
    assert report.ok
    assert (report.files, report.size_bytes, report.owed) == (1, size, 0)
    assert catalog.content("/data/f") == some(size)
    blocks = -(-size // MIB)
    assert sum(len(node.blocks) for node in nodes) == 2 * blocks


@pytest.mark.parametrize("size", SIZES)
def test_put_stream_of_unknown_length_stores_it(client, catalog, size) -> None:
    client.put_stream(io.BytesIO(some(size)), "/data/f")
    assert catalog.content("/data/f") == some(size)
    assert catalog.entries["/data/f"].status.size_bytes == size


def test_put_keeps_mode_and_time(client, catalog, tmp_path) -> None:
    client.put([a_file(tmp_path / "f", mode=0o751)], "/data")
    status = catalog.entries["/data/f"].status
    assert (status.mode, status.modified_ms) == (0o751, 1_600_000_000_000)


def test_put_does_not_replace_unless_asked(client, catalog, tmp_path) -> None:
    client.put([a_file(tmp_path / "f", b"old")], "/data/f")
    again = client.put([a_file(tmp_path / "f", b"new")], "/data/f")
    assert isinstance(again.worst(), PathExists)
    assert catalog.content("/data/f") == b"old"
    assert client.put([tmp_path / "f"], "/data/f", options=PutOptions(overwrite=True)).ok
    assert catalog.content("/data/f") == b"new"


# --- trees --------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    a_file(top / "a", b"1")
    a_file(top / "sub" / "b", b"22")
    a_file(top / "sub" / "deep" / "c", b"")
    (top / "empty").mkdir()
    return top


NAMES = ["/a", "/empty", "/sub", "/sub/b", "/sub/deep", "/sub/deep/c"]


@pytest.mark.parametrize(
    ("source", "target", "lands"),
    [
        ("tree", "/data/new", "/data/new"),
        ("tree/", "/data/new", "/data/new"),
        ("tree", "/data/new/", "/data/new"),
        ("tree", "/data", "/data/tree"),
        ("tree/", "/data/", "/data/tree"),
        ("tree/.", "/data", "/data"),
        ("tree/sub/..", "/data", "/data"),
    ],
)
def test_put_tree_lands_where_cp_would_put_it(client, catalog, tree, source, target, lands) -> None:
    report = client.put([f"{tree.parent}/{source}"], target, options=TREE)
    assert report.ok
    below = [p for p in catalog.entries if p.startswith(lands + "/")]
    assert sorted(below) == sorted(lands + name for name in NAMES)


def test_put_tree_of_the_working_directory_puts_its_contents(
    client, catalog, tree, monkeypatch
) -> None:
    monkeypatch.chdir(tree)
    assert client.put([Path()], "/data", options=TREE).ok
    assert catalog.content("/data/sub/b") == b"22"


def test_put_tree_keeps_modes_even_those_that_would_keep_us_out(client, catalog, tree) -> None:
    (tree / "sub").chmod(0o550)
    assert client.put([tree], "/data", options=TREE).ok
    assert catalog.entries["/data/tree/sub"].status.mode == 0o550
    (tree / "sub").chmod(0o750)


def test_put_directory_without_recursive_is_refused(client, tree) -> None:
    assert isinstance(client.put([tree], "/data").worst(), IsADirectory)


@pytest.mark.parametrize(
    ("sources", "target", "error"),
    [
        (["a", "sub/b"], "/data/none", PathNotFound),
        (["a", "sub/b"], "/data/file", NotADirectory),
        (["a"], "/data/file/", NotADirectory),
    ],
)
def test_put_refuses_targets_as_cp_does(client, tree, sources, target, error) -> None:
    client.write_bytes("/data/file", b"x")
    with pytest.raises(error):
        client.put([tree / source for source in sources], target, options=TREE)


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("a", "/data/none/", PathNotFound),
        ("a", "/none/x", PathNotFound),
        ("sub", "/data/file", NotADirectory),
        ("sub", "/none/x", PathNotFound),
        ("missing", "/data", LocalNotFound),
    ],
)
def test_put_reports_what_is_wrong_with_a_source(client, tree, source, target, error) -> None:
    client.write_bytes("/data/file", b"x")
    report = client.put([tree / source], target, options=TREE)
    assert [type(why) for _path, why in report.failed][:1] == [error]


def test_put_of_several_goes_on_when_one_fails(client, catalog, tree, watching) -> None:
    client.write_bytes("/data/b", b"there")
    sources = [tree / "missing", tree / "a", tree / "sub" / "b", tree / "sub" / "deep" / "c"]
    report = client.put(sources, "/data", progress=watching)
    assert report.files == 2
    assert {type(why) for _path, why in report.failed} == {LocalNotFound, PathExists}
    assert sorted(code for _path, _size, code in watching.done) == [
        "",
        "",
        "local_not_found",
        "path_exists",
    ]


def test_put_tree_follows_links_to_files_and_notes_what_it_leaves_out(
    client, catalog, tree, watching
) -> None:
    (tree / "to_file").symlink_to(tree / "a")
    (tree / "to_dir").symlink_to(tree / "sub")
    (tree / "broken").symlink_to(tree / "none")
    (tree / "loop").symlink_to(tree / "loop")
    os.mkfifo(tree / "pipe")
    report = client.put([tree], "/data", options=TREE, progress=watching)
    assert report.ok
    assert report.skipped == len(watching.notes) == 4
    assert catalog.content("/data/tree/to_file") == b"1"
    assert not any("to_dir" in path or "pipe" in path for path in catalog.entries)


def test_put_refuses_a_pipe_that_is_named_rather_than_store_nothing(client, catalog, tree) -> None:
    os.mkfifo(tree / "pipe")
    report = client.put([tree / "pipe"], "/data/f")
    assert [type(why) for _path, why in report.failed] == [BadRequest]
    assert "/data/f" not in catalog.entries


def test_put_tells_of_a_directory_that_cannot_be_made_not_of_each_file_below(
    client, tree, watching
) -> None:
    report = client.put([tree], "/none/x", options=TREE, progress=watching)
    assert len(report.failed) == 4
    assert len(watching.done) == len(watching.notes) == 1
    assert "dfs mkdir -p /none" in report.failed[0][1].hint


ODD = ["new\nline", "100%", "a b", "%2e%2e", "ünïcödé 名前", "-dash", "tab\there", "é" * 127, "'\""]


def test_put_and_get_keep_odd_names(client, catalog, tmp_path) -> None:
    for name in ODD:
        a_file(tmp_path / "odd" / name, name.encode())
    assert client.put([tmp_path / "odd"], "/data", options=TREE).ok
    assert {p.rsplit("/", 1)[1] for p in catalog.entries if p.startswith("/data/odd/")} == set(ODD)
    from dfs.client import GetOptions

    assert client.get(["/data/odd"], tmp_path / "back", options=GetOptions(recursive=True)).ok
    assert {p.name: p.read_bytes() for p in (tmp_path / "back").iterdir()} == {
        name: name.encode() for name in ODD
    }


def test_put_reports_a_name_that_is_not_utf8_and_puts_the_rest(client, catalog, tree) -> None:
    (tree / os.fsdecode(b"bad\xff")).write_bytes(b"x")
    (tree / os.fsdecode(b"folder\xfe")).mkdir()
    (tree / os.fsdecode(b"folder\xfe") / "inside").write_bytes(b"x")
    report = client.put([tree], "/data", options=TREE)
    assert [(path, why.code) for path, why in report.failed] == [
        (f"{tree}/bad\\xff", "bad_path"),
        (f"{tree}/folder\\xfe", "bad_path"),
    ]
    assert "bad\\xff" in report.failed[0][1].message
    assert report.files == 3


def test_large_file_in_a_folder_whose_name_is_not_utf8_is_put_and_gone_on_with(
    client, catalog, nodes, tmp_path
) -> None:
    source = a_file(tmp_path / os.fsdecode(b"d\xff") / "big", some(3 * MIB))
    catalog.refusals["complete"] = [LeaseLost("gone")]
    assert not client.put([source], "/data/big").ok
    assert client.put([source], "/data/big", options=PutOptions(resume=True)).ok
    assert catalog.content("/data/big") == some(3 * MIB)


def test_target_that_is_not_utf8_is_refused(client, tmp_path) -> None:
    with pytest.raises(BadRequest, match="not UTF-8"):
        client.put([a_file(tmp_path / "f")], os.fsdecode(b"/data/\xff"))


def test_put_of_many_small_files_asks_the_namenode_little(client, catalog, nodes, tmp_path) -> None:
    for number in range(1_100):
        a_file(tmp_path / "many" / f"d{number % 20}" / f"f{number}", b"%d" % number)
    report = client.put([tmp_path / "many"], "/data", options=TREE)
    assert report.ok
    assert report.files == 1_100
    asked = sum(catalog.requests.values()) - catalog.requests["renew"]
    assert asked <= 12, catalog.requests
    assert catalog.largest["create"] <= 500
    assert catalog.requests["allocate"] == 0


# --- faults of nodes ----------------------------------------------------------------------------


def test_put_replaces_a_dead_target_without_the_user_noticing(
    client, catalog, nodes: list[FakeDataNode], tmp_path, watching
) -> None:
    nodes[0].stop()
    source = a_file(tmp_path / "f", some(5 * MIB))
    report = client.put([source], "/data/f", progress=watching)
    assert report.ok
    assert report.owed == 0
    assert catalog.content("/data/f") == some(5 * MIB)
    assert len(nodes[1].blocks) >= 5
    assert len(nodes[2].blocks) >= 5
    assert watching.moved == 5 * MIB


def test_put_replaces_a_target_that_dies_in_mid_block(client, catalog, nodes, tmp_path) -> None:
    options = PutOptions(block_size_bytes=4 * MIB)
    nodes[0].upload_ends_after = 2 * MIB
    report = client.put([a_file(tmp_path / "f", some(9 * MIB))], "/data/f", options=options)
    assert report.ok
    assert report.owed == 0
    assert catalog.content("/data/f") == some(9 * MIB)


def test_put_stream_replays_the_block_when_its_target_dies(client, catalog, nodes) -> None:
    nodes[0].upload_ends_after = 2 * MIB
    options = PutOptions(block_size_bytes=4 * MIB)
    report = client.put_stream(io.BytesIO(some(9 * MIB)), "/data/f", options=options)
    assert report.owed == 0
    assert catalog.content("/data/f") == some(9 * MIB)


def test_put_accepts_the_copies_there_are_when_no_other_node_is_left(
    client, catalog, nodes, tmp_path
) -> None:
    nodes[0].stop()
    nodes[1].stop()
    report = client.put([a_file(tmp_path / "f", some(3 * MIB))], "/data/f")
    assert report.ok
    assert report.owed == 3
    assert catalog.content("/data/f") == some(3 * MIB)


def test_put_uses_the_survivor_when_the_namenode_names_no_other(
    client, catalog, nodes, tmp_path
) -> None:
    catalog.avoided = {3}
    nodes[0].stop()
    catalog.refusals["allocate"] = [PlacementRefused("none") for _ in range(9)]
    report = client.put([a_file(tmp_path / "f", b"x")], "/data/f")
    assert report.ok
    assert report.owed == 1


def test_put_sends_nothing_again_when_that_would_gain_nothing(
    client, catalog, nodes, tmp_path
) -> None:
    catalog.avoided = {3}
    nodes[1].stop()
    report = client.put([a_file(tmp_path / "f", b"x")], "/data/f")
    assert report.ok
    assert nodes[0].calls["upload"] == 1


def test_put_names_every_node_and_its_reason_when_none_takes_the_block(
    client, catalog, nodes, tmp_path
) -> None:
    for node in nodes:
        node.refuse = DiskFull(f"disk {node.node} is full")
    report = client.put([a_file(tmp_path / "f", b"x")], "/data/f")
    why = report.worst()
    assert isinstance(why, PlacementRefused)
    assert all(f"disk {n} is full" in why.message for n in (1, 2, 3))
    assert "/data/f" not in catalog.entries
    assert not catalog.writes, "the lease was given back"


def test_put_fails_when_fewer_than_min_acks_hold_it(client, catalog, nodes, tmp_path) -> None:
    catalog.min_acks = 2
    nodes[0].stop()
    nodes[1].stop()
    report = client.put([a_file(tmp_path / "f", b"x")], "/data/f")
    assert isinstance(report.worst(), PlacementRefused)
    assert "/data/f" not in catalog.entries


def test_put_asks_for_other_nodes_at_once_when_one_failed_lately(
    client, catalog, nodes, tmp_path
) -> None:
    nodes[0].refuse = DiskFull("full")
    client.put([a_file(tmp_path / "f", some(9 * MIB))], "/data/f")
    assert nodes[0].calls["upload"] <= 3, "not once a block"


def test_put_allocates_again_when_its_tokens_expired(client, catalog, nodes, tmp_path) -> None:
    source = a_file(tmp_path / "f", some(3 * MIB))
    real = catalog._create

    def create_late(body):
        reply = real(body)
        catalog.expire_tokens()
        return reply

    catalog._create = create_late
    report = client.put([source], "/data/f")
    assert report.ok
    assert catalog.content("/data/f") == some(3 * MIB)


def test_put_survives_lost_answers_of_every_step(client, catalog, tmp_path) -> None:
    for step in ("create", "allocate", "complete"):
        catalog.answers_lost[step] = 1
    report = client.put([a_file(tmp_path / "f", some(9 * MIB))], "/data/f")
    assert report.ok
    assert catalog.content("/data/f") == some(9 * MIB)


# --- faults of the source -----------------------------------------------------------------------


class Meddling:
    """A progress that does something to the source when bytes have moved."""

    def __init__(self, meddle) -> None:
        self._meddle = meddle

    def started(self, files: int, size_bytes: int) -> None:
        """See Progress."""

    def advanced(self, size_bytes: int) -> None:
        if self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()

    def file_done(self, path: str, size_bytes: int, error: DfsError | None) -> None:
        """See Progress."""

    def note(self, text: str) -> None:
        """See Progress."""


@pytest.mark.parametrize("size", [MIB // 2, 6 * MIB])
@pytest.mark.parametrize("change", ["grows", "shrinks", "is touched"])
def test_put_of_a_file_that_changes_is_an_error_and_shows_nothing(
    client, catalog, tmp_path, size, change
) -> None:
    source = a_file(tmp_path / "f", some(size))

    def meddle() -> None:
        if change == "grows":
            with source.open("ab") as out:
                out.write(b"more")
        elif change == "shrinks":
            os.truncate(source, 10)
        os.utime(source, (1_600_000_001, 1_600_000_001))

    report = client.put([source], "/data/f", progress=Meddling(meddle))
    assert isinstance(report.worst(), SourceChanged)
    assert "/data/f" not in catalog.entries
    assert not catalog.writes


def test_put_ended_by_the_user_shows_nothing_and_gives_its_lease_back(
    client: DfsClient, catalog: FakeCatalog, tmp_path
) -> None:
    class Interrupting(Meddling):
        def started(self, files: int, size_bytes: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.put([a_file(tmp_path / "f")], "/data/f", progress=Interrupting(None))
    assert "/data/f" not in catalog.entries
    assert client.put([tmp_path / "f"], "/data/f").ok, "the client still works"


def test_two_puts_of_one_path_have_one_winner(client, catalog, connect_to, tmp_path) -> None:
    writer = client.open("/data/f", "wb")
    report = client.put([a_file(tmp_path / "f")], "/data/f")
    assert isinstance(report.worst(), BeingWritten)
    writer.write(b"won")
    writer.close()
    assert catalog.content("/data/f") == b"won"


def test_put_keeps_leases_alive_while_it_takes_time(client, catalog) -> None:
    with client.open("/data/slow", "wb") as out:
        out.write(b"x")
        with catalog.asked:
            assert catalog.asked.wait_for(lambda: catalog.requests["renew"] >= 2, timeout=20)


def peak_of_put(client: DfsClient, source: Path, target: str) -> int:
    options = PutOptions(block_size_bytes=32 * MIB, replication=1)
    tracemalloc.start()
    try:
        assert client.put([source], target, options=options).ok
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_put_does_not_grow_with_the_file(client, nodes, tmp_path) -> None:
    for node in nodes:
        node.discards = True  # what DataNodes hold is not the client's memory
    source = tmp_path / "large"
    with source.open("wb") as out:
        out.truncate(32 * MIB)
    client.put([a_file(tmp_path / "warm")], "/data/warm")
    one_block = peak_of_put(client, source, "/data/one")
    os.truncate(source, 192 * MIB)
    six_blocks = peak_of_put(client, source, "/data/six")
    assert one_block < 32 * MIB, "never a block in memory"
    assert six_blocks < 3 * one_block + 4 * MIB, "three blocks are under way, of any number"
