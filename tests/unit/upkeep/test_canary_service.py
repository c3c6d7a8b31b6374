import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.base.errors import PermissionDenied
from dfs.base.events import Event
from dfs.base.states import NodeDuty, NodeState, ReplicaState
from dfs.blocks.canary_blocks import canary_blocks
from dfs.blocks.redundancy import BlockHealth
from dfs.meta.tables import BLOCK, INODE, LEASE
from dfs.upkeep.survey import Tally
from tests.builders import a_node
from tests.metadata_checks import check_metadata, check_replay
from tests.namespace_rig import user
from tests.unit.upkeep.canary_rig import INTERVAL_S, CanaryRig, opened, play

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CanaryRig]:
    with opened(tmp_path) as made:
        yield made
        made.look(check_metadata)
        made.look(lambda connection: check_replay(connection, tmp_path))


def test_every_node_gets_a_canary_of_two_copies_one_of_them_its_own(rig: CanaryRig) -> None:
    assert not rig.pass_on(0)
    assert rig.pass_on(INTERVAL_S).written == ("dn-1", "dn-2", "dn-3")
    blocks = rig.look(canary_blocks)
    assert len(blocks) == 3
    for node in (1, 2, 3):
        assert rig.status(node).path.startswith(f"/.dfs/canary/dn-{node}.")
        assert rig.block_of(node) in blocks
        assert rig.stat(rig.status(node).path).replication == 2


def test_a_round_is_spoiled_found_healed_and_told(rig: CanaryRig) -> None:
    rig.place()
    assert rig.pass_on().spoiled == ("dn-1", "dn-2", "dn-3")
    block = rig.block_of(1)
    assert (1, block) in rig.fleet.spoiled()
    assert not rig.pass_on()  # nothing is ordered twice
    rig.set_copy(block, 1, ReplicaState.CORRUPT)
    assert rig.pass_on(5).found == ("dn-1",)
    assert not rig.pass_on()
    for node in (2, 3):
        rig.set_copy(block, node, ReplicaState.LIVE)
    assert rig.pass_on(5).healed == ("dn-1",)
    status = rig.status(1)
    assert (status.state, status.rounds) == ("healed", 1)
    assert status.armed_ms < status.found_ms < status.healed_ms
    told = [facts for event, facts in rig.emit.events if event is Event.CANARY_HEALED]
    assert told[0]["node"] == "dn-1"
    assert told[0]["found_s"] < told[0]["healed_s"]


def test_a_copy_that_was_healed_in_place_between_two_looks_was_found(rig: CanaryRig) -> None:
    rig.place()
    rig.pass_on()
    block = rig.block_of(2)
    rig.tell_bad(block, 2)
    rig.set_copy(block, 2, ReplicaState.LIVE)
    assert rig.pass_on(60).found == ("dn-2",)
    assert rig.pass_on().healed == ("dn-2",)


def test_the_next_round_has_a_block_of_its_own_and_the_old_file_goes(rig: CanaryRig) -> None:
    play(rig)
    first = rig.status(1).path
    play(rig)
    second = rig.status(1).path
    assert first != second
    assert not rig.exists(first)
    rig.purge()
    assert len(rig.look(canary_blocks)) == 3
    garbage = select(func.count()).select_from(BLOCK).where(BLOCK.c.state == "garbage")
    assert rig.look(lambda c: c.execute(garbage).scalar()) >= 3


def test_a_node_alone_has_a_canary_that_is_not_spoiled_until_another_comes(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, nodes=1) as rig:
        assert rig.place().written == ("dn-1",)
        assert not rig.pass_on(10 * INTERVAL_S)
        assert "no other DataNode" in rig.status(1).why
        assert not rig.status(1).late
        assert rig.stat(rig.status(1).path).replication == 1
        rig.fleet.nodes.append(a_node(2))
        assert rig.pass_on().written == ("dn-1",)
        assert rig.stat(rig.status(1).path).replication == 2
        assert rig.pass_on().spoiled == ("dn-1",)


def test_nothing_is_spoiled_while_deletes_are_held_back(rig: CanaryRig) -> None:
    rig.place()
    rig.held_back = "safe mode"
    assert not rig.pass_on()
    assert rig.fleet.spoiled() == []
    assert "safe mode" in rig.status(1).why


