"""What is measured, and how several rounds of it are shown: smallest, median, largest, target."""

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.targets import TARGETS, Target, over

COLUMNS = ("", "unit", "min", "median", "max", "target", "", "")
NUMBERS = frozenset({"min", "median", "max"})


@dataclass(slots=True)
class Series:
    """The rounds of one measurement, in `unit`."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """The middle round."""
        return statistics.median(self.values)

    @property
    def target(self) -> Target | None:
        """What it is to reach, if anything."""
        return TARGETS.get(self.name)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add how many seconds the block takes."""
        start_s = time.perf_counter()
        yield
        self.values.append(time.perf_counter() - start_s)

    def cells(self) -> list[str]:
        """Its row of the table."""
        target, verdict = "", ""
        if self.target is not None:
            target, verdict = self.target.words(), self.target.verdict(self.median)
        numbers = (_number(v) for v in (min(self.values), self.median, max(self.values)))
        return [self.name, self.unit, *numbers, target, verdict, self.note]

    def facts(self) -> dict[str, Any]:
        """Its row for programs."""
        told: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "rounds": self.values,
            "note": self.note,
        }
        if self.target is not None:
            told["target"] = self.target.words()
            told["is_met"] = self.target.holds(self.median, self.target.limit)
        return told


class Figures:
    """Every series of a run, in the order they were begun."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    def series(self, name: str, unit: str = "s", note: str = "") -> Series:
        """The series of that name, begun now if new."""
        return self._series.setdefault(name, Series(name, unit, note=note))

    def add(self, name: str, value: float, unit: str = "s", note: str = "") -> None:
        """One round of that series."""
        self.series(name, unit, note).values.append(value)

    def ratio(self, name: str, yardstick: str, note: str = "") -> None:
        """A series of `name / yardstick`, round by round."""
        pairs = zip(self._series[name].values, self._series[yardstick].values, strict=True)
        made = Series(over(name, yardstick), "times", [a / b for a, b in pairs], note)
        self._series[made.name] = made

    def take(self, other: "Figures") -> None:
        """The rounds of another run, after our own."""
        for one in other.all():
            self.series(one.name, one.unit, one.note).values.extend(one.values)

    def all(self) -> Sequence[Series]:
        """Every series."""
        return list(self._series.values())

    def show(self, title: str) -> None:
        """Print a table, and the same for a Markdown file."""
        console = Console(width=200)
        console.print(self._table(title))
        console.print("\nFor bench/RESULTS.md:\n")
        console.print(self.markdown(title), markup=False, highlight=False, soft_wrap=True)

    def markdown(self, title: str) -> str:
        """The table as Markdown; what has a target stands first."""
        heads = [title, *COLUMNS[1:]]
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        lines += ["| " + " | ".join(one.cells()) + " |" for one in self._sorted()]
        return "\n".join(lines)

    def write_json(self, file: Path, *, title: str, **more: Any) -> None:
        """The same for programs, every round included, with the machine it was measured on."""
        told: Mapping[str, Any] = {
            "title": title,
            "machine": machine(),
            **more,
            "figures": [one.facts() for one in self._filled()],
        }
        file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    def missed(self) -> list[str]:
        """The names of those that do not reach their target."""
        return [one.name for one in self._filled() if one.facts().get("is_met") is False]

    def _filled(self) -> Sequence[Series]:
        return [one for one in self._series.values() if one.values]

    def _sorted(self) -> Sequence[Series]:
        return sorted(self._filled(), key=lambda one: one.target is None)

    def _table(self, title: str) -> Table:
        table = Table(title=title, box=None, pad_edge=False)
        for column in COLUMNS:
            table.add_column(column, justify="right" if column in NUMBERS else "left")
        for one in self._sorted():
            table.add_row(*one.cells())
        return table


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
