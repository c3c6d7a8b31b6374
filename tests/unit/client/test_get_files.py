"""Getting files, trees and streams, through real sockets."""

import errno
import io
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.errors import (
    BlockCorrupt,
    DataUnavailable,
    IsADirectory,
    LocalDiskFull,
    LocalExists,
    LocalNotFound,
    PathNotFound,
)
from dfs.client import GetOptions
from dfs.client.local_files import PartFile
from tests.fake_datanode import FakeDataNode

MIB = 1 << 20
TREE = GetOptions(recursive=True)
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 7 * MIB + 12345]


def some(length: int) -> bytes:
    return (bytes((n + 1) % 253 for n in range(4099)) * (length // 4099 + 1))[:length]


@pytest.mark.parametrize("size", SIZES)
def test_get_gives_back_what_was_put(client, tmp_path: Path, size: int, watching) -> None:
    client.write_bytes("/data/f", some(size))
    report = client.get(["/data/f"], tmp_path / "f", progress=watching)
    assert report.ok
    assert (report.files, report.size_bytes) == (1, size)
    assert (tmp_path / "f").read_bytes() == some(size)
    assert watching.moved == watching.size_bytes == size
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("size", SIZES)
def test_get_stream_gives_the_bytes_in_order(client, size: int) -> None:
    client.write_bytes("/data/f", some(size))
    out = io.BytesIO()
    assert client.get_stream("/data/f", out) == size
    assert out.getvalue() == some(size)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 10), (MIB - 5, 10), (2 * MIB, None), (-7, None), (0, 0), (9 * MIB, 5)],
)
def test_get_stream_gives_a_range(client, offset: int, length: int | None) -> None:
    data = some(3 * MIB + 99)
    client.write_bytes("/data/f", data)
    out = io.BytesIO()
    client.get_stream("/data/f", out, offset=offset, length=length)
    tail = data[offset:]
    assert out.getvalue() == (tail if length is None else tail[:length])


def test_get_restores_modes_and_times(client, tmp_path: Path) -> None:
    (tmp_path / "in" / "d").mkdir(parents=True)
    source = tmp_path / "in" / "d" / "f"
    source.write_bytes(b"x")
    source.chmod(0o751)
    os.utime(source, (1_600_000_000, 1_600_000_000))
    (tmp_path / "in" / "d").chmod(0o750)
    from dfs.client import PutOptions

    client.put([tmp_path / "in"], "/data", options=PutOptions(recursive=True))
    client.get(["/data/in"], tmp_path / "out", options=TREE)
    found = (tmp_path / "out" / "d" / "f").stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o751, 1_600_000_000)
    assert (tmp_path / "out" / "d").stat().st_mode & 0o777 == 0o750


@pytest.fixture
def tree(client) -> str:
    client.mkdir("/data/t/sub/deep", parents=True)
    client.mkdir("/data/t/empty")
    client.write_bytes("/data/t/a", b"1")
    client.write_bytes("/data/t/sub/b", b"22")
    return "/data/t"


def names(top: Path) -> list[str]:
    return sorted(str(each.relative_to(top)) for each in top.rglob("*"))


@pytest.mark.parametrize(("target", "lands"), [("new", "new"), (".", "t")])
def test_get_tree_lands_where_cp_would_put_it(
    client, tree: str, tmp_path: Path, target: str, lands: str
) -> None:
    report = client.get([tree + "/"], tmp_path / target, options=TREE)
    assert report.ok
    assert names(tmp_path / lands) == ["a", "empty", "sub", "sub/b", "sub/deep"]


def test_get_root_gets_its_contents(client, tree: str, tmp_path: Path) -> None:
    assert client.get(["/"], tmp_path, options=TREE).ok
    assert (tmp_path / "data" / "t" / "a").read_bytes() == b"1"


def test_get_tells_of_a_directory_that_cannot_be_made_not_of_each_entry_below(
    client, tree: str, tmp_path: Path, watching
) -> None:
    report = client.get([tree], tmp_path / "none" / "t", options=TREE, progress=watching)
    assert [path for path, _why in report.failed] == [tree, f"{tree}/a", f"{tree}/sub/b"]
    assert len(watching.done) == len(watching.notes) == 1
    assert report.homeless == {f"{tree}/a", f"{tree}/sub/b"}


def test_get_directory_without_recursive_is_refused(client, tree: str, tmp_path: Path) -> None:
    report = client.get([tree], tmp_path)
    assert isinstance(report.worst(), IsADirectory)
    assert names(tmp_path) == []


def test_get_of_several_needs_a_directory(client, tree: str, tmp_path: Path) -> None:
    sources = [f"{tree}/a", f"{tree}/sub/b"]
    with pytest.raises(LocalNotFound):
        client.get(sources, tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalExists):
        client.get(sources, tmp_path / "file")
    assert client.get(sources, tmp_path).files == 2


