"""A writer whose records go to others first: when its callers are told, and what."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dfs.base.errors import LimitExceeded, NotLeader, PathNotFound
from dfs.base.ids import Epoch
from dfs.meta import writer as writer_module
from dfs.meta.cluster_tables import SETTING
from dfs.meta.journal import Record
from dfs.meta.txn import Txn
from dfs.meta.writer import EPOCH_KEY
from tests.metadata_rig import MetadataRig


class Others:
    """Who has to have a record first, as the test wants them to behave."""

    def __init__(self) -> None:
        self.proposed: list[Record] = []
        self.committed_to: list[Record] = []
        self.refusal: NotLeader | None = None
        self.told_at_once: Callable[[int], None] | None = None

    def propose(self, record: Record) -> NotLeader | None:
        self.proposed.append(record)
        return self.refusal

    def committed(self, record: Record) -> None:
        self.committed_to.append(record)
        if self.told_at_once is not None:
            self.told_at_once(record.txid)

    def rolled_back(self, _record: Record, _reason: str) -> bool:
        return True


class Shipped(MetadataRig):
    """A writer that leads in epoch 7, and requests that wait in threads of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.others = Others()
        self.writer.lead(Epoch(7), self.others)
        self._threads = ThreadPoolExecutor(8)

    def ask(self, work: Callable[[Txn], Any]) -> "Future[Any]":
        return self._threads.submit(self.writer.submit, work)

    def put(self, key: str, value: str = "1") -> "Future[Any]":
        return self.ask(lambda txn: txn.put(SETTING, {"key": key, "value": value}))

    def until_committed(self, count: int) -> None:
        while len(self.others.committed_to) < count:
            time.sleep(0.002)

    def names(self) -> set[str]:
        with self.reader.view() as connection:
            return {row.key for row in connection.execute(SETTING.select())}

    def end(self) -> None:
        self.writer.acknowledge(2**62)  # also what is not committed yet
        self._threads.shutdown()
        self.close()


def check_is_held(asked: "Future[Any]") -> None:
    """For longer than telling its caller takes."""
    with pytest.raises(TimeoutError):
        asked.result(0.3)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Shipped]:
    made = Shipped(tmp_path)
    yield made
    made.end()


def test_caller_is_told_when_its_record_is_acknowledged_and_not_before(rig: Shipped) -> None:
    waiting = rig.put("a")
    rig.until_committed(1)
    assert "a" in rig.names()
    check_is_held(waiting)
    rig.writer.acknowledge(0)
    check_is_held(waiting)
    rig.writer.acknowledge(1)
    assert waiting.result(5) is None


def test_first_record_says_the_epoch(rig: Shipped) -> None:
    rig.others.told_at_once = rig.writer.acknowledge
    rig.put("a").result(5)
    assert [record.epoch for record in rig.others.proposed] == [7]
    assert EPOCH_KEY in rig.names()
    rig.put("b").result(5)
    assert EPOCH_KEY.encode() not in rig.others.proposed[1].changes


def test_refusal_and_remembered_answer_wait_for_the_record_they_may_rest_on(rig: Shipped) -> None:
    def refuse(_txn: Txn) -> None:
        raise PathNotFound("it is not there")

    made = rig.put("a")
    rig.until_committed(1)
    refused, read = rig.ask(refuse), rig.ask(lambda txn: txn.get(SETTING, "a"))
    check_is_held(read)
    assert not refused.done()
    rig.writer.acknowledge(1)
    assert made.result(5) is None
    with pytest.raises(PathNotFound):
        refused.result(5)
    assert read.result(5)["value"] == "1"


def test_batch_that_others_do_not_take_leaves_nothing_here(rig: Shipped) -> None:
    rig.others.refusal = NotLeader("another leads")
    with pytest.raises(NotLeader, match="another leads"):
        rig.put("a").result(5)
    assert "a" not in rig.names()
    rig.others.refusal, rig.others.told_at_once = None, rig.writer.acknowledge
    rig.put("b").result(5)
    assert [record.txid for record in rig.others.proposed] == [1, 1]
    assert [record.txid for record in rig.others.committed_to] == [1]


def test_deposed_writer_tells_nobody_of_what_it_did_and_does_nothing_more(rig: Shipped) -> None:
    done = rig.put("a")
    rig.until_committed(1)
    rig.writer.depose(NotLeader("nn-2 leads"))
    rig.writer.acknowledge(1)
    for waiting in (done, rig.put("b")):
        with pytest.raises(NotLeader, match="nn-2 leads"):
            waiting.result(5)
    assert "b" not in rig.names()
    assert len(rig.others.proposed) == 1


def test_record_that_would_be_too_long_is_made_in_parts_and_one_request_is_refused(
    rig: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RECORD_BYTES_MAX", 3_000)
    rig.others.told_at_once = rig.writer.acknowledge
    rig.put("first").result(5)
    begun, gate = threading.Event(), Future[None]()

    def hold(_txn: Txn) -> None:
        begun.set()
        gate.result(30)

    held = rig.ask(hold)
    assert begun.wait(5), "the others are to wait together, and behind this one"
    batch = [rig.put(f"k{number}", "x" * 1_000) for number in range(5)]
    large = rig.put("large", "x" * 4_000)
    while rig.writer.waiting() < 6:
        time.sleep(0.002)
    gate.set_result(None)
    held.result(5)
    for each in batch:
        each.result(5)
    with pytest.raises(LimitExceeded):
        large.result(5)
    assert {f"k{number}" for number in range(5)} <= rig.names()
    assert "large" not in rig.names()
    assert max(len(record.changes) for record in rig.others.committed_to) <= 3_000