def test_nothing_is_spoiled_while_the_stock_of_a_holder_is_not_known(rig: CanaryRig) -> None:
    rig.place()
    rig.fleet.stale_stock = {view.node for view in rig.fleet.nodes}
    assert not rig.pass_on()
    assert rig.fleet.spoiled() == []


def test_nothing_is_written_while_changes_are_refused(rig: CanaryRig) -> None:
    rig.refusal = PermissionDenied("safe mode")
    assert rig.place().refused == ("dn-1", "dn-2", "dn-3")
    assert rig.look(canary_blocks) == frozenset()


def test_a_write_that_nobody_took_leaves_nothing_behind(rig: CanaryRig) -> None:
    rig.broken = {view.node for view in rig.fleet.nodes}
    assert rig.place().refused == ("dn-1", "dn-2", "dn-3")
    assert "nobody answers" in rig.status(1).why
    for table in (LEASE, INODE.select().where(INODE.c.under_construction == 1).subquery()):
        count = select(func.count()).select_from(table)
        assert rig.look(lambda c, count=count: c.execute(count).scalar()) == 0
    rig.broken.clear()
    assert rig.pass_on().written == ("dn-1", "dn-2", "dn-3")


def test_a_canary_that_its_own_node_did_not_take_is_written_again(rig: CanaryRig) -> None:
    rig.broken = {rig.fleet.nodes[0].node}
    rig.place()
    assert "dn-1" in rig.pass_on().written
    rig.broken.clear()
    assert "dn-1" in rig.pass_on().written
    assert "dn-1" in rig.pass_on().spoiled


def test_a_dead_node_is_left_alone_and_goes_on_when_it_is_back(rig: CanaryRig) -> None:
    rig.place()
    rig.pass_on()
    rig.silence(1, state=NodeState.DEAD)
    assert not rig.pass_on(10 * INTERVAL_S)
    assert [one.node for one in rig.canaries.statuses()] == [2, 3]
    rig.silence(1, state=NodeState.LIVE)
    rig.set_copy(rig.block_of(1), 1, ReplicaState.CORRUPT)
    assert rig.pass_on().found == ("dn-1",)


def test_a_removed_node_takes_its_canary_with_it(rig: CanaryRig) -> None:
    rig.place()
    path = rig.status(3).path
    del rig.fleet.nodes[2]
    rig.pass_on()
    assert not rig.exists(path)
    rig.restart()
    assert [one.node for one in rig.canaries.statuses()] == [1, 2]


def test_a_restart_goes_on_where_the_round_was(rig: CanaryRig) -> None:
    rig.place()
    rig.pass_on()
    before = rig.status(1)
    rig.restart()
    assert rig.status(1).state == before.state == "spoiled"
    rig.heal(rig.block_of(1), 1, 2)
    rig.set_copy(rig.block_of(1), 3, ReplicaState.LIVE)
    rig.pass_on()
    assert rig.status(1).state == "healed"


def test_a_copy_that_was_read_since_and_is_good_is_spoiled_again(rig: CanaryRig) -> None:
    rig.place()
    rig.pass_on()
    rig.pass_on()
    rig.advance(200)
    rig.set_copy(rig.block_of(1), 1, ReplicaState.LIVE)  # its node read it, and it is good
    rig.pass_on()
    assert rig.status(1).state == "placed"
    assert rig.fleet.withdrawn
    assert rig.pass_on().spoiled[0] == "dn-1"


def test_a_round_whose_order_was_not_obeyed_begins_anew(rig: CanaryRig) -> None:
    rig.fleet.takes = False
    rig.place()
    rig.pass_on()
    assert rig.status(1).state == "spoiled"
    first = rig.status(1).path
    rig.fleet.takes = True
    rig.pass_on(200)
    assert "did not say" in rig.status(1).why
    assert "dn-1" in rig.pass_on().written
    assert rig.status(1).path != first
    assert "dn-1" in rig.pass_on().spoiled


def test_a_canary_is_late_when_nothing_finds_it(rig: CanaryRig) -> None:
    rig.place()
    rig.pass_on()
    assert not rig.status(1).late
    rig.advance(rig.config.health.canary_late_s)
    assert rig.status(1).late


# ---- the place


def test_root_does_not_list_the_reserved_place_and_its_own_path_does(rig: CanaryRig) -> None:
    rig.mkdir("/zoo")
    rig.place()
    assert ".dfs" not in rig.names("/")
    assert "zoo" in rig.names("/")
    assert rig.names("/.dfs") == ["canary"]
    assert len(rig.names("/.dfs/canary")) == 3
    with pytest.raises(PermissionDenied):
        rig.names("/.dfs/canary", who=user(5))