def test_get_goes_on_when_one_fails(client, tree: str, tmp_path: Path, watching) -> None:
    (tmp_path / "b").write_bytes(b"mine")
    sources = [f"{tree}/a", f"{tree}/none", f"{tree}/sub/b"]
    report = client.get(sources, tmp_path, progress=watching)
    assert report.files == 1
    assert {type(why) for _path, why in report.failed} == {PathNotFound, LocalExists}
    assert (tmp_path / "b").read_bytes() == b"mine"


def test_get_replaces_only_when_asked(client, tree: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    assert isinstance(client.get([f"{tree}/a"], tmp_path / "a").worst(), LocalExists)
    assert client.get([f"{tree}/a"], tmp_path / "a", options=GetOptions(overwrite=True)).ok
    assert (tmp_path / "a").read_bytes() == b"1"


def test_get_never_replaces_a_directory_by_a_file(client, tree: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    options = GetOptions(overwrite=True, recursive=True)
    client.get([f"{tree}/a"], tmp_path / "a" / "a", options=options)
    (tmp_path / "x" / "a").mkdir(parents=True)
    report = client.get([f"{tree}/a"], tmp_path / "x", options=options)
    assert isinstance(report.worst(), LocalExists)


def test_get_refuses_a_name_too_long_for_this_computer(client, tmp_path: Path) -> None:
    client.write_bytes("/data/f", b"x")
    report = client.get(["/data/f"], tmp_path / ("n" * 300))
    assert [why.code for _path, why in report.failed] == ["bad_path"]


def test_get_survives_a_replica_with_wrong_bytes(
    client, catalog, nodes: list[FakeDataNode], tmp_path: Path
) -> None:
    client.write_bytes("/data/f", some(5 * MIB))
    nodes[0].lies = True
    nodes[1].wrong_byte_at = 17
    catalog.avoided = set()
    report = client.get(["/data/f"], tmp_path / "f")
    held_by_good = all(e.name in nodes[2].blocks for e in catalog.entries["/data/f"].extents)
    assert report.ok == held_by_good
    if report.ok:
        assert (tmp_path / "f").read_bytes() == some(5 * MIB)


def test_get_leaves_nothing_when_every_replica_is_bad(
    client, catalog, nodes: list[FakeDataNode], tmp_path: Path
) -> None:
    client.write_bytes("/data/f", some(5 * MIB))
    for node in nodes:
        node.lies = True
    report = client.get(["/data/f"], tmp_path / "f")
    why = report.worst()
    assert isinstance(why, DataUnavailable)
    assert why.message.count("dn-") == 2
    assert names(tmp_path) == []
    assert catalog.suspects


def test_get_goes_on_when_tokens_expire(client, catalog, tmp_path: Path) -> None:
    client.write_bytes("/data/f", some(5 * MIB))
    real = catalog._locate
    replies = []

    def locate(body):
        replies.append(real(body))
        if len(replies) == 1:
            catalog.expire_tokens()
        return replies[-1]

    catalog._locate = locate
    assert client.get(["/data/f"], tmp_path / "f").ok
    assert (tmp_path / "f").read_bytes() == some(5 * MIB)


def test_get_checks_the_checksum_of_the_whole_file(client, catalog, tmp_path: Path) -> None:
    client.write_bytes("/data/f", some(MIB))
    entry = catalog.entries["/data/f"]
    entry.status = replace(entry.status, checksum=b"\0" * 16)
    report = client.get(["/data/f"], tmp_path / "f")
    assert isinstance(report.worst(), DataUnavailable)
    assert names(tmp_path) == []


def test_get_of_many_files_asks_the_namenode_little(client, catalog, tmp_path: Path) -> None:
    client.mkdir("/data/many")
    for number in range(40):
        client.write_bytes(f"/data/many/{number}", b"x")
    catalog.requests.clear()
    report = client.get(["/data/many"], tmp_path, options=TREE)
    assert report.files == 40
    assert sum(catalog.requests.values()) <= 4, catalog.requests


def test_full_local_disk_leaves_no_part(tmp_path: Path, monkeypatch) -> None:
    def no_room(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(LocalDiskFull):
        PartFile(tmp_path / "f", size_bytes=10, overwrite=False)
    assert names(tmp_path) == []


def test_get_stream_to_a_full_disk_says_so(client) -> None:
    client.write_bytes("/data/f", some(100))
    with Path("/dev/full").open("wb", buffering=0) as out, pytest.raises(LocalDiskFull):
        client.get_stream("/data/f", out)


def test_part_is_not_named_over_what_somebody_made_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with PartFile(target, size_bytes=0, overwrite=False) as part:
        target.write_bytes(b"theirs")
        with pytest.raises(LocalExists):
            part.publish(mode=0o644, modified_ms=0)
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["f"]


def test_get_ended_by_the_user_leaves_no_part(client, tmp_path: Path, watching) -> None:
    client.write_bytes("/data/f", some(9 * MIB))

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    watching.started = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.get(["/data/f"], tmp_path / "f", progress=watching)
    assert names(tmp_path) == []
    assert client.get(["/data/f"], tmp_path / "f").ok, "the client still works"


def test_verify_tells_each_replicas_state(client, catalog, nodes, tmp_path: Path) -> None:
    client.write_bytes("/data/f", some(MIB + 1))
    extents = catalog.entries["/data/f"].extents
    verdicts = list(client.verify("/data/f"))
    assert len(verdicts) == 4
    assert all(verdict.intact for verdict in verdicts)
    holder = next(node for node in nodes if extents[0].name in node.blocks)
    holder.blocks[extents[0].name] = bytes(MIB)
    bad = [verdict for verdict in client.verify("/data") if not verdict.intact]
    assert [(verdict.node, verdict.number) for verdict in bad] == [(holder.node, 0)]


# --- open files ---------------------------------------------------------------------------------


def test_file_reads_and_seeks_like_any_file(client) -> None:
    data = some(5 * MIB + 3)
    client.write_bytes("/data/f", data)
    with client.open("/data/f") as source:
        assert source.read(10) == data[:10]
        assert source.read(2 * MIB) == data[10 : 10 + 2 * MIB]
        assert source.seek(-5, io.SEEK_END) == len(data) - 5
        assert source.read() == data[-5:]
        assert source.read(1) == b""
        source.seek(MIB - 2)
        assert source.read(4) == data[MIB - 2 : MIB + 2]
        source.seek(0)
        assert source.readall() == data
    with client.open("/data/f") as source, io.BufferedReader(source) as lines:
        assert b"".join(iter(lambda: lines.read(70_001), b"")) == data


def test_small_read_fetches_little(client, nodes) -> None:
    client.write_bytes("/data/f", some(9 * MIB))
    with client.open("/data/f") as source:
        source.read(10)
    assert sum(node.sent_bytes for node in nodes) <= 3 * MIB


def test_file_that_gave_wrong_bytes_gives_no_more(client, catalog, nodes) -> None:
    options = {"block_size_bytes": 16 * MIB}
    with client.open("/data/f", "wb", **options) as out:
        out.write(some(12 * MIB))
    for node in nodes:
        node.lies = True
    with client.open("/data/f") as source:
        source._followed_to = 0  # read on from the start
        with pytest.raises(BlockCorrupt):
            source.readall()
        with pytest.raises(BlockCorrupt):
            source.read(1)


def test_written_file_appears_on_close_and_whole(client, catalog) -> None:
    out = client.open("/data/f", "wb")
    out.write(some(3 * MIB))
    assert not client.exists("/data/f")
    out.close()
    assert catalog.content("/data/f") == some(3 * MIB)
    assert out.completed.status.size_bytes == 3 * MIB


def test_file_left_by_an_exception_is_abandoned(client, catalog) -> None:
    def write_half() -> None:
        with client.open("/data/f", "wb") as out:
            out.write(some(3 * MIB))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert not client.exists("/data/f")
    assert not catalog.writes


def test_file_dropped_unclosed_is_abandoned(client, catalog) -> None:
    out = client.open("/data/f", "wb")
    out.write(b"half")
    del out
    assert not client.exists("/data/f")
    assert not catalog.writes


def test_file_whose_nodes_all_die_fails_on_close_and_shows_nothing(client, catalog, nodes) -> None:
    out = client.open("/data/f", "wb")
    out.write(b"x")
    for node in nodes:
        node.stop()
    from dfs.client import DfsError

    with pytest.raises(DfsError):
        out.close()
    assert not client.exists("/data/f")


def test_fsspec_by_url_alone_takes_the_environment_of_the_process(client, monkeypatch) -> None:
    from dfs.client.fsspec_driver import DfsFileSystem

    monkeypatch.setenv("DFS_NAMENODE", "http://127.0.0.1:1")
    monkeypatch.setenv("DFS_TOKEN", "dfs_of-the-environment")
    fs = DfsFileSystem(skip_instance_cache=True)
    assert fs.client.link.token == "dfs_of-the-environment"
    fs.client.close()


def test_fsspec_speaks_dfs(client, catalog) -> None:
    from dfs.client.fsspec_driver import DfsFileSystem

    fs = DfsFileSystem(client=client, skip_instance_cache=True)
    fs.makedirs("dfs://host:1/data/x/y")
    with fs.open("/data/x/y/f", "wb") as out:
        out.write(b"hello\nworld\n")
    with fs.open("dfs:///data/x/y/f", "r") as text:
        assert text.read() == "hello\nworld\n"
    assert fs.cat_file("/data/x/y/f", 6, 11) == b"world"
    assert fs.find("/data") == ["/data/x/y/f"]
    assert fs.info("/data/x/y/f")["size"] == 12
    assert fs.isdir("/data/x")
    fs.cp("/data/x/y/f", "/data/g")
    fs.mv("/data/g", "/data/h")
    assert fs.exists("/data/h")
    fs.rm("/data/x", recursive=True)
    with pytest.raises(FileNotFoundError):
        fs.info("/data/x")
