"""A NameNode that gains and loses the lead: what it refuses from which moment on."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import DatabaseUnavailable, MetadataCorrupt, NotLeader
from dfs.base.events import SilentEmitter
from dfs.base.ids import Epoch
from dfs.daemons import namenode_helm, namenode_journal
from dfs.daemons.namenode_helm import Helm
from dfs.daemons.namenode_journal import HeldJournal
from dfs.failover.notes import Notes
from dfs.ha.effects import StandDown
from dfs.ha.messages import Beat, Letter
from dfs.ha.rows import NO_CONFIG, NO_VOTERS, START
from dfs.meta.cluster_tables import SETTING
from tests.metadata_rig import MetadataRig
from tests.namenode_rig import NamenodeRig
from tests.unit.failover.post_rig import eventually

LOST = StandDown(5, "nn-2", "nn-2 leads")


class Port:
    """What the port answers with now."""

    def __init__(self) -> None:
        self.front: object = None

    def become(self, front: object) -> None:
        self.front = front


class Pointing:
    """A NameNode that follows, as far as a helm knows."""

    front = "points to the leader"
    changed: Callable[[], None]

    def open(self) -> None:
        """It reads the database."""

    def close(self) -> None:
        """It does not."""

    def whom_to_ask(self) -> dict[str, object]:
        return {"leader": "http://nn-2"}


class Reigns:
    """Builds reigns over one real writer; building and closing wait to be let."""

    def __init__(self, rig: MetadataRig) -> None:
        self.rig = rig
        self.may_build, self.may_close = threading.Event(), threading.Event()
        self.may_build.set()
        self.may_close.set()
        self.building = threading.Event()

    def __call__(self, premises: int, adopt: Callable[[object, Epoch], None]) -> "Reigns":
        self.building.set()
        assert self.may_build.wait(20)
        adopt(self.rig.writer, Epoch(premises))
        return self

    front = "leads"

    def start(self) -> None:
        """Its jobs run."""

    def close(self) -> None:
        assert self.may_close.wait(20)


class Bench:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.rig = MetadataRig(folder)
        self.port, self.reigns = Port(), Reigns(self.rig)
        patch.setattr(namenode_helm, "Reign", self.reigns)
        self.failures: list[str] = []
        self.stopped = False
        self.helm = Helm(
            self.port,  # type: ignore[arg-type]
            Pointing(),  # type: ignore[arg-type]
            notes=Notes(),
            clock=SystemClock(),
            emit=SilentEmitter(),
            on_failure=self.failures.append,
        )
        self.helm.premises = lambda epoch: epoch  # type: ignore[assignment, return-value]
        self.helm.start()

    def lead(self) -> None:
        self.helm.lead(5)
        eventually(lambda: self.port.front == "leads")

    def change(self) -> None:
        self.rig.writer.submit(lambda txn: txn.put(SETTING, {"key": "a", "value": "1"}))

    def stop(self, silence: Callable[[], None]) -> None:
        if not self.stopped:
            self.stopped = True
            self.helm.stop(silence)

    def close(self) -> None:
        self.reigns.may_build.set()
        self.reigns.may_close.set()
        self.stop(lambda: None)
        self.rig.close()
        assert self.failures == []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.close()


def test_lead_that_is_lost_changes_nothing_more_though_its_reign_is_still_being_closed(
    bench: Bench,
) -> None:
    bench.lead()
    bench.change()
    bench.reigns.may_close.clear()
    bench.helm.stand_down(LOST)
    with pytest.raises(NotLeader, match="nn-2 leads"):
        bench.change()


def test_lead_that_is_lost_is_pointed_away_from_at_once(bench: Bench) -> None:
    bench.lead()
    bench.reigns.may_close.clear()
    bench.helm.stand_down(LOST)
    assert bench.port.front == Pointing.front


def test_lead_that_is_lost_while_its_reign_is_built_serves_nobody(bench: Bench) -> None:
    bench.reigns.may_build.clear()
    bench.helm.lead(5)
    assert bench.reigns.building.wait(20)
    bench.helm.stand_down(LOST)
    bench.reigns.may_build.set()
    eventually(bench.helm.idle.is_set)
    assert bench.port.front == Pointing.front
    with pytest.raises(NotLeader):
        bench.change()


def test_stop_does_not_wait_for_voters_that_never_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namenode_helm, "SETTLED_WITHIN_S", 0.1)
    bench.lead()
    bench.reigns.may_close.clear()  # as while a change waits that the member alone takes back
    bench.stop(bench.reigns.may_close.set)
    with pytest.raises(NotLeader, match="stops"):
        bench.change()


def test_strict_read_is_confirmed_by_voters_and_not_by_their_silence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namenode_helm, "CONFIRM_S", 0.1)
    bench.lead()
    numbers: list[int] = []
    assert not bench.helm.await_confirmation(numbers.append)
    bench.helm.confirm_reads(numbers[0])
    assert not bench.helm.await_confirmation(numbers.append), "that was for the one before"
    assert bench.helm.await_confirmation(bench.helm.confirm_reads)


class Damaged(Pointing):
    """One whose database cannot be opened."""

    def open(self) -> None:
        raise MetadataCorrupt("the rows of failover cannot be read")


def test_helm_that_could_not_begin_to_follow_can_be_stopped() -> None:
    helm = Helm(
        Port(),  # type: ignore[arg-type]
        Damaged(),  # type: ignore[arg-type]
        notes=Notes(),
        clock=SystemClock(),
        emit=SilentEmitter(),
        on_failure=lambda _reason: None,
    )
    with pytest.raises(MetadataCorrupt):
        helm.start()
    stopping = threading.Thread(target=helm.stop, args=(lambda: None,), daemon=True)
    stopping.start()
    stopping.join(5)
    assert not stopping.is_alive()


class Store:
    """Counts what is put down."""

    def __init__(self) -> None:
        self.applied = 0

    def apply(self, _records: object) -> object:
        self.applied += 1
        return START


def test_records_of_another_leader_wait_until_the_reign_here_is_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namenode_journal, "CLOSED_WITHIN_S", 0.1)
    store = Store()
    journal = HeldJournal(store, bench.helm, Pointing())  # type: ignore[arg-type]
    bench.lead()
    bench.reigns.may_close.clear()
    bench.helm.stand_down(LOST)
    with pytest.raises(DatabaseUnavailable):
        journal.apply(())
    assert store.applied == 0
    bench.reigns.may_close.set()
    eventually(bench.helm.idle.is_set)
    assert journal.apply(()) == START


def test_letter_of_somebody_who_is_no_member_is_not_read(tmp_path: Path) -> None:
    rig = NamenodeRig(tmp_path / "data")
    process = rig.process
    eventually(lambda: process.house.correspondents)
    stranger = Beat(process.host.epoch + 9, START, NO_CONFIG, NO_VOTERS)
    taken = process._take(Letter(process.place.cluster, "nn-9", process.place.name, stranger))
    leads = process.host.is_leader
    rig.stop()
    assert (taken, leads) == (False, True)
