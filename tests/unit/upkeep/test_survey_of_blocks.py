"""A survey counts every block, lists what needs work, and rests in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.ids import BlockId, NodeId
from dfs.base.records import NodeView
from dfs.base.states import NodeDuty, NodeState
from dfs.blocks.kept_rows import page_of_unusual, read_kept
from dfs.blocks.redundancy import BlockHealth, RepairClass, Standings, assess, standings
from dfs.meta.cluster_tables import NODE
from dfs.meta.tables import BLOCK, REPLICA
from dfs.upkeep.survey import Tally
from dfs.upkeep.surveyor import Surveyor
from tests.builders import a_node
from tests.metadata_rig import MetadataRig
from tests.unit.upkeep.paper_cluster import PaperCluster

SIZE = 100


class SurveyRig:
    """Nodes 1 to 4 on one rack, and whatever blocks a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.metadata = MetadataRig(folder, clock=self.clock)
        self.nodes: dict[int, NodeView] = {n: a_node(n) for n in range(1, 5)}
        self.surveyor = Surveyor(
            self.metadata.reader, source=self, clock=self.clock, interval_s=3.0
        )

    def standings(self) -> Standings:
        views = list(self.nodes.values())
        fresh = frozenset(v.node for v in views if v.state is NodeState.LIVE)
        return standings(views, fresh=fresh, urgent_after_s=60)

    def put(self, block: int, *copies: str, wanted: int = 2, state: str = "committed") -> None:
        """Copies are given as "node.state" or "node"; a third part says another generation."""
        row = {
            "id": block,
            "generation": 5,
            "length_bytes": SIZE,
            "hash": b"x" * 16,
            "state": state,
            "file": 7,
            "number": 0,
            "replication": wanted,
            "created_ms": 0,
            "acked": "",
        }
        rows = []
        for copy in copies:
            node, held, generation = (*copy.split("."), "live", "5")[:3]
            if copy.count(".") == 1:
                generation = "5"
            rows.append(
                {
                    "block": block,
                    "node": int(node),
                    "generation": int(generation),
                    "state": held,
                    "verified_ms": 1,
                }
            )
        self.metadata.change(lambda txn: (txn.put(BLOCK, row), txn.put(REPLICA, *rows)))

    def unusual(self) -> list[int]:
        at = self.standings()
        page = self.metadata.look(lambda c: page_of_unusual(c, at, after=BlockId(0), limit=1000))
        return [each.block for each in page.unusual]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SurveyRig]:
    made = SurveyRig(tmp_path)
    yield made
    made.metadata.close()


def test_survey_passes_by_what_is_simply_healthy(rig: SurveyRig) -> None:
    rig.put(1, "1", "2")
    rig.put(2, "1", "2", "3", wanted=3)
    rig.put(3, "1", wanted=1)
    rig.put(4, "1", "2", state="garbage")
    assert rig.unusual() == []
    survey = rig.surveyor.survey_now()
    assert survey.totals.by_health == {BlockHealth.HEALTHY: Tally(3, 3 * SIZE, 0)}
    assert survey.urgent == ()


@pytest.mark.parametrize(
    ("copies", "health", "urgency"),
    [
        ((), BlockHealth.MISSING, RepairClass.DAMAGED),
        (("1",), BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY),
        (("1", "2.corrupt"), BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY),
        (("1", "2.live.4"), BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY),
        (("1", "9"), BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY),
        (("1", "2.failing"), BlockHealth.UNDER_REPLICATED, RepairClass.LAST_COPY),
        (("1", "2", "3"), BlockHealth.EXCESS, None),
        (("1", "2.suspect"), BlockHealth.HEALTHY, None),
        (("1", "2", "3.retiring"), BlockHealth.HEALTHY, None),
        (("1.corrupt", "2.corrupt"), BlockHealth.CORRUPT, RepairClass.DAMAGED),
        (("1.disputed", "2.corrupt"), BlockHealth.DISPUTED, RepairClass.DAMAGED),
    ],
)
def test_survey_judges_what_is_not(
    rig: SurveyRig, copies: tuple[str, ...], health: BlockHealth, urgency: RepairClass | None
) -> None:
    rig.put(1, *copies)
    assert rig.unusual() == [1]
    survey = rig.surveyor.survey_now()
    assert survey.totals.health(health).blocks == 1
    assert list(survey.totals.by_class) == ([urgency] if urgency is not None else [])


