"""`dfs-admin compact` against a NameNode that tells a story, one status after the other."""

from collections.abc import Sequence

import msgspec

from dfs.base.errors import JobConflict
from dfs.base.units import MiB
from dfs.wire import routes
from dfs.wire.compact_api import CompactReply, LeftBlock
from dfs.wire.shapes import Nothing
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode

RESTING = CompactReply(
    state="resting",
    enabled=True,
    dead_percent=50.0,
    small_file_bytes_max=MiB,
    pack_bytes=16 * MiB,
    bandwidth_bytes=20 * MiB,
    next_ms=NOW_MS + 60_000,
    looked_ms=NOW_MS,
    packs=12,
    packed_files=3456,
    pack_total_bytes=150 * MiB,
    hole_bytes=40 * MiB,
    win_bytes=30 * MiB,
    holed_blocks=3,
    small_blocks=1,
    small_bytes=MiB,
)
RUNNING = msgspec.structs.replace(
    RESTING,
    state="running",
    round_share=1.0,
    round_packs=4,
    round_packs_done=1,
    round_bytes=40 * MiB,
    round_bytes_done=10 * MiB,
    rate_bytes_per_s=2.0 * MiB,
    eta_s=15.0,
    packs_written=1,
)
DONE = msgspec.structs.replace(
    RESTING, packs_written=4, blocks_emptied=9, moved_bytes=40 * MiB, won_bytes=60 * MiB
)
FAILED = msgspec.structs.replace(
    RESTING,
    why="10 packs in a row came to nothing: nobody is there",
    failed=10,
    left_blocks=[LeftBlock(block=7, why="a copy of it is bad")],
)
PROGRESS = "32%, 1 of 4 packs, 30 MiB left, 2 MiB/s, ETA 15s"


class Story:
    """Answers each status with the next of its replies, the last one for ever."""

    def __init__(self, namenode: FakeNamenode, replies: Sequence[CompactReply]) -> None:
        self._replies = list(replies)
        for route in (routes.COMPACT_STATUS, routes.COMPACT_START, routes.COMPACT_STOP):
            namenode.answer_with(route, self._next)

    def _next(self, _request: Nothing) -> CompactReply:
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


def test_status_shows_packs_holes_and_what_is_to_win(
    console: Console, namenode: FakeNamenode
) -> None:
    Story(namenode, [DONE])
    ran = console.admin("compact", "status")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("state:     resting until ")
    assert lines[2:] == [
        "packs:     12 packs of 3,456 files, 150 MiB",
        "holes:     40 MiB of blocks is in no use",
        "to win:    30 MiB, in 3 blocks mostly empty",
        "to gather: 1 small block, 1 MiB",
        "done:      4 packs written from 9 blocks, 40 MiB, 60 MiB won",
    ]
    shown = console.admin("compact", "status", "--json").json
    assert (shown["win_bytes"], shown["won_bytes"]) == (30 * MiB, 60 * MiB)


def test_a_round_that_runs_shows_how_far_it_is(console: Console, namenode: FakeNamenode) -> None:
    Story(namenode, [RUNNING])
    assert f"progress:  {PROGRESS}" in console.admin("compact", "status").out
    waiting = msgspec.structs.replace(
        RUNNING, round_packs=0, round_bytes=0, round_bytes_done=0, round_share=0.5, why="safe mode"
    )
    Story(namenode, [waiting])
    assert "50% of the blocks looked at" in console.admin("compact", "status").out
    assert "safe mode" in console.admin("compact", "status").out


def test_waiting_shows_plain_lines_and_ends_with_what_was_won(
    console: Console, namenode: FakeNamenode
) -> None:
    Story(namenode, [RUNNING, DONE])
    ran = console.admin("compact", "start", "--wait")
    assert (ran.code, ran.out) == (0, "3 packs written from 9 blocks, 60 MiB won\n")
    assert f"compact: {PROGRESS}" in ran.err


def test_without_waiting_it_says_how_to_watch(console: Console, namenode: FakeNamenode) -> None:
    Story(namenode, [RUNNING])
    ran = console.admin("compact", "start")
    assert (ran.code, ran.out) == (0, "started: all blocks are looked at\n")
    assert "dfs-admin compact status --wait" in ran.err


def test_a_round_that_ended_badly_is_exit_1_and_names_blocks(
    console: Console, namenode: FakeNamenode
) -> None:
    Story(namenode, [FAILED])
    ran = console.admin("compact", "status")
    assert ran.code == 1
    assert "why:       10 packs in a row came to nothing: nobody is there" in ran.out
    assert "left:      block 7: a copy of it is bad" in ran.out


def test_one_that_runs_already_is_exit_5(console: Console, namenode: FakeNamenode) -> None:
    def refuse(_request: Nothing) -> CompactReply:
        raise JobConflict("packs are being compacted already")

    namenode.answer_with(routes.COMPACT_START, refuse)
    assert console.admin("compact", "start").code == 5


def test_stopped_and_switched_off_say_what_starts_it(
    console: Console, namenode: FakeNamenode
) -> None:
    for state, words in (("stopped", "stopped by ada"), ("off", "off ([compact] enabled)")):
        Story(namenode, [msgspec.structs.replace(RESTING, state=state, by="ada", looked_ms=0)])
        ran = console.admin("compact", "status")
        assert f"state:     {words}" in ran.out
        assert "dfs-admin compact start" in ran.out
        assert "not looked at since the NameNode started" in ran.out
    assert console.admin("compact", "stop").out == "stopped; no pack written yet\n"
