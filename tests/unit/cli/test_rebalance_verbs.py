"""`dfs-admin rebalance` against a NameNode that tells a story, one status after the other."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from dfs.base.errors import JobConflict
from dfs.base.ids import NodeId
from dfs.base.records import DiskBalance, NodeCondition, NodeView, Refusal
from dfs.base.units import MiB
from dfs.cli import admin
from dfs.cli.balance_wait import progress_words, share_of
from dfs.wire import routes
from dfs.wire.balance_api import (
    BalancePlanReply,
    BalanceReply,
    BalanceRequest,
    DisksOrdered,
    DisksRequest,
    NodeShare,
    PlannedMove,
)
from tests.builders import a_name, a_node, a_volume
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode

SHARES = [
    NodeShare(
        node=1,
        side="over",
        percent=60.0,
        used_bytes=60 * MiB,
        total_bytes=100 * MiB,
        excess_bytes=30 * MiB,
        why="no block of it is known",
    ),
    NodeShare(
        node=2, side="out", percent=0.0, used_bytes=0, total_bytes=0, excess_bytes=0, why="dead"
    ),
]
RUNNING = BalanceReply(
    state="running",
    by="ada",
    threshold_percent=10.0,
    mean_percent=43.21,
    bandwidth_bytes=50 * MiB,
    started_ms=NOW_MS,
    total_bytes=40 * MiB,
    moved_bytes=10 * MiB,
    moved_blocks=5,
    left_bytes=30 * MiB,
    rate_bytes_per_s=2.0 * MiB,
    eta_s=15.0,
    nodes=SHARES,
)
DONE = msgspec.structs.replace(
    RUNNING,
    state="done",
    why="every node is within 10 % of the mean 43.2 %",
    ended_ms=NOW_MS + 20_000,
    moved_bytes=40 * MiB,
    moved_blocks=20,
    left_bytes=0,
)
STUCK = msgspec.structs.replace(DONE, state="stuck", why="Nothing more can move: dn-1: too big")


class Story:
    """Answers each status with the next of its replies, the last one for ever."""

    def __init__(self, namenode: FakeNamenode, replies: Sequence[BalanceReply]) -> None:
        self._replies = list(replies)
        namenode.answer_with(routes.BALANCE_STATUS, lambda _request: self._next())
        namenode.answer_with(routes.BALANCE_START, self._start)
        self.started: list[BalanceRequest] = []

    def _next(self) -> BalanceReply:
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def _start(self, request: BalanceRequest) -> BalanceReply:
        self.started.append(request)
        return self._next()


def test_starting_says_how_much_there_is_to_move(console: Console, namenode: FakeNamenode) -> None:
    story = Story(namenode, [RUNNING])
    ran = console.admin("rebalance", "--threshold", "5%", "--bandwidth", "20MiB/s")
    assert (ran.code, ran.out) == (0, "started: 40 MiB to move at 50 MiB/s at most\n")
    assert "dfs-admin rebalance status --wait" in ran.err
    assert story.started == [BalanceRequest(threshold_percent=5.0, bandwidth_bytes=20 * MiB)]


def test_waiting_shows_plain_lines_and_ends_with_the_reason(
    console: Console, namenode: FakeNamenode
) -> None:
    Story(namenode, [RUNNING, RUNNING, DONE])
    ran = console.admin("rebalance", "--wait")
    assert ran.code == 0
    assert ran.err == "rebalance: 25%, 10 MiB moved, 30 MiB left, 2 MiB/s, ETA 15s\n"
    assert ran.out == (
        "moved 20 blocks, 40 MiB in 20s\ndone: every node is within 10 % of the mean 43.2 %\n"
    )


def test_a_cluster_that_cannot_be_levelled_is_exit_1(
    console: Console, namenode: FakeNamenode
) -> None:
    Story(namenode, [RUNNING, STUCK])
    ran = console.admin("rebalance", "--wait")
    assert ran.code == 1
    assert "stuck: Nothing more can move: dn-1: too big" in ran.out
    assert console.admin("rebalance", "status").code == 1


def test_one_that_runs_already_is_exit_5(console: Console, namenode: FakeNamenode) -> None:
    def refuse(_request: BalanceRequest) -> BalanceReply:
        raise JobConflict("the DataNodes are being balanced already")

    namenode.answer_with(routes.BALANCE_START, refuse)
    assert console.admin("rebalance", "--wait").code == 5


def test_status_shows_the_job_and_every_node(console: Console, namenode: FakeNamenode) -> None:
    Story(namenode, [RUNNING])
    ran = console.admin("rebalance", "status")
    assert ran.code == 0
    assert "progress:  25%, 10 MiB moved, 30 MiB left, 2 MiB/s, ETA 15s" in ran.out
    assert "mean:      43.2 % in use, each node within 10 %" in ran.out
    assert "takes no part" in ran.out
    shown = console.admin("rebalance", "status", "--json").json
    assert shown["state"] == "running"
    assert [share["node"] for share in shown["nodes"]] == ["dn-1", "dn-2"]


def test_a_dry_run_is_a_table_and_totals(console: Console, namenode: FakeNamenode) -> None:
    plan = BalancePlanReply(
        threshold_percent=10.0,
        mean_percent=43.0,
        total_bytes=40 * MiB,
        planned_bytes=8 * MiB,
        moves=[
            PlannedMove(
                block=a_name(12), path=path, source=1, target=3, size_bytes=8 * MiB, reason="why"
            )
            for path in ("/data/a b", "")
        ],
        nodes=SHARES,
        words="not within 10 % of the mean 43 %: dn-1 is at 60 %",
    )
    namenode.answer_with(routes.BALANCE_PLAN, lambda _request: plan)
    ran = console.admin("rebalance", "--dry-run")
    assert ran.code == 0
    _, named, nameless, *_ = ran.out.splitlines()
    assert named.split() == ["12", "0", "dn-1", "dn-3", "8", "MiB", "/data/a", "b"]
    assert nameless.endswith("inode 7")
    assert "2 moves planned, 8 MiB of 40 MiB to move" in ran.out
    assert "dn-1: no block of it is known" in ran.out
    assert console.admin("rebalance", "--dry-run", "--json").json["planned_bytes"] == 8 * MiB


def test_stopping_says_what_was_moved(console: Console, namenode: FakeNamenode) -> None:
    stopped = msgspec.structs.replace(DONE, state="stopped", why="stopped by ada")
    namenode.answer_with(routes.BALANCE_STOP, lambda _request: stopped)
    ran = console.admin("rebalance", "stop")
    assert (ran.code, ran.out) == (0, "stopped; moved 20 blocks, 40 MiB\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--threshold", "0"),
        ("--threshold", "some"),
        ("--bandwidth", "0"),
        ("dn-1",),
        ("--disks", "--dry-run"),
    ],
)
def test_what_cannot_be_meant_is_exit_2(console: Console, words: tuple[str, ...]) -> None:
    assert console.admin("rebalance", *words).code == 2


def test_an_interrupted_wait_says_that_the_job_goes_on(
    console: Console, namenode: FakeNamenode, monkeypatch: pytest.MonkeyPatch
) -> None:
    Story(namenode, [RUNNING])

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console.clock, "sleep", interrupt)
    ran = console.admin("rebalance", "--wait")
    assert ran.code == 130
    assert "it goes on without you" in ran.err
    assert "dfs-admin rebalance stop" in ran.err


def test_a_terminal_gets_a_bar(console: Console, namenode: FakeNamenode) -> None:
    Story(namenode, [RUNNING, DONE])
    ran = console.run(admin.PROGRAM, "rebalance", "--wait", terminal=True)
    assert ran.code == 0
    assert "25%" in ran.err


def test_words_of_a_job_that_waits_say_for_what() -> None:
    held = msgspec.structs.replace(RUNNING, why="3 blocks have one copy left")
    assert progress_words(held).endswith("ETA 15s, 3 blocks have one copy left")
    assert share_of(held) == 0.25
    assert share_of(msgspec.structs.replace(RUNNING, total_bytes=0, left_bytes=0)) == 1.0


# ---- disks


def with_disks(node: int, now_ms: int, *, running: bool, moved: int = 0) -> NodeView:
    disks = DiskBalance(running=running, moved_bytes=moved, left_bytes=8 * MiB - moved)
    return replace(
        a_node(node),
        volumes=(a_volume("a"), a_volume("b")),
        condition=NodeCondition(now_ms=now_ms, disks=disks),
    )


class DisksStory:
    """Beat after beat of one node; the order is heard with the third."""

    def __init__(self, namenode: FakeNamenode) -> None:
        self.ordered: list[DisksRequest] = []
        self.beats = 0
        namenode.answer_with(routes.BALANCE_DISKS, self._order)
        namenode.answer_with(routes.NODES, self._nodes)

    def _order(self, request: DisksRequest) -> DisksOrdered:
        self.ordered.append(request)
        refused = [Refusal(NodeId(2), "it has one disk")]
        return DisksOrdered(nodes=[1], refused=refused, threshold_percent=10.0)

    def _nodes(self, _request: object) -> object:
        self.beats += 1
        running = 3 <= self.beats < 8
        moved = 8 * MiB if self.beats >= 8 else 4 * MiB if running else 0
        view = with_disks(1, NOW_MS + self.beats, running=running, moved=moved)
        return routes.NODES.gives(nodes=[view])


def test_disks_are_waited_for_from_before_they_begin(
    console: Console, namenode: FakeNamenode
) -> None:
    story = DisksStory(namenode)
    ran = console.admin("rebalance", "--disks", "--wait", "dn-1")
    assert ran.code == 0
    assert story.beats == 8
    assert story.ordered == [DisksRequest(nodes=["dn-1"])]
    assert "dn-2 was not told: it has one disk" in ran.err
    assert ran.out.splitlines()[1].split()[:2] == ["dn-1", "/srv/a"]
    assert "8 MiB moved" in ran.out


def test_disks_can_be_stopped_and_looked_at(console: Console, namenode: FakeNamenode) -> None:
    story = DisksStory(namenode)
    assert console.admin("rebalance", "stop", "--disks").out == "dn-1 will stop\n"
    assert story.ordered == [DisksRequest(stop=True)]
    shown = console.admin("rebalance", "status", "--disks", "--json").json
    assert [(disk["node"], disk["path"]) for disk in shown] == [
        ("dn-1", "/srv/a"),
        ("dn-1", "/srv/b"),
    ]
