import threading
from collections.abc import Callable

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import DfsError, PortInUse
from dfs.base.ids import NodeId
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from tests.unit.nodes.test_registry_of_nodes import a_beat, a_registration, join

Start = Callable[[], NodeRegistry]
PORT = 9866


def joined(registry: NodeRegistry, name: str) -> NodeId:
    return NodeId(join(registry, uuid=name * 32).node)


def register(registry: NodeRegistry, node: NodeId, *, port: int = PORT) -> None:
    registry.register(node, a_registration(port=port, volume=f"v{node}"))


def die(registry: NodeRegistry, clock: ManualClock) -> None:
    clock.advance(10_000)
    registry.tick_once()


def test_registry_refuses_an_address_where_another_node_is(registry: NodeRegistry) -> None:
    """Two nodes at one address answer for each other: one copy would pass for two."""
    first, second = joined(registry, "a"), joined(registry, "b")
    register(registry, first)
    with pytest.raises(PortInUse, match=f"dn-{first}") as refused:
        register(registry, second)
    assert "address of its own" in refused.value.hint
    register(registry, second, port=PORT + 1)
    register(registry, first)  # its own is no other's


def test_registry_refuses_the_address_of_a_node_that_is_only_silent(
    registry: NodeRegistry, start: Start, clock: ManualClock
) -> None:
    first, second = joined(registry, "a"), joined(registry, "b")
    register(registry, first)
    clock.advance(60)
    registry.tick_once()
    for each in (registry, start()):
        with pytest.raises(PortInUse):
            register(each, second)


def test_registry_gives_the_address_of_a_dead_node_away(
    registry: NodeRegistry, start: Start, clock: ManualClock
) -> None:
    first, second = joined(registry, "a"), joined(registry, "b")
    register(registry, first)
    die(registry, clock)
    register(registry, second)
    with pytest.raises(PortInUse):
        register(registry, first)
    again = start()  # it knows of no node that is dead
    register(again, second)
    with pytest.raises(PortInUse):
        register(again, first)
    assert again.beat(second, a_beat()).registered
    register(again, first, port=PORT + 1)


def test_registry_gives_an_address_to_one_of_two_that_come_in_one_transaction(
    registry: NodeRegistry, writer: Writer, clock: ManualClock
) -> None:
    """The dead node that had it, and a new one: only the first of them gets it."""
    first, second = joined(registry, "a"), joined(registry, "b")
    register(registry, first)
    die(registry, clock)
    held, refused = threading.Event(), list[NodeId]()

    def come(node: NodeId) -> None:
        try:
            register(registry, node)
        except DfsError:
            refused.append(node)

    busy = threading.Event()

    def hold(_txn: Txn) -> None:
        busy.set()
        held.wait(10)

    threads = [threading.Thread(target=writer.submit, args=(hold,))]
    threads[0].start()
    assert busy.wait(10)  # the writer is busy: what comes now is one batch
    for node in (first, second):
        waiting = writer.waiting()
        threads.append(threading.Thread(target=come, args=(node,)))
        threads[-1].start()
        while writer.waiting() == waiting:
            threading.Event().wait(0.001)
    held.set()
    for thread in threads:
        thread.join(10)
    assert refused == [second]
