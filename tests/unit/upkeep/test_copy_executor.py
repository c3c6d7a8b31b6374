"""Copies made for real: what counts, what does not, and who is blamed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.errors import JobConflict
from dfs.base.events import Event
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import BlockTruth
from dfs.base.states import NodeDuty, NodeState
from dfs.blocks.redundancy import RepairClass
from dfs.meta.journal import check_chain
from dfs.meta.tables import BLOCK
from dfs.upkeep import repair
from dfs.upkeep.repair_desk import RepairDesk
from dfs.upkeep.retiring import Retirement, retire
from dfs.upkeep.steps import DropReplica
from dfs.wire import codec
from dfs.wire.repair_api import RestoreRequest
from dfs.wire.tokens import sign_receipt
from tests.datanode_rig import KEY, PATH
from tests.fake_datanode import FakeDataNode
from tests.unit.upkeep.copy_rig import DATA, CopyRig, CutOff


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CopyRig]:
    made = CopyRig(tmp_path)
    yield made
    made.close()


def test_copy_counts_once_its_receipt_is_checked_and_is_told_of(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    outcome = rig.copy(name, one, two)
    assert outcome.done, outcome.why
    assert rig.rows(7) == {one: "live", two: "live"}
    assert rig.content(two, name) == DATA
    assert rig.told(7) == ["copied"]
    assert rig.events(Event.REPLICA_COPIED)[0]["target"] == "dn-2"
    assert rig.rates.totals().size_bytes == len(DATA)


def test_copy_keeps_the_name_that_the_file_had(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join(peers=CutOff())
    name = rig.put(7, [one])
    assert rig.copy(name, one, two).done
    assert rig.nodes[two].store.label(name).path == rig.nodes[one].store.label(name).path == PATH


def test_bad_source_is_doubted_verified_and_never_copied_on(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    name = rig.put(7, [one, two], wanted=3)
    rig.flip(one, name)
    outcome = rig.copy(name, one, three)
    assert not outcome.done
    assert "block_corrupt" in outcome.why
    assert not rig.holds(three, name)
    assert rig.rows(7) == {one: "suspect", two: "live"}
    assert (one, "verify", 7) in rig.ordered
    assert rig.told(7) == ["suspect"]
    rig.rounds(2)
    assert rig.rows(7)[three] == "live"
    assert rig.content(three, name) == DATA


def test_copy_goes_through_the_namenode_when_the_target_cannot_reach_the_source(
    rig: CopyRig,
) -> None:
    one, two = rig.join(), rig.join(peers=CutOff())
    name = rig.put(7, [one])
    assert rig.copy(name, one, two).done
    assert len(rig.relayed) == 1
    assert rig.content(two, name) == DATA
    assert rig.rows(7) == {one: "live", two: "live"}


def test_relay_of_a_bad_source_leaves_nothing_on_the_target(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join(peers=CutOff())
    name = rig.put(7, [one])
    rig.flip(one, name)
    assert not rig.copy(name, one, two).done
    assert not rig.holds(two, name)
    assert rig.rows(7) == {one: "suspect"}


class Forger(FakeDataNode):
    """Says that it has copied, whatever it was told."""

    def __init__(self, node: int, *, key=KEY, of_node: int = 0, truth: BlockTruth | None = None):
        super().__init__(node)
        self.key, self.of_node, self.truth = key, of_node or node, truth

    def CopyBlock(self, request, context):  # noqa: N802
        name = codec.read_block_ref(request.block)
        truth = self.truth or BlockTruth(name.block, name.generation, request.length, request.hash)
        receipt = sign_receipt(truth, node=NodeId(self.of_node), epoch=1, key=self.key)
        return codec.write_receipt(receipt)


@pytest.mark.parametrize(
    "forgery",
    [
        {"key": replace(KEY, secret=b"other" * 8)},
        {"of_node": 1},
        {"truth": BlockTruth(7, 7, len(DATA), b"z" * 16)},
        {"truth": BlockTruth(7, 6, len(DATA), b"z" * 16)},
    ],
    ids=["signature", "node", "hash", "generation"],
)
def test_receipt_that_does_not_hold_counts_for_nothing(
    rig: CopyRig, forgery: dict[str, object]
) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    forger = Forger(2, **forgery)
    try:
        rig.set(two, address=forger.address)
        assert not rig.copy(name, one, two).done
        assert rig.rows(7)[one] in ("live", "suspect")
        assert two not in rig.rows(7)
    finally:
        forger.stop()


def test_copy_of_a_block_that_was_removed_meanwhile_is_left_to_the_stock_reports(
    rig: CopyRig,
) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    rig.metadata.change(
        lambda txn: txn.put(BLOCK, {**(txn.get(BLOCK, 7) or {}), "state": "garbage"})
    )
    assert rig.copy(name, one, two).why == "the block is not in use any more"
    assert rig.rows(7) == {one: "live"}


def test_same_copy_is_not_begun_twice_and_no_more_than_there_are_threads(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    step = rig.step(name, one, two)
    assert rig.pending.begin(step)
    assert not rig.executor.submit(step)
    rig.pending.end(step)
    assert rig.run(step).done


def test_deletion_that_still_waits_for_the_target_is_taken_back_first(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    assert rig.copy(name, one, two).done
    assert rig.cancelled == [(two, "delete", 7)]


def test_listener_that_fails_keeps_no_other_from_hearing(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    rig.executor.listen(lambda _outcome: 1 / 0)
    assert rig.copy(name, one, two).done
    assert len(rig.events(Event.BUG_UNHANDLED)) == 1


# ---- retiring


def test_drop_marks_the_copy_and_orders_its_deletion_only_when_enough_stay(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    name = rig.put(7, [one, two, three])
    assert rig.executor.drop(DropReplica(name, three, "too many"))
    assert rig.rows(7) == {one: "live", two: "live", three: "retiring"}
    assert (three, "delete", 7) in rig.ordered
    refused = rig.executor.drop(DropReplica(name, two, "too many"))
    assert not refused
    assert "1 sure copies would be left of 2 wanted" in refused.why_not


def test_drop_is_refused_while_deletes_are_held_back_or_stock_is_unknown(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    name = rig.put(7, [one, two, three])
    rig.caution.no_deletes = "safe mode"
    assert rig.executor.drop(DropReplica(name, three, "too many")).why_not == "safe mode"
    rig.caution.no_deletes = ""
    rig.not_fresh.add(one)
    assert not rig.executor.drop(DropReplica(name, three, "too many"))
    assert set(rig.rows(7).values()) == {"live"}


def test_copy_that_would_be_the_only_one_left_is_read_before_the_other_goes(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one, two], wanted=1)
    rig.flip(one, name)
    refused = rig.executor.drop(DropReplica(name, two, "too many"))
    assert "not intact" in refused.why_not
    assert rig.rows(7) == {one: "suspect", two: "live"}


def test_copy_is_not_proved_by_another_node_at_its_address(rig: CopyRig) -> None:
    """The ports of two nodes were swapped: the good one answers for the bad one."""
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one, two], wanted=1)
    rig.flip(one, name)
    ports = {node: rig.nodes[node].server.port for node in (one, two)}
    for node, other in ((one, two), (two, one)):
        rig.set(node, address=replace(rig.address(node), grpc_port=ports[other]))
    refused = rig.executor.drop(DropReplica(name, two, "too many"))
    assert "dn-2 is at that address" in refused.why_not
    assert rig.rows(7) == {one: "live", two: "live"}


def test_copy_that_is_alone_by_the_rows_of_now_must_have_been_read(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    rig.put(7, [one, two], wanted=1)

    def retired(proved: frozenset[NodeId]) -> Retirement:
        return rig.metadata.writer.submit(
            lambda txn: retire(
                txn,
                BlockId(7),
                two,
                at=rig.standings(),
                proved=proved,
                actor="a test",
                reason="too many",
            )
        )

    assert "was not read" in retired(frozenset()).why_not
    assert "was not read" in retired(frozenset({two})).why_not
    assert rig.rows(7) == {one: "live", two: "live"}
    assert retired(frozenset({one}))


# ---- the job over it all


def test_job_heals_what_a_dead_node_held(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    names = [rig.put(block, [one, two]) for block in (7, 8, 9)]
    rig.die(two)
    rig.rounds(5)
    for name in names:
        assert rig.rows(name.block)[three] == "live"
        assert rig.sure(name.block) == 2
    assert rig.job.run_once().copies == 0


def test_job_goes_on_as_copies_end_while_blocks_wait_for_room(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    blocks = range(7, 19)  # two at a time to one node: six rounds
    for block in blocks:
        rig.put(block, [one, two])
    rig.die(two)
    rig.surveyor.soon()
    went_on = 0
    while (report := rig.job.run_once()).crowded:
        went_on += rig.job.goes_on(report)  # a wait in vain for a slow copy is no failure
    while rig.pending.snapshot().copies:
        rig.clock.sleep(0.01)
    assert went_on >= 1
    assert all(rig.rows(block)[three] == "live" for block in blocks)
    assert not rig.job.goes_on(rig.job.run_once())


def test_job_drops_what_is_too_many_when_a_node_returns_only_in_the_second_survey(
    rig: CopyRig,
) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    rig.put(7, [one, two, three])
    rig.rounds(1)
    assert set(rig.rows(7).values()) == {"live"}
    rig.rounds(1)
    assert sorted(rig.rows(7).values()) == ["live", "live", "retiring"]


def test_job_retires_copies_for_so_long_and_goes_on_in_the_next_pass(
    rig: CopyRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "DROPPING_S", 0.0)
    one, two, three = rig.join(), rig.join(), rig.join()
    for block in (7, 8):
        rig.put(block, [one, two, three])
    rig.rounds(2)
    assert sum("retiring" in rig.rows(block).values() for block in (7, 8)) == 1
    rig.rounds(2)
    assert all("retiring" in rig.rows(block).values() for block in (7, 8))


def test_job_copies_nothing_for_a_node_that_came_back(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    rig.put(7, [one, two])
    rig.die(two)
    rig.surveyor.survey_now()
    rig.set(two, state=NodeState.LIVE)
    rig.rounds(2)
    assert three not in rig.rows(7)


def test_job_says_once_that_a_block_is_lost_and_once_that_it_healed(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    rig.put(7, [one], wanted=2)
    rig.set_row(7, one, "corrupt")
    rig.rounds(3)
    assert len(rig.events(Event.BLOCK_LOST)) == 1
    rig.set_row(7, one, "live")  # it could be read after all
    rig.rounds(4)
    assert rig.rows(7) == {one: "live", two: "live"}
    assert len(rig.events(Event.BLOCK_HEALED)) == 1
    assert rig.told(7) == ["lost", "copied", "healed"]


def test_job_replaces_a_bad_copy_elsewhere_and_on_its_own_node_when_there_is_no_other(
    rig: CopyRig,
) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one, two])
    rig.flip(two, name)
    assert rig.nodes[two].store.verify(name).state == "corrupt"
    rig.set_row(7, two, "corrupt")
    rig.rounds(3)
    assert rig.rows(7) == {one: "live", two: "live"}
    assert rig.content(two, name) == DATA


def test_job_stores_what_a_failed_disk_has_on_the_good_disk_of_that_node(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join(disks=2)
    name = rig.put(7, [one, two])
    store = rig.nodes[two].store
    (worn,) = (volume for volume in store.folders if volume.blocks)
    worn._fail("a test says so")
    assert store.entry(name).state == "failing"
    rig.set_row(7, two, "failing")
    rig.rounds(3)
    assert rig.rows(7) == {one: "live", two: "live"}
    entry = store.entry(name)
    assert (entry.state, entry.volume != worn.uuid) == ("final", True)


def test_job_brings_a_retiring_copy_back_when_its_block_loses_the_others(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    name = rig.put(7, [one, two, three])
    assert rig.executor.drop(DropReplica(name, three, "too many"))
    rig.die(one)
    rig.die(two)
    rig.rounds(1)
    assert rig.rows(7)[three] == "suspect"
    assert (three, "restore", 7) in rig.ordered
    assert (three, "verify", 7) in rig.ordered


def test_job_looks_for_a_lost_block_where_a_copy_was_retired(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    name = rig.put(7, [one, two, three])
    assert rig.executor.drop(DropReplica(name, three, "too many"))
    rig.set_row(7, three, None)  # it said that it is gone
    rig.die(one)
    rig.die(two)
    rig.ordered.clear()
    rig.rounds(3)
    assert rig.ordered.count((three, "restore", 7)) == 1


def test_job_lets_a_decommissioned_node_go_when_no_block_needs_it(rig: CopyRig) -> None:
    one, two, three = rig.join(), rig.join(), rig.join()
    rig.put(7, [one, two])
    rig.put(8, [two, three])
    rig.set(two, duty=NodeDuty.DECOMMISSIONING)
    rig.rounds(1)
    assert rig.duties == []
    rig.rounds(4)
    assert rig.duties == [(two, NodeDuty.DECOMMISSIONED)]
    assert rig.sure(7) == rig.sure(8) == 2


def test_job_keeps_a_node_that_a_block_needs_since_the_last_survey(rig: CopyRig) -> None:
    """A write that began before the node was to leave ends after the survey looked."""
    one, two, three = rig.join(), rig.join(), rig.join()
    rig.put(7, [one, three])
    rig.set(two, duty=NodeDuty.DECOMMISSIONING)
    rig.before_duty = lambda: rig.rows(8) or rig.put(8, [two])
    rig.rounds(1)
    assert rig.rows(8) == {two: "live"}
    assert rig.duties == []
    rig.rounds(5)
    assert rig.sure(8) == 2
    assert rig.duties == [(two, NodeDuty.DECOMMISSIONED)]


def test_job_lets_a_node_go_whose_copies_are_no_good_to_anybody(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    rig.put(7, [one, two])
    rig.set_row(7, two, "corrupt")
    rig.set(two, duty=NodeDuty.DECOMMISSIONING)
    rig.rounds(1)
    assert rig.duties == [(two, NodeDuty.DECOMMISSIONED)]


def test_restore_of_a_copy_that_is_good_is_refused(rig: CopyRig) -> None:
    one = rig.join()
    rig.put(7, [one])
    desk = RepairDesk(rig, rig.metadata.reader, why_no_deletes=lambda: "")
    with pytest.raises(JobConflict, match="good copy"):
        desk.restore(RestoreRequest(block=7, node="dn-1"), actor="admin ada")
    assert not [order for order in rig.ordered if "restore" in order]


def test_job_rests_while_paused_and_goes_on_with_other_budgets(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    rig.put(7, [one])
    rig.job.pause(60, actor="admin ada")
    assert rig.job.run_once().paused
    assert rig.rows(7) == {one: "live"}
    rig.job.resume(actor="admin ada")
    rig.job.set_rate(RepairClass.LAST_COPY, 1, actor="admin ada")
    rig.rounds(3)
    assert rig.rows(7) == {one: "live", two: "live"}
    assert rig.settings.rates()[RepairClass.LAST_COPY] == 1


def test_job_waits_when_told_to_and_says_why(rig: CopyRig) -> None:
    one = rig.join()
    rig.join()
    rig.put(7, [one])
    rig.caution.no_repair = "a storm"
    rig.rounds(2)
    assert rig.rows(7) == {one: "live"}
    assert rig.job.plan is not None
    assert [each.reason for each in rig.job.plan.deferrals] == ["a storm"]


def test_what_repair_writes_is_in_the_journal(rig: CopyRig) -> None:
    one, two = rig.join(), rig.join()
    name = rig.put(7, [one])
    before = rig.metadata.writer.txid
    assert rig.copy(name, one, two).done
    assert rig.metadata.writer.txid == before + 1
    rig.metadata.look(check_chain)