def test_survey_finds_blocks_on_one_rack_when_there_are_two(rig: SurveyRig) -> None:
    rack = {n: f"/r{n % 2}" for n in rig.nodes}
    rig.nodes = {n: a_node(n, rack=rack[n]) for n in rig.nodes}
    rows = [
        {
            "id": n,
            "uuid": f"{n:032x}",
            "secret_hash": b"",
            "host": "h",
            "grpc_port": 1,
            "http_port": 1,
            "rack": rack[n],
            "duty": "in_service",
            "version": "",
            "first_total_bytes": 0,
            "first_free_bytes": 0,
            "joined_ms": 0,
            "registered_ms": 0,
            "excused_until_ms": 0,
        }
        for n in rig.nodes
    ]
    rig.metadata.change(lambda txn: txn.put(NODE, *rows))
    rig.put(1, "1", "3")
    rig.put(2, "1", "2")
    rig.put(3, "1", wanted=1)
    assert rig.unusual() == [1]
    assert [j.found.repair for j in rig.surveyor.survey_now().urgent] == [RepairClass.MISPLACED]


def test_survey_lists_the_worst_class_first_and_in_it_the_oldest(rig: SurveyRig) -> None:
    rig.put(1, "1", "2", wanted=3)
    rig.put(2, "3")
    rig.put(3, "2", "3", wanted=3)
    rig.put(4, "1")
    survey = rig.surveyor.survey_now()
    assert [j.block.truth.block for j in survey.urgent] == [2, 4, 1, 3]
    assert survey.totals.urgency(RepairClass.UNDER) == Tally(2, 2 * SIZE, 2 * SIZE, 2)


def test_survey_agrees_with_the_judgement_of_each_block(rig: SurveyRig) -> None:
    for seed in range(60):
        cluster = PaperCluster(seed)
        for _ in range(4):
            cluster.happen()
        for number, block in cluster.blocks.items():
            copies = [f"{c.node}.{c.state.value}" for c in block.copies]
            rig.put(seed * 10 + number, *copies, wanted=block.wanted)
    rig.nodes = {n: view for n, view in rig.nodes.items() if n != 3}
    rig.nodes[2] = a_node(2, duty=NodeDuty.DECOMMISSIONING)
    survey = rig.surveyor.survey_now()
    at = rig.standings()
    every = [BlockId(s * 10 + n) for s in range(60) for n in range(10)]
    kept = rig.metadata.look(lambda c: read_kept(c, every)).values()
    for health in BlockHealth:
        blocks = sum(assess(block, at).health is health for block in kept)
        assert survey.totals.health(health).blocks == blocks
    for urgency in RepairClass:
        blocks = sum(assess(block, at).repair is urgency for block in kept)
        assert survey.totals.urgency(urgency).blocks == blocks


def test_survey_says_which_blocks_still_need_a_node_that_leaves(rig: SurveyRig) -> None:
    rig.nodes[2] = a_node(2, duty=NodeDuty.DECOMMISSIONING)
    rig.put(1, "1", "2")
    rig.put(2, "1", "2", "3")
    assert rig.surveyor.survey_now().leaving == {NodeId(2): 1}


def test_excess_is_settled_in_the_second_survey(rig: SurveyRig) -> None:
    rig.put(1, "1", "2", "3")
    assert rig.surveyor.survey_now().settled_excess == frozenset()
    assert rig.surveyor.survey_now().settled_excess == {1}


def test_surveyor_rests_until_its_time_news_or_other_nodes(rig: SurveyRig) -> None:
    rig.put(1, "1", "2")
    assert rig.surveyor.run_once() is not None
    assert rig.surveyor.run_once() is None
    rig.surveyor.soon()
    assert rig.surveyor.run_once() is not None
    rig.nodes[1] = a_node(1, state=NodeState.DEAD)
    assert rig.surveyor.run_once() is not None
    assert rig.surveyor.run_once() is None
    rig.clock.advance(3.0)
    assert rig.surveyor.run_once() is not None


class Slow:
    """A clock on which a second passes whenever it is looked at; it notes what was slept."""

    def __init__(self) -> None:
        self.at_s = self.slept_s = 0.0

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        self.at_s += 1.0
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds


def test_survey_rests_between_pages_as_long_as_it_works(rig: SurveyRig) -> None:
    for block in range(1, 4):
        rig.put(block, "1")
    clock = Slow()
    busy = Surveyor(rig.metadata.reader, source=rig, clock=clock, interval_s=3.0)
    assert busy.survey_now().totals.blocks == 3
    assert clock.slept_s == 1.0, "one page, which took a second"
