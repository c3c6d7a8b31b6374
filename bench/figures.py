"""What is measured, and how several rounds of it are shown: smallest, median, largest."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


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

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add how many seconds the block takes."""
        start_s = time.perf_counter()
        yield
        self.values.append(time.perf_counter() - start_s)


class Figures:
    """Every series of a run, in the order they were begun."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    def series(self, name: str, unit: str = "s", note: str = "") -> Series:
        """The series of that name, begun now if new."""
        return self._series.setdefault(name, Series(name, unit, note=note))

    def ratio(self, name: str, over: str) -> None:
        """A series of `name / over`, round by round, next to it in the table."""
        pairs = zip(self._series[name].values, self._series[over].values, strict=True)
        made = Series(f"{name} / {over}", "times", [a / b for a, b in pairs])
        self._series[made.name] = made

    def show(self, title: str) -> None:
        """Print a table that is Markdown as well."""
        table = Table(title=title, box=None, pad_edge=False)
        lines = [f"| {title} | unit | min | median | max | |", "|---|---|---|---|---|---|"]
        for column in ("", "unit", "min", "median", "max", ""):
            table.add_column(
                column, justify="right" if column in ("min", "median", "max") else "left"
            )
        for one in self._series.values():
            cells = [
                one.name,
                one.unit,
                *(_number(v) for v in (min(one.values), one.median, max(one.values))),
                one.note,
            ]
            table.add_row(*cells)
            lines.append("| " + " | ".join(cells) + " |")
        console = Console()
        console.print(table)
        console.print("\nFor bench/RESULTS.md:\n")
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
