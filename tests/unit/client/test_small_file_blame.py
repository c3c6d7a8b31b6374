"""Whom a read of many small files blames: who gave wrong bytes, nobody for what happens here."""

from pathlib import Path

import pytest

from dfs.base.errors import BlockCorrupt
from dfs.client import DfsClient, GetOptions, PutOptions
from tests.fake_catalog import FakeCatalog
from tests.fake_datanode import FakeDataNode

GET = GetOptions(recursive=True)


@pytest.fixture
def stored(client: DfsClient, tmp_path: Path) -> None:
    """Twenty files as /data/new, in one pack."""
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / f"f{number:02d}").write_bytes(b"%d|" % number * 200)
    assert client.put([tmp_path / "tree"], "/data/new", options=PutOptions(recursive=True)).ok


@pytest.mark.usefixtures("stored")
def test_get_that_is_ended_blames_no_node(client: DfsClient, catalog: FakeCatalog) -> None:
    """Nor does one whose files were lost to the disk here: no DataNode can help it."""
    found = client.cluster.names.locate_many([f"/data/new/f{n:02d}" for n in (1, 5)])
    taken: list[int] = []

    def take(number: int, _content: memoryview) -> None:
        taken.append(number)
        raise BlockCorrupt("not the DataNode's")

    with pytest.raises(BlockCorrupt, match="not the DataNode's"):
        client.cluster.plane.bulk.fetch(found, [0, 1], take)
    assert len(taken) == 1
    assert client.cluster.plane.memory.failures() == {}
    assert not catalog.suspects


@pytest.mark.usefixtures("stored")
def test_replica_that_lies_of_one_file_is_reported_and_counts_as_failing(
    client: DfsClient, catalog: FakeCatalog, nodes: list[FakeDataNode], tmp_path: Path
) -> None:
    """Its bytes fit the hashes it sends with them, and not the file's own checksum."""
    first = next(node for node in nodes if node.blocks)
    client.cluster.plane.replicas.ordered = lambda found: sorted(
        found, key=lambda holder: holder.address.node != first.node
    )
    first.lies = True
    assert client.get(["/data/new"], tmp_path / "back", options=GET).ok
    assert {each.node for each in catalog.suspects} == {first.node}
    assert set(client.cluster.plane.memory.failures()) == {first.node}
