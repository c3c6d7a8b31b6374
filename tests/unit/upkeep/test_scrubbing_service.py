from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.errors import BadRequest, NodeNotFound
from dfs.base.records import NodeCondition, ScrubStatus
from dfs.base.states import NodeState, ReplicaState
from dfs.nodes.orders import Order
from dfs.upkeep.scrubbing import Scrubbing, ScrubParts
from dfs.wire.scrub_api import (
    ScrubPauseRequest,
    ScrubResumeRequest,
    ScrubStartRequest,
)
from tests.unit.upkeep.canary_rig import CanaryRig, opened


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CanaryRig]:
    with opened(tmp_path) as made:
        yield made


def scrubbing(rig: CanaryRig) -> Scrubbing:
    parts = ScrubParts(
        writer=rig.writer,
        reader=rig.reader,
        nodes=rig.fleet,
        stock=rig.fleet,
        clock=rig.clock,
        emit=rig.emit,
        config=rig.config,
    )
    return Scrubbing(parts, rig.canaries)


def test_start_orders_a_pass_with_a_number_never_used_before(rig: CanaryRig) -> None:
    first = scrubbing(rig).start(ScrubStartRequest())
    assert (first.nodes, first.run) == ([1, 2, 3], 1)
    assert rig.fleet.orders == [(node, Order.SCRUB, None) for node in (1, 2, 3)]
    rig.restart()
    assert scrubbing(rig).start(ScrubStartRequest(nodes=["dn-2"])).run == 2
    assert scrubbing(rig).status().run == 2


def test_start_repeats_a_pass_that_was_given_out_and_no_other(rig: CanaryRig) -> None:
    service = scrubbing(rig)
    service.start(ScrubStartRequest())
    assert service.start(ScrubStartRequest(nodes=["dn-1"], run=1)).run == 1
    for run in (2, -1):
        with pytest.raises(BadRequest):
            service.start(ScrubStartRequest(run=run))


def test_nodes_that_are_not_heard_of_are_refused_by_name(rig: CanaryRig) -> None:
    rig.silence(2, state=NodeState.DEAD)
    rig.silence(3, state=NodeState.JOINED)
    ordered = scrubbing(rig).start(ScrubStartRequest())
    assert ordered.nodes == [1]
    assert {each.node: each.reason for each in ordered.refused} == {
        2: "not heard of: it is dead",
        3: "not heard of: it is joined",
    }
    with pytest.raises(NodeNotFound):
        scrubbing(rig).start(ScrubStartRequest(nodes=["dn-9"]))


def test_a_node_that_takes_no_order_is_said(rig: CanaryRig) -> None:
    rig.fleet.takes = False
    ordered = scrubbing(rig).resume(ScrubResumeRequest())
    assert ordered.nodes == []
    assert [each.node for each in ordered.refused] == [1, 2, 3]


def test_pause_ends_by_itself_and_not_later_than_it_may(rig: CanaryRig) -> None:
    service, longest_s = scrubbing(rig), rig.config.scrub.pause_max_s
    asked = service.pause(ScrubPauseRequest(nodes=["dn-1"], for_s=60))
    assert asked.until_ms == rig.clock.now_ms() + 60_000
    assert service.pause(ScrubPauseRequest()).until_ms == rig.clock.now_ms() + longest_s * 1000
    for refused_s in (0, -1, longest_s + 1):
        with pytest.raises(BadRequest):
            service.pause(ScrubPauseRequest(for_s=refused_s))


def test_no_copy_of_a_healed_block_is_bad_now(rig: CanaryRig) -> None:
    rig.put("/f", b"content")
    for node, state in ((1, ReplicaState.CORRUPT), (2, ReplicaState.LIVE), (3, ReplicaState.LIVE)):
        rig.set_copy(1, node, state)
    status = scrubbing(rig).status()
    assert [node.bad for node in status.nodes] == [0, 0, 0]
    assert [node.aside for node in status.nodes] == [1, 0, 0]


def test_status_says_what_became_of_the_blocks_with_bad_copies(rig: CanaryRig) -> None:
    for number, copies in enumerate(
        (
            {1: ReplicaState.CORRUPT, 2: ReplicaState.LIVE, 3: ReplicaState.LIVE},  # healed
            {1: ReplicaState.CORRUPT, 2: ReplicaState.LIVE, 3: None},  # healing
            {1: ReplicaState.CORRUPT, 2: ReplicaState.CORRUPT, 3: None},  # lost
            {1: ReplicaState.LIVE, 2: ReplicaState.LIVE, 3: None},
            {1: ReplicaState.DISPUTED, 2: None, 3: None},  # lost, whatever its node says
        ),
        start=1,
    ):
        rig.put(f"/f{number}", b"content")
        for node, state in copies.items():
            rig.set_copy(number, node, state)
    rig.place()
    rig.set_copy(rig.block_of(3), 3, ReplicaState.CORRUPT)  # a canary is none of them
    progress = ScrubStatus(state="running", run=4, run_done=False, found=3)
    rig.silence(1, condition=NodeCondition(scrub=progress))
    status = scrubbing(rig).status()
    assert (status.blocks.bad, status.blocks.healed) == (4, 1)
    assert (status.blocks.healing, status.blocks.lost) == (1, 2)
    assert [node.bad for node in status.nodes] == [3, 1, 0]
    assert [node.aside for node in status.nodes] == [1, 0, 0]
    assert status.nodes[0].scrub == progress
    assert [canary.node for canary in status.canaries] == [1, 2, 3]
