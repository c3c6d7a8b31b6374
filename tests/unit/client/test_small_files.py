"""Many small files at once: packed when put, fetched together when got, whatever fails."""

import io
import os
import signal
import tracemalloc
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.checksum import block_hash
from dfs.base.errors import (
    BadRequest,
    DataUnavailable,
    DiskFull,
    LocalExists,
    PathNotFound,
    PlacementRefused,
    SourceChanged,
    Starting,
)
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth
from dfs.client import DfsClient, GetOptions, PutOptions, SilentProgress
from dfs.client.pack_put import PackPut
from dfs.wire.packs import decode_table
from tests.fake_catalog import FakeCatalog
from tests.fake_datanode import FakeDataNode

KIB, MIB = 1 << 10, 1 << 20
TREE = PutOptions(recursive=True)
GET = GetOptions(recursive=True)


def data_of(number: int) -> bytes:
    return b"%d|" % number * (number % 900)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for number in range(60):
        path = top / f"d{number % 4}" / f"f{number:02d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data_of(number))
        path.chmod(0o640)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    return top


def is_same(left: Path, right: Path) -> bool:
    def found(top: Path) -> dict[str, tuple[bytes, int, float]]:
        return {
            str(p.relative_to(top)): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime)
            for p in top.rglob("*")
            if p.is_file()
        }

    return found(left) == found(right)


# --- put ----------------------------------------------------------------------------------------


def test_put_of_small_files_is_one_block_and_few_requests(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], tree: Path, watching
) -> None:
    report = client.put([tree], "/data/new", options=TREE, progress=watching)
    assert report.ok
    assert (report.files, report.directories, report.owed) == (60, 5, 0)
    assert len(watching.done) == 60
    assert watching.moved == watching.size_bytes == report.size_bytes
    assert (catalog.requests["begin"], catalog.requests["create"]) == (1, 0)
    assert catalog.requests["commit"] <= 2, "the empty ones may come later"
    assert len({extent.name for e in catalog.entries.values() for extent in e.extents}) == 1
    assert catalog.content("/data/new/d1/f01") == data_of(1)
    assert not catalog.writes


def test_pack_explains_itself(client: DfsClient, catalog: FakeCatalog, nodes, tree: Path) -> None:
    seen: list[bytes] = []
    sender = client.cluster.plane.sender
    real = sender.write

    def write(*words, pack: bytes = b"", **more):
        seen.append(pack)
        return real(*words, pack=pack, **more)

    sender.write = write
    assert client.put([tree], "/data/new", options=TREE).ok
    (table,) = seen
    for entry in decode_table(table):
        path = tree / entry.path.removeprefix("/data/new/")
        assert entry.hash == block_hash(path.read_bytes())
        assert (entry.mode, entry.length_bytes) == (0o640, path.stat().st_size)


@pytest.mark.parametrize(
    "options",
    [
        PutOptions(recursive=True, pack=False),
        PutOptions(recursive=True, block_size_bytes=64 * KIB),
    ],
)
def test_put_gives_each_file_a_block_where_asked(
    client: DfsClient, catalog: FakeCatalog, tree: Path, options: PutOptions
) -> None:
    assert client.put([tree], "/data/new", options=options).ok
    assert catalog.requests["begin"] == catalog.requests["commit"] == 0


def test_put_of_one_small_file_is_an_ordinary_block(
    client: DfsClient, catalog: FakeCatalog, tree: Path
) -> None:
    assert client.put([tree / "d1" / "f01"], "/data/f").ok
    assert catalog.requests["begin"] == 0


def test_put_of_empty_files_needs_no_pack(
    client: DfsClient, catalog: FakeCatalog, tmp_path: Path
) -> None:
    for number in range(5):
        (tmp_path / f"e{number}").touch()
    assert client.put([tmp_path / f"e{number}" for number in range(5)], "/data").ok
    assert (catalog.requests["begin"], catalog.requests["commit"]) == (0, 1)


def test_put_survives_lost_answers_of_every_step_of_packs(
    client: DfsClient, catalog: FakeCatalog, tree: Path
) -> None:
    for step in ("begin", "commit"):
        catalog.answers_lost[step] = 1
    report = client.put([tree], "/data/new", options=TREE)
    assert report.ok
    assert report.files == 60


