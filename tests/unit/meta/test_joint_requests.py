"""Requests of one kind that wait side by side are run in one step; each gets its own answer."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import select

from dfs.base.errors import DfsError, PathNotFound
from dfs.meta.cluster_tables import SETTING
from dfs.meta.jobs import Joint
from dfs.meta.txn import Txn
from tests.metadata_rig import MetadataRig


class Steps:
    """Puts settings; notes which were put in one step."""

    def __init__(self) -> None:
        self.steps: list[list[str]] = []

    def together(self, txn: Txn, keys: Sequence[str]) -> list[str | DfsError]:
        self.steps.append(list(keys))
        if "bug" in keys:
            txn.put(SETTING, {"key": "before the bug", "value": "1"})
            raise ZeroDivisionError
        if len(keys) > 1 and "alone" in keys:
            raise PathNotFound("cannot stand beside others")
        outcomes: list[str | DfsError] = []
        for key in keys:
            if key.startswith("refused"):
                outcomes.append(PathNotFound(key))
            else:
                txn.put(SETTING, {"key": key, "value": "1"})
                outcomes.append(f"put {key}")
        return outcomes


class Queue:
    """What was submitted while the writer was held, and what became of it in order."""

    def __init__(self, rig: MetadataRig) -> None:
        self._rig = rig
        self._go = threading.Event()
        begun = threading.Event()

        def hold(_txn: Txn) -> None:
            begun.set()
            self._go.wait(10)

        rig.writer.submit_then(hold, lambda result: result())
        begun.wait(10)
        self._told: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        self._count = 0

    def add(self, work: Callable[[Txn], object]) -> None:
        number, self._count = self._count, self._count + 1

        def tell(result: Callable[[], object]) -> None:
            try:
                self._told.put((number, result()))
            except Exception as exc:  # noqa: BLE001 - looked at by the test
                self._told.put((number, type(exc)))

        self._rig.writer.submit_then(work, tell)

    def let_go(self) -> None:
        self._go.set()

    def outcomes(self) -> list[object]:
        self.let_go()
        told = dict(self._told.get(timeout=10) for _ in range(self._count))
        return [told[number] for number in range(self._count)]


@pytest.fixture
def held(metadata: MetadataRig) -> Iterator[Queue]:
    made = Queue(metadata)
    yield made
    made.let_go()


def settings(rig: MetadataRig) -> set[str]:
    with rig.reader.view() as connection:
        return set(connection.execute(select(SETTING.c.key)).scalars()) - {"epoch"}


def test_neighbours_are_run_in_one_step_and_each_is_told_its_own(
    metadata: MetadataRig, held: Queue
) -> None:
    steps = Steps()
    for key in ("a", "refused b", "c"):
        held.add(Joint(key, steps.together))
    assert held.outcomes() == ["put a", PathNotFound, "put c"]
    assert steps.steps == [["a", "refused b", "c"]]
    assert {"a", "c"} <= settings(metadata)
    assert metadata.writer.txid == 1


def test_order_is_kept_around_requests_of_another_kind(metadata: MetadataRig, held: Queue) -> None:
    steps, seen = Steps(), []
    held.add(Joint("a", steps.together))
    held.add(Joint("b", steps.together))
    held.add(lambda txn: seen.append(settings_in(txn)))
    held.add(Joint("c", steps.together))
    held.outcomes()
    assert steps.steps == [["a", "b"], ["c"]]
    assert {"a", "b"} <= seen[0]
    assert "c" not in seen[0]


def settings_in(txn: Txn) -> set[str]:
    return set(txn.connection.execute(select(SETTING.c.key)).scalars())


@pytest.mark.parametrize(("odd", "outcome"), [("alone", "put alone"), ("bug", ZeroDivisionError)])
def test_step_that_cannot_be_made_leaves_nothing_and_its_requests_are_run_one_by_one(
    metadata: MetadataRig, held: Queue, odd: str, outcome: object
) -> None:
    steps = Steps()
    for key in ("a", odd, "c"):
        held.add(Joint(key, steps.together))
    assert held.outcomes() == ["put a", outcome, "put c"]
    assert steps.steps == [["a", odd, "c"], ["a"], [odd], ["c"]]
    assert "before the bug" not in settings(metadata)
    assert {"a", "c"} <= settings(metadata)


def test_request_that_waits_alone_is_a_step_of_its_own(metadata: MetadataRig) -> None:
    steps = Steps()
    assert metadata.writer.submit(Joint("a", steps.together)) == "put a"
    with pytest.raises(PathNotFound):
        metadata.writer.submit(Joint("refused", steps.together))
