"""`dfs-admin health`: exit codes for monitoring, silence for cron, words for people."""

from typing import Any

import pytest

from dfs.base.errors import PermissionDenied
from dfs.cli import admin
from dfs.cli.grammar import parse
from dfs.upkeep.health import judge
from dfs.wire import routes
from dfs.wire.health_api import Check, HealthReport, HealthRun, HealthRunsReply, HealthStatus
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import NOW_MS, FakeNamenode
from tests.unit.upkeep.test_health_checks import FIRES

OK, WARNING, CRITICAL, UNKNOWN = HealthStatus
WELL = Check("few_nodes", OK, 0, "3 DataNodes take blocks")
DOWN = Check("nodes_down", WARNING, 12, "dead", ("dn-3 silent", "dn-4 silent"), "dfs-admin nodes")
LOST = Check("blocks_missing", CRITICAL, 1, "lost", (), "dfs-admin fsck")
BLIND = Check("blocks_away", UNKNOWN, 0, "no survey")


def answer(namenode: FakeNamenode, *checks: Check) -> None:
    report = HealthReport(OK, NOW_MS, checks)
    namenode.serve(routes.HEALTH, lambda _q, _me: report)


@pytest.mark.parametrize(
    ("checks", "code", "line"),
    [
        ((WELL,), 0, "DFS OK - 1 check, all well"),
        ((WELL, DOWN), 1, "DFS WARNING - 1 check: nodes_down (12)"),
        ((DOWN, WELL, LOST), 2, "DFS CRITICAL - 2 checks: blocks_missing (1), nodes_down (12)"),
        ((WELL, BLIND), 3, "DFS UNKNOWN - 1 check: blocks_away"),
    ],
)
def test_health_says_its_status_first_and_as_its_exit_code(
    console: Console, namenode: FakeNamenode, checks: tuple[Check, ...], code: int, line: str
) -> None:
    answer(namenode, *checks)
    ran = console.admin("health")
    assert ran.code == code
    assert ran.out.splitlines()[0] == line
    assert console.admin("health", "--json").json["status"] == line.split()[1]


def test_health_says_cause_items_and_the_next_command(
    console: Console, namenode: FakeNamenode
) -> None:
    answer(namenode, WELL, DOWN)
    lines = [line.strip() for line in console.admin("health").out.splitlines()]
    assert lines[2].split() == ["STATUS", "CHECK", "COUNT", "CAUSE"]
    assert lines[3].split() == ["WARNING", "nodes_down", "12", "dead"]
    assert lines[4:8] == [
        "dn-3 silent",
        "dn-4 silent",
        "... and 10 more",
        "next: dfs-admin nodes",
    ]
    assert lines[8].startswith("OK ")


def test_health_quiet_is_silent_when_all_is_well_and_not_otherwise(
    console: Console, namenode: FakeNamenode
) -> None:
    answer(namenode, WELL)
    ran = console.admin("health", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    ran = console.admin("health", "--quiet", "--json")
    assert (ran.code, ran.out) == (0, "")
    answer(namenode, WELL, DOWN)
    ran = console.admin("health", "--quiet")
    assert ran.code == 1
    assert ran.out.startswith("DFS WARNING - 1 check: nodes_down (12)\n")
    assert "few_nodes" not in ran.out


def test_health_counts_the_checks_asked_for_alone(console: Console, namenode: FakeNamenode) -> None:
    answer(namenode, WELL, DOWN, LOST)
    assert console.admin("health", "--check", "few_nodes").code == 0
    assert console.admin("health", "--check", "few_nodes,nodes_down").code == 1
    assert console.admin("health", "--ignore", "nodes_down", "--ignore", "blocks_missing").code == 0
    ran = console.admin("health", "--check", "flux")
    assert ran.code == 3
    assert "no such check: flux" in ran.out


def test_health_hands_on_that_datanodes_are_to_be_asked(
    console: Console, namenode: FakeNamenode
) -> None:
    answer(namenode, WELL)
    console.admin("health", "--probe")
    assert namenode.last("/v1/health") == {"probe": True}


def test_health_is_unknown_when_nobody_answers(console: Console, namenode: FakeNamenode) -> None:
    namenode.stop()
    ran = console.admin("health", "--quiet")
    assert ran.code == 3
    assert ran.out.startswith("DFS UNKNOWN - ")
    assert console.admin("health", "--json").json["error"]["code"]


def test_health_is_unknown_without_a_session_or_the_right(
    console: Console, namenode: FakeNamenode
) -> None:
    def refuse(_q: Any, _me: str) -> object:
        raise PermissionDenied("administrators only")

    namenode.serve(routes.HEALTH, refuse)
    assert console.admin("health").code == 3
    console.environment["DFS_TOKEN"] = "dfs_worthless"
    ran = console.admin("health", "--quiet")
    assert ran.code == 3
    assert ran.out.startswith("DFS UNKNOWN - ")


def test_health_history_is_a_table(console: Console, namenode: FakeNamenode) -> None:
    runs = [HealthRun(2, NOW_MS, WARNING, [DOWN]), HealthRun(1, NOW_MS, OK, [])]
    namenode.serve(routes.HEALTH_RUNS, lambda _q, _me: HealthRunsReply(runs=runs))
    ran = console.admin("health", "--history", "-n", "2")
    assert ran.code == 0
    assert ran.out.splitlines()[1].endswith("WARNING  nodes_down (12)")
    assert ran.out.splitlines()[2].endswith("OK       all well")
    assert namenode.last("/v1/health/runs")["limit"] == 2
    assert len(console.admin("health", "--history", "--json").json) == 2


@pytest.mark.parametrize("flag", [("--check", "nodes_down"), ("--ignore", "x"), ("--probe",)])
def test_health_history_refuses_what_it_would_ignore(
    console: Console, namenode: FakeNamenode, flag: tuple[str, ...]
) -> None:
    namenode.serve(routes.HEALTH_RUNS, lambda _q, _me: HealthRunsReply(runs=[]))
    ran = console.admin("health", "--history", *flag)
    assert ran.code == 3, "no state of the cluster was found out"
    assert f"{flag[0]} does not go with --history" in ran.out


def test_health_is_coloured_on_a_terminal_alone(console: Console, namenode: FakeNamenode) -> None:
    answer(namenode, DOWN)
    assert "\x1b[33mWARNING" in console.run(admin.PROGRAM, "health", terminal=True).out
    assert "\x1b" not in console.admin("health").out


@pytest.mark.parametrize(
    "command",
    sorted({check.next for _, facts, *_ in FIRES for check in judge(facts).checks if check.next}),
)
def test_command_that_a_check_says_to_type_next_exists(command: str) -> None:
    program, *words = command.split()
    assert program == "dfs-admin"
    parse(admin.PROGRAM, words)