def test_pack_goes_to_another_node_when_a_target_fails(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], tree: Path
) -> None:
    nodes[0].refuse = DiskFull("full")
    report = client.put([tree], "/data/new", options=TREE)
    assert report.ok
    assert report.owed == 0
    assert catalog.content("/data/new/d3/f59") == data_of(59)


def test_files_of_a_pack_that_no_node_takes_fail_with_the_reason_and_the_lease_goes_back(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], tree: Path
) -> None:
    for node in nodes:
        node.refuse = DiskFull("full")
    report = client.put([tree], "/data/new", options=TREE)
    empty = sum(1 for number in range(60) if not data_of(number))
    assert (len(report.failed), report.files) == (60 - empty, empty)
    why = report.worst()
    assert isinstance(why, PlacementRefused)
    assert why.message.startswith("a pack of small files: ")
    assert not catalog.writes


def test_files_of_a_commit_that_is_refused_fail_with_its_reason(
    client: DfsClient, catalog: FakeCatalog, tree: Path
) -> None:
    catalog.refusals["commit"] = [PathNotFound("gone") for _ in range(9)]
    report = client.put([tree], "/data/new", options=TREE)
    assert len(report.failed) == 60
    assert not catalog.writes


def test_put_waits_for_a_namenode_that_starts(
    client: DfsClient, catalog: FakeCatalog, tree: Path
) -> None:
    catalog.refusals["commit"] = [Starting("soon"), Starting("soon")]
    assert client.put([tree], "/data/new", options=TREE).ok


class Meddling(SilentProgress):
    def __init__(self, *, planned=None, moved=None) -> None:
        self._planned, self._moved = planned, moved

    def started(self, files: int, size_bytes: int) -> None:
        if self._planned is not None:
            self._planned()

    def advanced(self, size_bytes: int) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            moved()


def test_file_that_changed_since_it_was_listed_is_left_out_of_the_pack(
    client: DfsClient, catalog: FakeCatalog, tree: Path
) -> None:
    changed = tree / "d1" / "f05"
    meddling = Meddling(planned=lambda: changed.write_bytes(b"other"))
    report = client.put([tree], "/data/new", options=TREE, progress=meddling)
    assert [(path, type(why)) for path, why in report.failed] == [(str(changed), SourceChanged)]
    assert report.files == 59
    assert catalog.content("/data/new/d3/f59") == data_of(59)


def test_put_of_packs_ended_by_the_user_gives_the_leases_back(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], tree: Path
) -> None:
    for node in nodes:
        node.silent.set()
    real = catalog._begin

    def begin(body):
        signal.raise_signal(signal.SIGINT)  # in this thread: the main one is not woken by it
        return real(body)

    catalog._begin = begin
    with pytest.raises(KeyboardInterrupt):
        client.put([tree], "/data/new", options=TREE)
    assert not catalog.writes
    # The empty file needs no block: it may be there before the main thread hears of the signal.
    assert not any(entry.extents for entry in catalog.entries.values())


def test_memory_of_a_put_does_not_grow_with_the_number_of_packs(
    catalog: FakeCatalog, connect_to, nodes: list[FakeDataNode], tmp_path: Path
) -> None:
    client = connect_to(catalog, pack_bytes=2 * MIB)
    for node in nodes:
        node.discards = True
    for number in range(40):
        with (tmp_path / f"f{number}").open("wb") as out:
            out.truncate(MIB)
    tracemalloc.start()
    try:
        options = PutOptions(replication=1)
        assert client.put([tmp_path / f"f{n}" for n in range(40)], "/data", options=options).ok
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert catalog.requests["begin"] >= 2
    assert peak < 24 * MIB


def test_memory_of_a_put_does_not_grow_with_packs_that_grow(
    catalog: FakeCatalog, connect_to, nodes: list[FakeDataNode], tmp_path: Path
) -> None:
    client = connect_to(catalog, pack_bytes=MIB)
    for node in nodes:
        node.discards = True
    for number in range(40):  # each a pack, and larger than the one before
        with (tmp_path / f"f{number}").open("wb") as out:
            out.truncate((520 + 12 * number) * KIB)
    tracemalloc.start()
    try:
        options = PutOptions(replication=1)
        assert client.put([tmp_path / f"f{n}" for n in range(40)], "/data", options=options).ok
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 28 * MIB


def test_bug_in_making_files_visible_does_not_look_like_success(
    client: DfsClient, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PackPut, "_tell", broken)
    with pytest.raises(ZeroDivisionError):
        client.put([tree], "/data/new", options=TREE)


