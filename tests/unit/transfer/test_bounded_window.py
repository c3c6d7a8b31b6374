"""The window between maker and taker, and what is held back in front of it."""

import threading

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import BlockCorrupt, PeerUnreachable
from dfs.base.ids import NodeId
from dfs.transfer.node_memory import NodeMemory
from dfs.transfer.window import Held, TakerGone, Window


def test_window_gives_pieces_in_order_to_another_thread() -> None:
    window = Window(pieces_max=2)
    made = [bytes([n]) for n in range(50)]

    def make() -> None:
        for piece in made:
            assert window.put(piece)
        window.finish()

    maker = threading.Thread(target=make)
    maker.start()
    assert list(window) == made
    maker.join()


def test_window_never_holds_more_than_its_limit() -> None:
    window, most = Window(pieces_max=3), []
    maker = threading.Thread(target=lambda: [window.put(b"x") for _ in range(20)])
    maker.start()
    taker = iter(window)
    for _ in range(20):
        most.append(len(window._pieces))
        next(taker)
    maker.join()
    assert max(most) <= 3


def test_window_tells_the_maker_when_the_taker_went_away() -> None:
    window = Window(pieces_max=1)
    assert window.put(b"a")
    answers: list[bool] = []
    maker = threading.Thread(target=lambda: answers.append(window.put(b"b")))
    maker.start()
    window.cancel()
    maker.join()
    assert answers == [False]


def test_window_gives_what_came_before_a_failure_and_then_the_failure() -> None:
    window = Window(pieces_max=2)
    window.put(b"good")
    window.fail(BlockCorrupt("bad"))
    taken = iter(window)
    assert next(taken) == b"good"
    with pytest.raises(BlockCorrupt):
        next(taken)


def test_held_lets_nothing_go_below_its_limit_and_can_forget_it() -> None:
    window = Window(pieces_max=10)
    held = Held(window, keep_bytes=10)
    held.add(b"12345")
    held.add(b"67890")
    assert held.released_bytes == 0
    assert held.drop()
    held.release_all()
    window.finish()
    assert list(window) == []


def test_held_lets_the_oldest_go_above_its_limit_and_cannot_forget_any_more() -> None:
    window = Window(pieces_max=10)
    held = Held(window, keep_bytes=10)
    for piece in (b"12345", b"67890", b"abcde"):
        held.add(piece)
    assert held.released_bytes == 5
    assert not held.drop()
    held.release_all()
    window.finish()
    assert b"".join(window) == b"1234567890abcde"


def test_held_stops_its_maker_when_nobody_takes() -> None:
    window = Window(pieces_max=1)
    window.cancel()
    with pytest.raises(TakerGone):
        Held(window, keep_bytes=0).add(b"x")


def test_memory_forgets_a_failure_after_a_while() -> None:
    clock = ManualClock()
    memory = NodeMemory(clock=clock, forget_after_s=30)
    memory.failed(NodeId(1), PeerUnreachable("gone"))
    clock.advance(29)
    assert memory.last_failure(NodeId(1)) is not None
    clock.advance(1)
    assert memory.last_failure(NodeId(1)) is None
    assert memory.failures() == {}


def test_memory_forgets_a_failure_at_the_next_success() -> None:
    memory = NodeMemory(clock=ManualClock())
    memory.failed(NodeId(1), PeerUnreachable("gone"))
    memory.succeeded(NodeId(1))
    assert memory.last_failure(NodeId(1)) is None


def test_memory_counts_what_is_under_way() -> None:
    memory = NodeMemory(clock=ManualClock())
    with memory.busy(NodeId(1)), memory.busy(NodeId(1)):
        assert memory.load() == {1: 2}
    assert memory.load() == {}
