"""What waits for the owner of a core is bounded, but for what must not be lost."""

import threading

from dfs.failover.inbox import WEIGHT_MAX_BYTES, Inbox
from dfs.ha.effects import CommitFailed, Event
from dfs.ha.messages import Append, Canvass, JournalRecord, Letter
from dfs.ha.rows import START

LETTER = Letter("c", "A", "v1", Canvass((1, 0)))
EVENT = CommitFailed("full")


def test_inbox_gives_in_the_order_of_arrival() -> None:
    inbox: Inbox[Event] = Inbox()
    assert inbox.offer(LETTER)
    inbox.put(EVENT)
    assert [inbox.take(0), inbox.take(0), inbox.take(0)] == [LETTER, EVENT, None]


def test_inbox_drops_letters_that_find_no_room_and_never_events() -> None:
    inbox: Inbox[Event] = Inbox(letters_max=2)
    assert [inbox.offer(LETTER) for _ in range(3)] == [True, True, False]
    inbox.put(EVENT)
    assert inbox.dropped == 1
    assert inbox.take(0) == LETTER
    assert inbox.offer(LETTER)
    assert [inbox.take(0) for _ in range(3)] == [LETTER, EVENT, LETTER]


def test_inbox_is_bounded_in_weight() -> None:
    record = JournalRecord(1, 1, b"", b"", 0, bytes(WEIGHT_MAX_BYTES // 2))
    heavy = Letter("c", "A", "B", Append(1, START, (record,), START))
    inbox: Inbox[Event] = Inbox()
    assert [inbox.offer(heavy), inbox.offer(heavy), inbox.offer(LETTER)] == [True, False, True]
    inbox.take(0)
    assert inbox.offer(heavy)


def test_inbox_that_is_closed_lets_nobody_wait_and_takes_nothing_in() -> None:
    inbox: Inbox[Event] = Inbox()
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(inbox.take(60)))
    waiting.start()
    inbox.close()
    waiting.join(10)
    assert taken == [None]
    assert not inbox.offer(LETTER)
    inbox.put(EVENT)
    assert inbox.take(0) is None