# --- get ----------------------------------------------------------------------------------------


@pytest.fixture
def stored(client: DfsClient, catalog: FakeCatalog, tree: Path) -> Path:
    """The tree as /data/new, in one pack."""
    assert client.put([tree], "/data/new", options=TREE).ok
    catalog.requests.clear()
    return tree


def test_get_of_small_files_asks_little_and_reads_each_byte_once(
    client: DfsClient, catalog: FakeCatalog, nodes, stored: Path, tmp_path: Path, watching
) -> None:
    report = client.get(["/data/new"], tmp_path / "back", options=GET, progress=watching)
    assert report.ok
    assert (report.files, len(watching.done)) == (60, 60)
    assert watching.moved == watching.size_bytes
    assert is_same(tmp_path / "back", stored)
    assert (catalog.requests["locate_many"], catalog.requests["locate"]) == (1, 0)
    assert sum(node.calls["download"] for node in nodes) == 1
    assert sum(node.calls["probe"] for node in nodes) == 0
    assert not list((tmp_path / "back").rglob("*.part"))


def test_get_does_not_replace_what_is_there_unless_asked(
    client: DfsClient, stored: Path, tmp_path: Path
) -> None:
    back = tmp_path / "back" / "new"
    (back / "d1").mkdir(parents=True)
    (back / "d1" / "f01").write_bytes(b"mine")
    report = client.get(["/data/new"], tmp_path / "back", options=GET)
    assert [type(why) for _path, why in report.failed] == [LocalExists]
    assert (report.files, (back / "d1" / "f01").read_bytes()) == (59, b"mine")
    again = GetOptions(recursive=True, overwrite=True)
    assert client.get(["/data/new"], tmp_path / "back", options=again).ok
    assert is_same(back, stored)


@pytest.mark.parametrize("fault", ["dies", "sends a wrong byte", "lies", "refuses"])
def test_get_takes_from_another_replica_what_one_does_not_give(
    client: DfsClient,
    catalog: FakeCatalog,
    nodes: list[FakeDataNode],
    stored: Path,
    tmp_path: Path,
    fault: str,
) -> None:
    holders = [node for node in nodes if node.blocks]
    first = holders[0]
    client.cluster.plane.replicas.ordered = lambda found: sorted(
        found, key=lambda holder: holder.address.node != first.node
    )
    if fault == "dies":
        first.stop()
    elif fault == "sends a wrong byte":
        first.wrong_byte_at = 3_000
    elif fault == "lies":
        first.lies = True
    else:
        first.refuse_reads = DiskFull("not now")
    report = client.get(["/data/new"], tmp_path / "back", options=GET)
    assert report.ok, report.failed[:2]
    assert is_same(tmp_path / "back", stored)
    is_wrong = fault in ("sends a wrong byte", "lies")
    assert bool(catalog.suspects) == is_wrong
    assert bool(client.cluster.plane.memory.failures()) == (
        fault in ("dies", "refuses") or is_wrong
    )


def test_file_that_no_replica_gives_right_fails_alone(
    client: DfsClient, nodes: list[FakeDataNode], stored: Path, tmp_path: Path
) -> None:
    for node in nodes:
        node.wrong_byte_at = 3_000
    report = client.get(["/data/new"], tmp_path / "back", options=GET)
    assert 1 <= len(report.failed) < 60
    assert {type(why) for _path, why in report.failed} == {DataUnavailable}


def test_get_asks_again_when_its_tokens_expired(
    client: DfsClient, catalog: FakeCatalog, stored: Path, tmp_path: Path
) -> None:
    real = catalog._locate_many

    def locate_late(body):
        reply = real(body)
        catalog.expire_tokens()
        return reply

    catalog._locate_many = locate_late
    assert client.get(["/data/new"], tmp_path / "back", options=GET).ok
    assert is_same(tmp_path / "back", stored)


def move_to_another_pack(catalog: FakeCatalog, nodes: list[FakeDataNode], path: str) -> None:
    """As compaction does: the content lies elsewhere, and the old block is gone."""
    entry = catalog.entries[path]
    (extent,) = entry.extents
    number = catalog._next()
    name = BlockName(InodeId(number), 0, BlockId(number), Generation(number))
    content = b"before it" + catalog.content(path) + b"after it"
    for node in nodes[:2]:
        node.hold(name, content)
    truth = BlockTruth(name.block, name.generation, len(content), block_hash(content))
    entry.extents = (replace(extent, name=name, truth=truth, block_offset=9),)


