"""What a run measured is shown with its spread and held against its target."""

import json
from pathlib import Path

import pytest

from bench.figures import Figures
from bench.run import SCALE, WORKLOADS, chosen
from bench.targets import LIST_TREE, STAT, TARGETS, over


def test_figure_is_judged_by_its_middle_round() -> None:
    figures = Figures()
    for took_s in (0.1, 0.2, 9.0):
        figures.add(LIST_TREE, took_s)
    assert figures.missed() == []
    figures.add(LIST_TREE, 9.0)
    figures.add(LIST_TREE, 9.0)
    assert figures.missed() == [LIST_TREE]


def test_more_requests_than_wanted_meet_a_target_that_is_a_least() -> None:
    target = TARGETS[STAT]
    assert target.verdict(2_499) == "missed"
    assert target.verdict(2_500) == "met"
    assert target.verdict(4_000) == "met, and the aim"


def test_ratio_compares_the_rounds_that_ran_side_by_side() -> None:
    figures = Figures()
    for slow, fast in ((2.0, 1.0), (9.0, 3.0)):
        figures.add("slow", slow)
        figures.add("fast", fast)
    figures.ratio("slow", "fast")
    assert figures.series(over("slow", "fast")).values == [2.0, 3.0]


def test_ratio_refuses_rounds_that_have_no_partner() -> None:
    figures = Figures()
    figures.add("slow", 1.0)
    figures.series("fast")
    with pytest.raises(ValueError, match="shorter"):
        figures.ratio("slow", "fast")


def test_table_shows_spread_target_and_verdict_and_puts_targets_first() -> None:
    figures = Figures()
    figures.add("without a target", 1.0)
    for rate in (1_000, 3_000, 5_000):
        figures.add(STAT, rate, "1/s", "8 connections")
    first = figures.markdown("a run").splitlines()[2]
    assert first == (
        "| stat | 1/s | 1,000 | 3,000 | 5,000 | ≥ 2,500 (aim 4,000) | met | 8 connections |"
    )


def test_json_holds_every_round_and_the_machine(tmp_path: Path) -> None:
    figures = Figures()
    figures.add(LIST_TREE, 0.5)
    figures.write_json(tmp_path / "out", title="a run", command=["--quick"])
    told = json.loads((tmp_path / "out").read_text(encoding="utf-8"))
    assert told["machine"]["cores"] >= 1
    (one,) = told["figures"]
    assert one["rounds"] == [0.5]
    assert one["is_met"] is False


def test_workloads_of_scale_run_only_when_asked_for() -> None:
    assert chosen("", scale=False) == [*WORKLOADS]
    assert chosen("", scale=True) == [*SCALE]
    assert chosen("tree, large", scale=False) == ["large", "tree"]


def test_unknown_workload_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="no workload fast; there are: large"):
        chosen("fast", scale=False)
