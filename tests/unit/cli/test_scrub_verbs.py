"""`dfs-admin scrub` against a NameNode that tells a story, one status after the other."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from dfs.base.ids import NodeId
from dfs.base.records import Refusal, ScrubStatus
from dfs.base.states import NodeState
from dfs.cli.scrub_wait import look_at
from dfs.wire import routes
from dfs.wire.scrub_api import (
    BadBlocks,
    CanaryStatus,
    ScrubNode,
    ScrubOrdered,
    ScrubReply,
    ScrubStartRequest,
)
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode

NOTHING_BAD = BadBlocks()
HELD = ScrubStatus(total_blocks=4, total_bytes=4096, covered_bytes=4096, oldest_ms=NOW_MS - 60_000)


def a_scrubber(
    node: int = 1, *, state: NodeState = NodeState.LIVE, doing: str = "idle", **scrub: object
) -> ScrubNode:
    status = replace(HELD, state=doing, **scrub)
    return ScrubNode(node=node, state=state, silent_s=0.1, scrub=status, bad=0, doubtful=False)


def a_reply(
    *nodes: ScrubNode, blocks: BadBlocks = NOTHING_BAD, canaries: Sequence[CanaryStatus] = ()
) -> ScrubReply:
    return ScrubReply(
        now_ms=NOW_MS,
        slo_s=14 * 86400.0,
        run=7,
        nodes=list(nodes),
        blocks=blocks,
        canaries=list(canaries),
    )


class Story:
    """Answers each status with the next of its replies, the last one for ever."""

    def __init__(self, namenode: FakeNamenode, replies: Sequence[ScrubReply]) -> None:
        self._replies = list(replies)
        self.started: list[ScrubStartRequest] = []
        self.ordered = ScrubOrdered(nodes=[1, 2], run=7)
        namenode.answer_with(routes.SCRUB_STATUS, lambda _request: self._next())
        namenode.answer_with(routes.SCRUB_START, self._start)

    def _next(self) -> ScrubReply:
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def _start(self, request: ScrubStartRequest) -> ScrubOrdered:
        self.started.append(request)
        return self.ordered


def test_scrub_status_shows_each_node_and_the_totals(
    console: Console, namenode: FakeNamenode
) -> None:
    canary = CanaryStatus(node=1, state="spoiled", armed_ms=NOW_MS - 3_600_000, late=True)
    reply = a_reply(
        a_scrubber(1, run=7, run_done=False, pass_bytes=2048, doing="running", found=1),
        a_scrubber(2, state=NodeState.DEAD),
        blocks=BadBlocks(bad=3, healed=1, healing=1, lost=1),
        canaries=[canary],
    )
    namenode.answer_with(routes.SCRUB_STATUS, lambda _request: reply)
    ran = console.admin("scrub", "status")
    assert ran.code == 0
    _, first, second, *rest = ran.out.splitlines()
    assert first.split()[:4] == ["dn-1", "running", "#####.....", "50%"]
    assert "1m 00s ago" in first
    assert second.startswith("dn-2  node dead")
    assert "3 blocks with a bad copy: 1 healed, 1 healing, 1 WITHOUT A GOOD COPY" in rest
    assert rest[-1] == "canary of dn-1: spoiled 1h 00m ago, not found yet - LATE"
    told = console.admin("scrub", "status", "--json").json
    assert [node["node"] for node in told["nodes"]] == ["dn-1", "dn-2"]
    assert told["blocks"]["lost"] == 1


def test_scrub_status_tells_bad_copies_from_those_of_healed_blocks(
    console: Console, namenode: FakeNamenode
) -> None:
    node = msgspec.structs.replace(a_scrubber(1, unverified_blocks=3), bad=0, aside=2)
    namenode.answer_with(routes.SCRUB_STATUS, lambda _request: a_reply(node))
    ran = console.admin("scrub", "status")
    heading, row, *rest = ran.out.splitlines()
    for name in ("ON TIME", "UNREAD", "BAD NOW", "ASIDE"):
        assert name in heading
    assert row[heading.index("BAD NOW") : heading.index("LAST READ")].split() == ["0", "2"]
    assert any("3 copies not read back since written" in line for line in rest)
    (told,) = console.admin("scrub", "status", "--json").json["nodes"]
    assert (told["bad"], told["aside"]) == (0, 2)


def test_scrub_start_says_the_pass_and_who_was_not_told(
    console: Console, namenode: FakeNamenode
) -> None:
    story = Story(namenode, [a_reply(a_scrubber(1), a_scrubber(2, state=NodeState.DEAD))])
    story.ordered = ScrubOrdered(nodes=[1], run=7, refused=[Refusal(NodeId(2), "it is dead")])
    ran = console.admin("scrub", "start")
    assert (ran.out, ran.code) == ("pass 7 is ordered of dn-1\n", 0)
    assert "dn-2 was not told: it is dead" in ran.err


def test_scrub_start_that_reaches_nobody_is_unavailable(
    console: Console, namenode: FakeNamenode
) -> None:
    story = Story(namenode, [a_reply()])
    story.ordered = ScrubOrdered(nodes=[], run=7, refused=[Refusal(NodeId(2), "it is dead")])
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 6
    assert "dn-2: it is dead" in ran.err


def test_scrub_start_waits_until_each_node_is_done(
    console: Console, namenode: FakeNamenode
) -> None:
    story = Story(
        namenode,
        [
            a_reply(a_scrubber(1), a_scrubber(2)),
            a_reply(a_scrubber(1, run=7, run_done=False, pass_bytes=1024), a_scrubber(2)),
            a_reply(a_scrubber(1, run=7), a_scrubber(2, run=7, run_done=False)),
            a_reply(a_scrubber(1, run=7), a_scrubber(2, run=8)),
        ],
    )
    ran = console.admin("scrub", "start", "--wait", "dn-1", "2")
    assert ran.code == 0, ran.err
    first, second = ran.out.splitlines()
    assert first == "verified 8 copies, 8 KiB, on dn-1, dn-2: 0 bad"
    assert second == "no bad copy is known"
    assert story.started[0].nodes == ["dn-1", "dn-2"]


def test_scrub_start_waits_for_the_healing_of_what_it_found(
    console: Console, namenode: FakeNamenode
) -> None:
    done = [a_scrubber(1, run=7, found=1), a_scrubber(2, run=7)]
    Story(
        namenode,
        [
            a_reply(a_scrubber(1), a_scrubber(2)),
            a_reply(*done),  # found, and not in the catalog yet
            a_reply(*done, blocks=BadBlocks(bad=1, healing=1)),
            a_reply(*done, blocks=BadBlocks(bad=1, healed=1)),
        ],
    )
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 0
    assert ran.out.splitlines()[1] == "1 block with a bad copy: 1 healed"


def test_scrub_start_exits_7_when_a_block_has_no_good_copy(
    console: Console, namenode: FakeNamenode
) -> None:
    done = [a_scrubber(1, run=7, found=1), a_scrubber(2, run=7)]
    story = [a_reply(a_scrubber(1), a_scrubber(2)), a_reply(*done, blocks=BadBlocks(bad=1, lost=1))]
    Story(namenode, story)
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 7
    assert "dfs-admin fsck" in ran.err


def test_scrub_start_names_a_node_that_died_meanwhile(
    console: Console, namenode: FakeNamenode
) -> None:
    dead = a_scrubber(2, state=NodeState.DEAD, run=7, run_done=False)
    Story(namenode, [a_reply(a_scrubber(1), a_scrubber(2)), a_reply(a_scrubber(1, run=7), dead)])
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 0
    assert "dn-2 was lost before it was done" in ran.err


def test_scrub_start_does_not_wait_for_a_node_that_doubts_itself(
    console: Console, namenode: FakeNamenode
) -> None:
    doubtful = msgspec.structs.replace(a_scrubber(2, run=7, run_done=False), doubtful=True)
    Story(
        namenode, [a_reply(a_scrubber(1), a_scrubber(2)), a_reply(a_scrubber(1, run=7), doubtful)]
    )
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 7
    assert "dfs-admin node trust dn-2" in ran.err


def test_scrub_start_is_unavailable_when_every_node_died_meanwhile(
    console: Console, namenode: FakeNamenode
) -> None:
    dead = [a_scrubber(node, state=NodeState.DEAD) for node in (1, 2)]
    Story(namenode, [a_reply(a_scrubber(1), a_scrubber(2)), a_reply(*dead)])
    assert console.admin("scrub", "start", "--wait").code == 6


def test_scrub_start_orders_the_same_pass_again_of_a_node_that_never_heard_of_it(
    console: Console, namenode: FakeNamenode
) -> None:
    silent = a_reply(a_scrubber(1, run=7), a_scrubber(2, run=6))
    story = Story(namenode, [silent])
    ran = console.admin("scrub", "start", "--wait", "--timeout", "40s")
    assert ran.code == 6
    assert "1 node to go" in ran.err
    assert [(request.nodes, request.run) for request in story.started] == [
        ([], 0),
        (["dn-2"], 7),
        (["dn-2"], 7),
    ]


def test_scrub_start_does_not_wait_for_ever_when_nothing_heals(
    console: Console, namenode: FakeNamenode
) -> None:
    done = [a_scrubber(1, run=7, found=1), a_scrubber(2, run=7)]
    stuck = a_reply(*done, blocks=BadBlocks(bad=2, healing=2))
    Story(namenode, [a_reply(a_scrubber(1), a_scrubber(2)), stuck])
    ran = console.admin("scrub", "start", "--wait")
    assert ran.code == 6
    assert "dfs-admin repair status" in ran.err


@pytest.mark.parametrize(
    ("words", "for_s", "nodes"),
    [
        (("2h",), 7200.0, []),
        (("30m", "dn-3"), 1800.0, ["dn-3"]),
        (("dn-3",), None, ["dn-3"]),
        ((), None, []),
    ],
)
def test_scrub_pause_takes_a_time_and_nodes(
    console: Console,
    namenode: FakeNamenode,
    words: tuple[str, ...],
    for_s: float | None,
    nodes: list[str],
) -> None:
    ordered = ScrubOrdered(nodes=[3], until_ms=NOW_MS)
    namenode.answer_with(routes.SCRUB_PAUSE, lambda _request: ordered)
    ran = console.admin("scrub", "pause", *words)
    assert ran.code == 0
    assert ran.out.startswith("paused until ")
    asked = namenode.last(routes.SCRUB_PAUSE.path)
    assert (asked["for_s"], asked["nodes"]) == (for_s, nodes)


def test_scrub_resume_says_where(console: Console, namenode: FakeNamenode) -> None:
    namenode.answer_with(routes.SCRUB_RESUME, lambda _request: ScrubOrdered(nodes=[1, 3]))
    assert console.admin("scrub", "resume").out == "resumed on dn-1, dn-3\n"


def test_a_pass_is_as_far_as_its_bytes_not_as_its_nodes() -> None:
    small = a_scrubber(1, run=7, total_bytes=100)
    large = a_scrubber(2, run=7, run_done=False, total_bytes=900, pass_bytes=400)
    sight = look_at(a_reply(small, large), [1, 2, 3], 7, {})
    assert (sight.done, sight.under_way, sight.lost) == ((1,), (2,), (3,))
    assert sight.share == pytest.approx(0.5)