def test_files_that_move_to_another_pack_while_they_are_read_are_read_there(
    client: DfsClient, catalog: FakeCatalog, nodes, stored: Path, tmp_path: Path
) -> None:
    real = catalog._locate_many

    def move_meanwhile(body):
        reply = real(body)
        old = {extent.name for e in catalog.entries.values() for extent in e.extents}
        for path in [p for p, e in catalog.entries.items() if e.extents]:
            move_to_another_pack(catalog, nodes, path)
        for node in nodes:
            for name in old:
                node.blocks.pop(name, None)
        return reply

    catalog._locate_many = move_meanwhile
    report = client.get(["/data/new"], tmp_path / "back", options=GET)
    assert report.ok, report.failed[:2]
    assert is_same(tmp_path / "back", stored)


def test_open_file_that_moves_to_another_pack_reads_on(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], stored: Path
) -> None:
    path = "/data/new/d3/f59"
    old = catalog.entries[path].extents[0].name
    with client.open(path) as source:
        assert source.read(5) == data_of(59)[:5]
        move_to_another_pack(catalog, nodes, path)
        for node in nodes:
            node.blocks.pop(old, None)
        source.seek(3)
        assert source.readall() == data_of(59)[3:]


# --- reading for programs -----------------------------------------------------------------------


def test_file_that_another_of_its_pack_took_the_place_of_is_not_read_on(
    client: DfsClient, catalog: FakeCatalog, nodes, stored: Path
) -> None:
    with client.open("/data/new/d3/f59") as source:
        entry, other = (catalog.entries[f"/data/new/{name}"] for name in ("d3/f59", "d0/f56"))
        (extent,), (place,) = entry.extents, other.extents
        assert extent.truth == place.truth
        entry.extents = (replace(extent, block_offset=place.block_offset),)
        entry.status = replace(entry.status, checksum=other.status.checksum)
        catalog.expire_tokens()
        with pytest.raises(SourceChanged):
            source.read()


def test_open_file_of_a_pack_is_held_against_its_own_checksum(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], stored: Path
) -> None:
    (extent,) = catalog.entries["/data/new/d3/f59"].extents
    next(node for node in nodes if extent.name in node.blocks).lies = True
    for _ in range(8):  # whichever is asked first
        with client.open("/data/new/d3/f59") as source:
            assert source.read() == data_of(59)


def test_read_many_gives_each_in_order_with_its_reason_when_it_is_not_there(
    client: DfsClient, catalog: FakeCatalog, stored: Path
) -> None:
    large = os.urandom(9 * MIB)
    client.write_bytes("/data/large", large)
    paths = ["/data/new/d3/f59", "/nope", "/data/large", "/data/new/d1/f01", "/data/new/d0/f00"]
    found = list(client.read_many(paths))
    assert [path for path, _ in found] == paths
    contents = [content for _, content in found]
    assert contents[0] == data_of(59)
    assert isinstance(contents[1], PathNotFound)
    assert contents[2:] == [large, data_of(1), b""]


def test_get_streams_writes_files_one_after_the_other(client: DfsClient, stored: Path) -> None:
    out = io.BytesIO()
    paths = [f"/data/new/d{number % 4}/f{number:02d}" for number in reversed(range(60))]
    said = list(client.get_streams([*paths[:30], "/nope", *paths[30:]], out))
    assert [type(each) for each in said if each is not None] == [PathNotFound]
    assert out.getvalue() == b"".join(data_of(number) for number in reversed(range(60)))


def test_read_many_left_early_leaves_nothing_behind(client: DfsClient, stored: Path) -> None:
    found = client.read_many(f"/data/new/d{n % 4}/f{n:02d}" for n in range(60))
    assert next(found) == ("/data/new/d0/f00", b"")
    found.close()


def test_verify_reads_a_shared_replica_once(
    client: DfsClient, nodes: list[FakeDataNode], stored: Path
) -> None:
    verdicts = list(client.verify("/data/new"))
    assert all(verdict.intact for verdict in verdicts)
    assert len({verdict.path for verdict in verdicts}) > 50
    assert sum(node.calls["probe"] for node in nodes) <= 4


def test_read_many_of_one_path_is_refused(client: DfsClient) -> None:
    with pytest.raises(BadRequest, match="not a list of paths"):
        client.read_many("/data/a")
