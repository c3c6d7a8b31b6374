"""A lane: one piece after the other, and an end that comes whatever became of its thread."""

import threading

import pytest

from dfs.failover.lane import Lane


def ends(lane: Lane, last: list[str]) -> bool:
    """Whether `finish` comes back."""
    ending = threading.Thread(target=lambda: lane.finish(lambda: last.append("last")), daemon=True)
    ending.start()
    ending.join(5)
    return not ending.is_alive()


def test_lane_does_the_last_piece_after_all_others() -> None:
    lane, done = Lane("tested"), list[str]()
    lane.start()
    lane.do(lambda: done.append("first"))
    assert ends(lane, done)
    assert done == ["first", "last"]


def test_lane_that_never_began_does_the_last_piece_where_it_is_asked_to() -> None:
    done: list[str] = []
    assert ends(Lane("tested"), done)
    assert done == ["last"]


def test_lane_whose_thread_a_bug_ended_does_the_last_piece_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bugs: list[object] = []
    monkeypatch.setattr(threading, "excepthook", bugs.append)
    lane, done = Lane("tested"), list[str]()
    lane.start()
    lane.do(lambda: [][0])
    assert ends(lane, done)
    assert (done, len(bugs)) == (["last"], 1)
