"""`dfs-admin repair`, `history` and `replica restore`: what is sent and what is shown."""

import msgspec
import pytest

from dfs.base.units import MiB
from dfs.wire import routes
from dfs.wire.repair_api import (
    BlockStory,
    HappenedItem,
    HistoryReply,
    HistoryRequest,
    KnownCopy,
    RepairBudgetReply,
    RepairClassInfo,
    RepairPauseReply,
    RepairReply,
    WaitingBlocks,
)
from dfs.wire.shapes import Done
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode

UNDER = RepairClassInfo(
    name="under",
    blocks=1_200,
    size_bytes=2_400 * MiB,
    owed_bytes=1_200 * MiB,
    in_flight=4,
    rate_bytes_per_s=10.0 * MiB,
    rate_limit_bytes=50 * MiB,
    eta_s=120.0,
    waiting=[WaitingBlocks("a storm", 900)],
)
BUSY = RepairReply(
    survey=3,
    survey_at_ms=NOW_MS,
    survey_took_s=0.5,
    blocks=5_000,
    size_bytes=10_000 * MiB,
    whole=3_800,
    by_health={},
    classes=[UNDER],
    excess=2,
    retiring=1,
    leaving={"dn-3": 17},
    held="",
    no_deletes="a storm",
    paused_until_ms=0,
    eta_s=120.0,
    copies=40,
    copied_bytes=80 * MiB,
    failed=1,
)
WHOLE = msgspec.structs.replace(
    BUSY,
    whole=5_000,
    classes=[msgspec.structs.replace(UNDER, blocks=0, owed_bytes=0, waiting=[])],
    leaving={},
    eta_s=0.0,
)
STORY = BlockStory(
    block=1042,
    generation=77,
    number=0,
    path="/data/a",
    state="committed",
    length_bytes=MiB,
    wanted=2,
    created_ms=NOW_MS,
    acked=[1, 2],
    events=[HappenedItem(NOW_MS, "copied", 3, "repair", "from dn-1: 1 of 2 copies")],
    copies=[KnownCopy(1, "live", NOW_MS), KnownCopy(3, "live", 0)],
    paths=["/data/a"],
    paths_total=1,
)


def test_repair_status_shows_each_class_and_why_it_waits(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.answer_with(routes.REPAIR_STATUS, lambda _request: BUSY)
    ran = console.admin("repair", "status")
    assert ran.code == 0
    for words in ("1.17 GiB", "10 MiB/s", "900: a storm", "3,800 of 5,000 blocks", "dn-3 is still"):
        assert words in ran.out, ran.out


def test_repair_status_watches_until_nothing_is_left_to_copy(
    console: Console, namenode: FakeNamenode
) -> None:
    replies = [BUSY, BUSY, WHOLE]
    namenode.answer_with(
        routes.REPAIR_STATUS, lambda _r: replies.pop(0) if len(replies) > 1 else replies[0]
    )
    ran = console.admin("repair", "status", "--watch")
    assert ran.code == 0
    assert "full redundancy: now" in ran.out
    assert "ETA 2m" in ran.err


def test_repair_is_paused_resumed_and_given_budgets(
    console: Console, namenode: FakeNamenode
) -> None:
    sent: list[object] = []

    def answering(reply: object) -> object:
        return lambda request: sent.append(request) or reply

    namenode.answer_with(routes.REPAIR_PAUSE, answering(RepairPauseReply(until_ms=NOW_MS)))
    namenode.answer_with(routes.REPAIR_RESUME, answering(Done()))
    namenode.answer_with(
        routes.REPAIR_BUDGET, answering(RepairBudgetReply(rates={"under": 0, "misplaced": MiB}))
    )
    assert console.admin("repair", "pause", "2h").code == 0
    assert console.admin("repair", "resume").code == 0
    ran = console.admin("repair", "budget", "under", "0")
    assert "no limit" in ran.out
    assert sent[0].for_s == 7200
    assert (sent[2].name, sent[2].rate_bytes) == ("under", 0)
    assert console.admin("repair", "budget", "under").code == 2
    assert console.admin("repair", "budget", "everything", "1MiB").code == 2


def test_history_of_a_path_or_a_block_tells_it_in_order(
    console: Console, namenode: FakeNamenode
) -> None:
    asked: list[HistoryRequest] = []

    def answer(request: HistoryRequest) -> HistoryReply:
        asked.append(request)
        return HistoryReply(stories=[STORY])

    namenode.answer_with(routes.HISTORY, answer)
    ran = console.admin("history", "1042")
    assert ran.code == 0
    told = [ran.out.index(word) for word in ("created", "acknowledged", "copied", "verified")]
    assert told == sorted(told)
    assert "dn-1, dn-2" in ran.out
    assert console.admin("history", "/data/a").code == 0
    assert [(each.block, each.path) for each in asked] == [(1042, ""), (0, "/data/a")]


@pytest.mark.parametrize(
    ("total", "removed", "words"),
    [
        (1, False, "/data/a"),
        (2, False, "/data/a and 1 other"),
        (1_000, True, "/data/a (removed) and 999 others"),
        (10_001, False, "/data/a and more than 10,000 others"),
    ],
)
def test_history_of_a_pack_has_words_for_people_and_paths_for_programs(
    console: Console, namenode: FakeNamenode, *, total: int, removed: bool, words: str
) -> None:
    paths = ["/data/a", "/data/b"][:total]
    story = msgspec.structs.replace(STORY, paths=paths, paths_total=total, removed=removed)
    namenode.answer_with(routes.HISTORY, lambda _request: HistoryReply(stories=[story]))
    assert f"part 0 of {words}, 1 MiB" in console.admin("history", "1042").out.splitlines()[0]
    (told,) = console.admin("--json", "history", "1042").json["blocks"]
    assert (told["path"], told["paths"], told["paths_total"]) == ("/data/a", paths, total)
    assert told["removed"] == removed


def test_history_of_an_empty_file_says_so(console: Console, namenode: FakeNamenode) -> None:
    namenode.answer_with(routes.HISTORY, lambda _request: HistoryReply(stories=[]))
    ran = console.admin("history", "/data/empty")
    assert (ran.code, ran.out) == (0, "the file is empty: it has no blocks\n")


def test_replica_restore_names_block_and_node(console: Console, namenode: FakeNamenode) -> None:
    asked: list[object] = []
    namenode.answer_with(routes.RESTORE_REPLICA, lambda r: asked.append(r) or Done())
    ran = console.admin("replica", "restore", "1042", "dn-3")
    assert ran.code == 0
    assert (asked[0].block, asked[0].node) == (1042, "dn-3")