def test_nobody_changes_what_is_in_the_reserved_place_not_even_the_admin(rig: CanaryRig) -> None:
    with pytest.raises(PermissionDenied):
        rig.mkdir("/.dfs")
    with pytest.raises(PermissionDenied):
        rig.put("/.dfs", b"x")
    rig.place()
    canary = rig.status(1).path
    rig.put("/mine", b"x")
    for refused in (
        lambda: rig.mkdir("/.dfs/mine"),
        lambda: rig.put("/.dfs/canary/mine", b"x"),
        lambda: rig.put(canary, b"x", overwrite=True),
        lambda: rig.move(canary, "/mine2"),
        lambda: rig.move("/.dfs", "/mine2"),
        lambda: rig.move("/mine", "/.dfs/canary/mine"),
        lambda: rig.move("/mine", canary, overwrite=True),
        lambda: rig.copy(canary, "/mine2"),
        lambda: rig.copy("/.dfs", "/mine2", recursive=True),
        lambda: rig.copy("/mine", "/.dfs/canary"),
        lambda: rig.remove(canary),
        lambda: rig.remove("/.dfs", recursive=True, skip_trash=True),
    ):
        with pytest.raises(PermissionDenied, match="DFS's own"):
            refused()
    assert rig.exists(canary)


# ---- crashes


@pytest.mark.parametrize(
    "crash_at",
    [
        "nn.canary.begun",
        "nn.canary.begun:2",
        "nn.canary.written",
        "nn.canary.written:3",
        "nn.canary.spoiled",
        "nn.canary.kept",
        "nn.canary.kept:4",
        "nn.commit.before:6",
        "nn.commit.after:9",
    ],
)
def test_canaries_go_on_after_a_crash_at_any_step(tmp_path: Path, crash_at: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.upkeep.canary_rig", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"DFS_CRASHPOINT": crash_at},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == CRASH_EXIT_CODE, run.stderr
    with opened(tmp_path) as rig:
        play(rig)
        rig.advance(rig.config.namenode.lease_hard_s + 1)
        rig.expire_leases()
        rig.purge()
        assert len(rig.look(canary_blocks)) == 3
        rig.look(check_metadata)


# ---- lost ones


def lose(rig: CanaryRig) -> int:
    """dn-1 found its canary's copy bad; the node with the good one is gone.  That block."""
    rig.place()
    rig.pass_on()
    block = rig.block_of(1)
    rig.set_copy(block, 1, ReplicaState.CORRUPT)
    for node in (2, 3):
        rig.set_copy(block, node, None)
    return block


def test_a_canary_whose_good_copy_is_lost_is_replaced(rig: CanaryRig) -> None:
    block = lose(rig)
    assert rig.pass_on().found == ("dn-1",)
    rig.pass_on()
    assert "lost" in rig.status(1).why
    assert "dn-1" in rig.pass_on().written
    assert rig.block_of(1) != block
    assert rig.pass_on().spoiled == ("dn-1",)


def test_no_survey_counts_canaries_and_repair_is_still_told_of_them(rig: CanaryRig) -> None:
    rig.put("/mine", b"x" * 10)
    lost = lose(rig)
    hurt = rig.block_of(2)
    rig.set_copy(hurt, 2, ReplicaState.CORRUPT)
    survey = rig.survey()
    assert (survey.totals.blocks, survey.totals.size_bytes) == (1, 10)
    assert survey.totals.by_health == {BlockHealth.HEALTHY: Tally(1, 10)}
    assert survey.totals.by_class == {}
    assert (survey.lost, survey.away) == ((), ())
    assert [judged.block.truth.block for judged in survey.urgent] == [hurt]
    assert survey.canaries == {hurt}
    assert lost not in survey.canaries


def test_no_lost_canary_holds_up_a_node_that_leaves(rig: CanaryRig) -> None:
    lose(rig)
    rig.silence(1, duty=NodeDuty.DECOMMISSIONING)
    others = {rig.block_of(2), rig.block_of(3)}
    for block in others:
        for node in (2, 3):
            rig.set_copy(block, node, ReplicaState.LIVE)
    assert rig.survey().leaving == {}
