from collections.abc import Sequence

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import JobConflict, Regressed
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import Epoch, NodeId
from dfs.blocks.lost_ids import AHEAD_MAX, LEAP, read_lost_ids
from dfs.meta.cluster_tables import NODE as NODES
from dfs.meta.session import Reader
from dfs.meta.tables import STRAY
from dfs.meta.writer import Writer
from dfs.nodes.newer_history import NewerHistory, Reached
from dfs.nodes.node_rows import NodeRecord, put_node
from dfs.upkeep.regression import Anew, RegressionGuard
from dfs.upkeep.remembered import Remembered
from tests.metadata_checks import check_metadata

NODE = NodeId(3)


class Rig:
    """The guard on a real database, and what it asks of others."""

    def __init__(
        self, reader: Reader, writer: Writer, clock: ManualClock, emit: RecordingEmitter
    ) -> None:
        self.reader, self.writer, self.clock, self.emit = reader, writer, clock, emit
        self.asked: list[str] = []
        self.start()

    def start(self) -> None:
        self.newer = NewerHistory(Reached(self.writer.epoch, self.writer.txid))
        self.guard = RegressionGuard(
            self.reader,
            self.writer,
            newer=self.newer,
            remembered=Remembered(self.reader, self.writer),
            clock=self.clock,
            emit=self.emit,
            anew=Anew(lambda: self.asked.append("new key"), self.lead_above),
        )

    def lead_above(self, epoch: int) -> int:
        """Within the same run, where the product begins another."""
        self.asked.append(f"lead above {epoch}")
        self.writer.epoch = Epoch(epoch + 1)
        return epoch + 1

    def hear(self, epoch: int, txid: int, *, node: NodeId = NODE) -> None:
        now = Reached(self.writer.epoch, self.writer.txid)
        self.newer.note(node, Reached(epoch, txid), now=now)

    def stray(self, *, block: int, generation: int) -> None:
        row = {
            "node": 3,
            "block": block,
            "generation": generation,
            "file": 1,
            "number": 0,
            "length_bytes": 1,
            "kind": "future",
            "first_ms": 0,
            "last_ms": 0,
            "sightings": 1,
        }
        self.writer.submit(lambda txn: txn.put_soft(STRAY, row))

    def count(self, event: Event) -> int:
        return sum(each is event for each, _ in self.emit.events)

    def take(self, sequence: str) -> int:
        return self.writer.submit(lambda txn: txn.take(sequence))


@pytest.fixture
def rig(reader: Reader, writer: Writer, clock: ManualClock) -> Rig:
    made = Rig(reader, writer, clock, RecordingEmitter())
    for sequence in ("block", "generation", "inode"):
        made.take(sequence)
    record = NodeRecord(NODE, "3" * 32, b"", joined_ms=0)
    writer.submit(lambda txn: put_node(txn, record))
    made.start()
    return made


def test_nodes_that_saw_what_there_is_are_no_sign(rig: Rig) -> None:
    rig.hear(1, int(rig.writer.txid))
    rig.guard.run_once()
    assert rig.guard.refusal() is None
    assert not rig.guard.why_no_deletes()


@pytest.mark.parametrize(("epoch", "ahead"), [(1, 1), (2, -1)])
def test_node_that_saw_more_stops_every_change_at_once(rig: Rig, epoch: int, ahead: int) -> None:
    rig.hear(epoch, int(rig.writer.txid) + ahead)
    assert isinstance(rig.guard.refusal(), Regressed)
    assert "dn-3" in rig.guard.why_no_deletes()
    assert rig.guard.why_no_repair(None)


def test_first_word_of_a_node_is_held_against_what_was_opened(rig: Rig) -> None:
    """The lost transactions are few; those of this run make up for them, but are others."""
    opened = int(rig.writer.txid)
    for _ in range(5):
        rig.take("block")
    rig.hear(1, opened + 2)
    assert rig.guard.refusal() is not None


def test_later_words_may_be_what_this_run_told(rig: Rig) -> None:
    rig.hear(1, 0)
    for _ in range(5):
        rig.take("block")
    rig.hear(1, int(rig.writer.txid))
    assert rig.guard.refusal() is None


@pytest.mark.parametrize(("block", "generation"), [(2, 1), (1, 2), (99, 99)])
def test_block_file_with_a_number_never_given_is_a_sign(
    rig: Rig, block: int, generation: int
) -> None:
    rig.stray(block=block, generation=generation)
    rig.guard.run_once()
    assert f"block {block:x}" in rig.guard.why()


def test_stray_whose_number_was_given_is_no_sign(rig: Rig) -> None:
    rig.stray(block=1, generation=1)
    rig.guard.run_once()
    assert not rig.guard.why()


