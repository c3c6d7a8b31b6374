"""Each order of a NameNode is obeyed by the part it is for, and refused with the reason."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, BlockCorrupt, BlockNotFound, DfsError
from dfs.base.records import BlockName, NodeCommand
from dfs.base.states import StoredState
from dfs.blockstore.disk_mover import DiskMover
from dfs.daemons.datanode_orders import command_handlers
from dfs.nodes.orders import Order
from tests.unit.blockstore.disk_rig import block_name
from tests.unit.blockstore.scrub_rig import ScrubRig

NAME = block_name(1)
DATA = os.urandom(100_000)


class OrderRig(ScrubRig):
    """Takes orders like a DataNode."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, disks=2)
        self.mover = DiskMover(self.store, bytes_per_s=1 << 40, clock=ManualClock(), emit=self.emit)
        self.handlers = command_handlers(self.store, self.scrubber, self.mover)

    def path_of(self, name: BlockName) -> Path:
        paths = (volume.layout.block(name) for volume in self.store.folders)
        return next(path for path in paths if path.exists())

    def order(self, verb: Order, block: BlockName | None = None, *, value: int = 0) -> None:
        self.handlers[verb](NodeCommand(1, verb, 1, block, "because", value))

    def state(self) -> StoredState | None:
        entry = self.store.entry(NAME)
        return None if entry is None else entry.state

    def spoil(self) -> None:
        path = self.path_of(NAME)
        path.write_bytes(b"\xff" + path.read_bytes()[1:])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[OrderRig]:
    made = OrderRig(tmp_path)
    made.put(NAME, b"\0" + DATA)
    made.settle()
    yield made
    made.store.close(clean=False)


def test_every_order_has_somebody_who_obeys(rig: OrderRig) -> None:
    assert set(rig.handlers) == {*Order} - {Order.REPORT}


BLOCK_ORDERS = (
    Order.DELETE,
    Order.VERIFY,
    Order.QUARANTINE,
    Order.PURGE_BAD,
    Order.RESTORE,
    Order.SPOIL_CANARY,
)


@pytest.mark.parametrize("verb", BLOCK_ORDERS)
def test_order_about_no_block_is_refused(rig: OrderRig, verb: Order) -> None:
    with pytest.raises(BadRequest):
        rig.order(verb)


@pytest.mark.parametrize("verb", [Order.VERIFY, Order.RESTORE, Order.SPOIL_CANARY])
def test_order_about_a_block_that_is_not_here_says_so(rig: OrderRig, verb: Order) -> None:
    with pytest.raises(BlockNotFound):
        rig.order(verb, block_name(9))


def test_verify_makes_a_suspect_whose_verdict_is_a_change_of_stock(rig: OrderRig) -> None:
    rig.store.take_changes(10)
    rig.clock.advance(5)
    rig.order(Order.VERIFY, NAME)
    rig.settle()
    ((entry,), _) = rig.store.take_changes(10)
    assert (entry.state, entry.verified_ms) == (StoredState.FINAL, rig.clock.now_ms())
    rig.spoil()
    rig.order(Order.VERIFY, NAME)
    rig.settle()
    assert rig.state() is StoredState.CORRUPT


def test_bad_copy_is_purged_and_a_deleted_one_restored(rig: OrderRig) -> None:
    rig.order(Order.QUARANTINE, NAME)
    assert rig.state() is StoredState.CORRUPT
    rig.order(Order.PURGE_BAD, NAME)
    assert rig.state() is None
    rig.order(Order.RESTORE, NAME)
    assert rig.get(NAME) == b"\0" + DATA
    rig.order(Order.DELETE, NAME)
    assert rig.state() is None
    rig.order(Order.DELETE, NAME)  # repeated


def test_pass_pause_resume_and_trust_reach_the_scrubber(rig: OrderRig) -> None:
    rig.order(Order.SCRUB_PAUSE, value=rig.clock.now_ms() + 60_000)
    assert rig.scrubber.status().state == "paused"
    rig.order(Order.SCRUB_RESUME)
    assert rig.scrubber.status().state == "idle"
    rig.order(Order.SCRUB_PAUSE, value=rig.clock.now_ms() + 60_000)
    rig.order(Order.SCRUB, value=4)  # who wants a pass now wants no pause
    rig.settle()
    status = rig.scrubber.status()
    assert (status.run, status.run_done, status.paused_until_ms) == (4, True, 0)
    rig.order(Order.TRUST)
    assert not rig.store.is_doubtful


def test_levelling_begins_and_stops(rig: OrderRig) -> None:
    rig.order(Order.LEVEL_DISKS, value=100)
    assert rig.mover.status().running
    rig.order(Order.LEVEL_STOP)
    assert not rig.mover.status().running


def test_only_a_canary_is_spoilt(rig: OrderRig) -> None:
    with pytest.raises(BadRequest, match="canary"):
        rig.order(Order.SPOIL_CANARY, NAME)
    canary = block_name(5, file=5)
    rig.put(canary, DATA, path="/.dfs/canary/1")
    rig.order(Order.SPOIL_CANARY, canary)
    with pytest.raises(BlockCorrupt):
        rig.get(canary)
    with pytest.raises(DfsError):
        rig.order(Order.SPOIL_CANARY, canary)
