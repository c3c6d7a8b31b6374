"""Writing through shared memory: the same outcomes as over the network."""

import pytest
from msgspec.structs import replace

from dfs.base.errors import (
    DiskFull,
    SourceChanged,
    Stopping,
    TokenRefused,
)
from dfs.base.ids import BlockId
from dfs.base.records import (
    AllocatedBlock,
)
from dfs.transfer.write_pipeline import WriteMode
from dfs.wire.tokens import Mode
from tests.cluster_rig import wait_until
from tests.datanode_rig import NAME, PATH, RigNode, download, token
from tests.same_host_rig import MIB, Client, Content, calls, some


def test_datanode_that_ends_in_mid_write_costs_one_copy_and_leaves_nothing(
    client: Client, nodes: list[RigNode]
) -> None:
    data = Content(some(12 * MIB))
    ended: list[bool] = []

    def end(offset: int) -> None:
        if offset == 8 * MIB and not ended:
            ended.append(True)
            nodes[1].close()

    data.before_piece = end
    done = client.write(nodes, data)
    assert [receipt.node for receipt in done.receipts] == [1]
    assert [failed.address.node for failed in done.failed] == [2]
    assert download(nodes[0]) == data.data
    assert list((nodes[1].folder / "tmp").iterdir()) == []


def test_refusal_of_one_target_stands_and_the_other_stores(
    client: Client, nodes: list[RigNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(nodes[1].store, "begin", full)
    done = client.write(nodes, Content(some(6 * MIB)))
    assert [receipt.node for receipt in done.receipts] == [1]
    assert [(each.address.node, each.error.code) for each in done.failed] == [(2, DiskFull.code)]
    assert client.suspects == []


def test_target_far_away_is_reached_through_the_one_here(new_client, nodes: list[RigNode]) -> None:
    client, data = new_client(), some(5 * MIB)
    nodes[1].near = replace(nodes[1].near, local="")
    done = client.write(nodes, Content(data))
    assert {receipt.node for receipt in done.receipts} == {1, 2}
    assert download(nodes[1]) == data
    assert calls(nodes[0], "local_write") == 1
    assert calls(nodes[1], "local_write") == 0
    assert calls(nodes[1], "upload") == 1


def test_token_of_another_block_writes_nothing(client: Client, nodes: list[RigNode]) -> None:
    other = replace(NAME, block=BlockId(8))
    block = AllocatedBlock(
        NAME, 64 * MIB, tuple(node.near for node in nodes), token(Mode.WRITE, other)
    )
    with pytest.raises(TokenRefused):
        client.sender.write(block, PATH, Content(some(MIB)), mode=WriteMode.PIPELINE)
    assert all(node.store.entry(NAME) is None for node in nodes)


def test_source_that_fails_is_blamed_itself_and_nothing_is_left(
    client: Client, nodes: list[RigNode]
) -> None:
    data = Content(some(6 * MIB))

    def fail(offset: int) -> None:
        if offset == 4 * MIB:
            raise SourceChanged("became shorter")

    data.before_piece = fail
    with pytest.raises(SourceChanged):
        client.write(nodes, data)
    for node in nodes:
        wait_until(lambda node=node: not node.traffic.total(), "the upload has ended")
        assert node.store.entry(NAME) is None
        assert list((node.folder / "tmp").iterdir()) == []


def test_closing_a_client_ends_its_writes(new_client, nodes: list[RigNode]) -> None:
    client, data = new_client(), Content(some(6 * MIB))

    def close(offset: int) -> None:
        if offset == 2 * MIB:
            client.channels.close()

    data.before_piece = close
    with pytest.raises(Stopping):
        client.write(nodes, data)
    for node in nodes:
        wait_until(lambda node=node: not node.traffic.total(), "the upload has ended")
        assert node.store.entry(NAME) is None
