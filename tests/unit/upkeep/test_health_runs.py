"""Health judged again and again over a real database: what is said, kept and trimmed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from dfs.base.events import Event, RecordingEmitter
from dfs.base.states import NodeState
from dfs.meta.cluster_tables import SETTING
from dfs.meta.tables import STRAY
from dfs.settings.sections import Config, HealthConfig
from dfs.upkeep.health_facts import JobFacts
from dfs.upkeep.health_runs import LAST_BACKUP_KEY, HealthRuns, Known
from dfs.upkeep.survey import Survey
from dfs.wire.health_api import Check, HealthRequest, HealthRunsRequest, HealthStatus
from tests.builders import a_node
from tests.metadata_rig import MetadataRig

WELL = Survey(number=1, at_ms=1)


class RunsRig(MetadataRig):
    """Health over imagined nodes and blocks."""

    def open(self) -> None:
        super().open()
        self.nodes = [a_node(1), a_node(2), a_node(3)]
        self.survey = WELL
        self.said = RecordingEmitter()
        config = replace(Config(), health=HealthConfig(keep_s=7200.0))
        self.health = HealthRuns(
            self.reader,
            self.writer,
            known=Known(nodes=lambda: self.nodes, survey=lambda: self.survey),
            clock=self.clock,
            emit=self.said,
            config=config,
        )

    def lose(self, node: int) -> None:
        self.nodes[node - 1] = a_node(node, state=NodeState.DEAD, silent_s=999.0)

    def kept(self) -> list[tuple[str, list[str]]]:
        runs = self.health.runs(HealthRunsRequest()).runs
        return [(run.status.value, [check.id for check in run.bad]) for run in runs]

    def check(self, wanted: str) -> Check:
        checks = self.health.health(HealthRequest()).checks
        return next(check for check in checks if check.id == wanted)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[RunsRig]:
    made = RunsRig(tmp_path)
    yield made
    made.close()


def test_first_pass_is_kept_and_those_without_change_only_once_an_hour(rig: RunsRig) -> None:
    assert not rig.health.run_once()
    assert rig.kept() == [("OK", [])]
    rig.health.run_once()
    assert len(rig.kept()) == 1
    rig.clock.advance(3601)
    rig.health.run_once()
    assert len(rig.kept()) == 2


def test_check_that_changes_is_said_once_and_kept_both_ways(rig: RunsRig) -> None:
    rig.health.run_once()
    rig.lose(3)
    assert rig.health.run_once().changed == ("nodes_down",)
    assert not rig.health.run_once()
    rig.nodes[2] = a_node(3)
    assert rig.health.run_once().changed == ("nodes_down",)
    assert rig.kept() == [("OK", []), ("WARNING", ["nodes_down"]), ("OK", [])]
    assert [(event, fields["was"], fields["status"]) for event, fields in rig.said.events] == [
        (Event.HEALTH_CHANGED, "OK", "WARNING"),
        (Event.HEALTH_CHANGED, "WARNING", "OK"),
    ]


def test_restart_remembers_what_was_wrong_and_does_not_say_it_again(rig: RunsRig) -> None:
    rig.lose(3)
    rig.health.run_once()
    rig.restart()
    rig.lose(3)
    assert not rig.health.run_once()
    assert rig.said.events == []


def test_old_reports_are_forgotten(rig: RunsRig) -> None:
    rig.health.run_once()
    rig.clock.advance(7201)
    rig.health.run_once()
    assert len(rig.kept()) == 1


def test_question_of_a_person_is_judged_now_and_kept_when_it_is_news(rig: RunsRig) -> None:
    rig.survey = Survey()
    report = rig.health.health(HealthRequest())
    assert report.status is HealthStatus.UNKNOWN
    assert rig.kept()[0][0] == "UNKNOWN"


def test_probe_asks_before_it_judges(rig: RunsRig) -> None:
    def probe() -> None:
        rig.nodes[0] = a_node(1, reachable=False)

    rig.health.late.probe = probe
    assert rig.check("nodes_unreachable").status is HealthStatus.OK
    checks = rig.health.health(HealthRequest(probe=True)).checks
    (made,) = [check for check in checks if check.id == "nodes_unreachable"]
    assert made.status is HealthStatus.WARNING


def test_strays_backups_and_jobs_are_read_where_they_are(rig: RunsRig) -> None:
    now_ms = rig.clock.now_ms()
    stray = {
        "node": 1,
        "block": 9,
        "generation": 9,
        "file": 7,
        "number": 0,
        "length_bytes": 4096,
        "kind": "future",
        "first_ms": now_ms,
        "last_ms": now_ms,
        "sightings": 1,
    }
    rig.change(lambda txn: txn.put_soft(STRAY, stray))
    rig.change(lambda txn: txn.put(SETTING, {"key": LAST_BACKUP_KEY, "value": "1"}))
    rig.health.late.failed_jobs = lambda: [JobFacts("gc", now_ms, "no room")]
    assert rig.check("strays").count == 1
    assert rig.check("metadata_backup_late").status is HealthStatus.WARNING
    assert rig.check("jobs_failing").first == ("gc: no room",)
