import threading

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import DfsError, NodeInUse
from dfs.meta.tables import REPLICA
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from tests.unit.nodes.test_registry_of_nodes import joined_and_registered, kill, put_block

WAIT_S = 10.0


def test_removal_is_refused_when_a_copy_became_the_only_one_meanwhile(
    registry: NodeRegistry, writer: Writer, clock: ManualClock
) -> None:
    """The first look finds another copy; it is gone when the removal is written down."""
    node = joined_and_registered(registry, uuid="a" * 32)
    kill(registry, clock)
    other = joined_and_registered(registry, uuid="b" * 32)
    put_block(writer, node, other)
    busy, looked = threading.Event(), threading.Event()
    refused: list[DfsError] = []

    def lose_the_other(txn: Txn) -> None:
        busy.set()
        assert looked.wait(WAIT_S)
        txn.drop(REPLICA, (1, other))

    def remove() -> None:
        try:
            registry.remove(f"dn-{node}")
        except DfsError as err:
            refused.append(err)

    losing = threading.Thread(target=writer.submit, args=(lose_the_other,))
    losing.start()
    assert busy.wait(WAIT_S)
    removing = threading.Thread(target=remove)
    removing.start()
    while not writer.waiting() and removing.is_alive():
        threading.Event().wait(0.001)
    assert not refused, "by the rows of the first look there was another copy"
    looked.set()
    for thread in (losing, removing):
        thread.join(WAIT_S)
    with pytest.raises(NodeInUse, match="only known copy of 1 blocks"):
        raise refused[0]
    assert node in registry.presence.joined()
    put_block(writer, node, other)
    registry.remove(f"dn-{node}")