def test_regression_is_said_once_and_outlives_a_restart(rig: Rig) -> None:
    rig.hear(1, 1000)
    rig.guard.run_once()
    rig.guard.run_once()
    rig.start()
    rig.hear(1, 0)
    rig.guard.run_once()
    assert rig.guard.refusal() is not None
    assert rig.count(Event.METADATA_REGRESSED) == 1


def test_accepting_skips_every_number_and_begins_an_epoch_above_all(rig: Rig) -> None:
    rig.hear(7, 1000)
    rig.guard.run_once()
    txid = rig.writer.txid
    assert rig.guard.accept("alice") == 8
    assert rig.guard.refusal() is None
    assert rig.writer.epoch == 8
    for sequence in ("block", "generation", "inode"):
        assert rig.take(sequence) > LEAP
    assert rig.writer.txid > txid
    with rig.reader.view() as connection:
        lost = read_lost_ids(connection)
        check_metadata(connection)
    assert lost.has(2, 1)
    assert lost.has(1, 2)
    assert not lost.has(1, 1)
    assert not lost.has(rig.take("block"), rig.take("generation"))
    assert rig.asked[-2:] == ["new key", "lead above 7"]
    rig.hear(7, 1000)  # a node that was away all the time
    rig.start()
    rig.hear(8, int(rig.writer.txid))
    rig.guard.run_once()
    assert rig.guard.refusal() is None


def test_strays_of_an_accepted_loss_are_no_sign_again(rig: Rig) -> None:
    rig.stray(block=99, generation=99)
    rig.guard.run_once()
    rig.guard.accept("alice")
    rig.guard.run_once()
    assert not rig.guard.why()


@pytest.mark.parametrize("ahead", [LEAP, LEAP + 5, 40 * LEAP])
def test_accepting_skips_beyond_every_block_file_that_is_known(rig: Rig, ahead: int) -> None:
    """As when the same old copy of the database is gone on from a second time."""
    rig.stray(block=ahead, generation=ahead + 1)
    rig.guard.run_once()
    rig.guard.accept("alice")
    rig.guard.run_once()
    assert not rig.guard.why()
    assert rig.take("block") > ahead
    assert rig.take("generation") > ahead + 1


@pytest.mark.parametrize(("block", "generation"), [(AHEAD_MAX + 9, 1), (1, (1 << 63) - 1)])
def test_number_that_no_history_can_have_given_is_no_sign(
    rig: Rig, block: int, generation: int
) -> None:
    """Nobody could skip it: the NameNode would change nothing any more, whatever was accepted."""
    rig.stray(block=block, generation=generation)
    rig.guard.run_once()
    assert not rig.guard.why()


def test_block_file_of_a_node_that_was_removed_is_no_sign(rig: Rig) -> None:
    rig.stray(block=99, generation=99)
    rig.writer.submit(lambda txn: txn.drop(NODES, (NODE,)))
    rig.guard.run_once()
    assert not rig.guard.why()


def test_same_loss_accepted_twice_gives_no_number_twice(rig: Rig) -> None:
    """The second time from the same old copy: only chance keeps the numbers apart."""
    given = []
    for _ in range(2):
        rig.hear(rig.writer.epoch, 1_000_000)
        before = rig.take("block")
        rig.guard.accept("alice")
        given.append(rig.take("block") - before)
    assert given[0] != given[1]


def test_nothing_is_accepted_when_nothing_was_lost(rig: Rig) -> None:
    with pytest.raises(JobConflict):
        rig.guard.accept("alice")


def test_losses_accepted_one_after_the_other_are_all_remembered(rig: Rig) -> None:
    def ranges() -> Sequence[range]:
        with rig.reader.view() as connection:
            return read_lost_ids(connection).blocks

    for round_ in (1, 2):
        rig.hear(rig.writer.epoch, 10_000 * round_)
        rig.guard.accept("alice")
        assert len(ranges()) == round_


def test_node_heard_first_after_a_loss_was_accepted_does_not_bring_it_back(rig: Rig) -> None:
    rig.hear(1, 1000)
    rig.guard.accept("admin")
    rig.hear(1, 1001, node=NodeId(4))
    rig.guard.run_once()
    assert rig.guard.refusal() is None


def test_word_that_was_taken_before_a_loss_was_accepted_and_weighed_after_is_too_old(
    rig: Rig,
) -> None:
    rig.hear(1, 1000)
    before = Reached(rig.writer.epoch, rig.writer.txid)
    rig.guard.accept("admin")
    rig.newer.note(NODE, Reached(1, 1000), now=before)
    rig.guard.run_once()
    assert rig.guard.refusal() is None


def test_node_that_saw_a_later_epoch_than_the_one_accepted_is_a_sign(rig: Rig) -> None:
    rig.hear(1, 1000)
    epoch = rig.guard.accept("admin")
    rig.hear(epoch + 1, 1, node=NodeId(4))
    assert rig.guard.refusal() is not None
