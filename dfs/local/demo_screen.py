"""What the demo puts on the screen: numbered steps, facts, bars, commands with their output.

On a terminal transfers show a bar; elsewhere (a log, a CI) everything is plain lines.
"""

import contextlib
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from dfs.base.clock import Clock
from dfs.base.errors import DaemonFailed, DfsError
from dfs.base.units import format_duration, format_size
from dfs.client import SilentProgress
from dfs.observe.exit_codes import EXIT_DONE

COMMAND_LINES_MAX: Final = 14
COMMAND_TIMEOUT_S: Final = 120.0
INDENT: Final = 5
LINE_EVERY_S: Final = 5.0


class Screen:
    """Tells the story, in order."""

    def __init__(self, console: Console, *, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._step = 0
        self._proven: list[tuple[str, str, bool]] = []

    @property
    def ok(self) -> bool:
        """Whether everything shown so far held."""
        return all(held for _claim, _detail, held in self._proven)

    def title(self, text: str) -> None:
        """What this is."""
        self._console.print(Panel(text, border_style="blue", expand=False))

    def step(self, text: str) -> None:
        """Begin the next step."""
        self._step += 1
        self._console.print()
        self._console.print(Text(f"{self._step}  {text}", style="bold blue"))

    def say(self, text: str) -> None:
        """A plain sentence."""
        self._console.print(f"   {text}", markup=False, highlight=False)

    def alarm(self, text: str) -> None:
        """A sentence about something bad that is done on purpose."""
        self._console.print(Text(f"   {text}", style="bold red"))

    @contextlib.contextmanager
    def timed(self, what: str, size_bytes: int = 0) -> Iterator[None]:
        """Say afterwards how long it took, and how fast it was."""
        start_s = self._clock.monotonic_s()
        yield
        took_s = max(self._clock.monotonic_s() - start_s, 0.001)
        rate = f", {format_size(size_bytes / took_s)}/s" if size_bytes else ""
        self.say(f"{what} in {format_duration(took_s)}{rate}")

    @contextlib.contextmanager
    def bar(self, label: str) -> Iterator["TransferBar"]:
        """A bar for one transfer; gone when it is done."""
        bars = Bars(
            TextColumn("   {task.description}"),
            BarColumn(bar_width=36),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        with bars:
            yield TransferBar(bars, label)

    @contextlib.contextmanager
    def job(self, label: str) -> Iterator[Callable[[float, str], None]]:
        """A bar for something the cluster does; what is yielded moves it.  Gone when it is done.

        Elsewhere than on a terminal it is a plain line now and then.
        """
        if not self._console.is_terminal:
            yield _JobLines(self, label, self._clock).show
            return
        bars = Bars(
            TextColumn("   {task.description}"),
            BarColumn(bar_width=36),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[words]}", markup=False),
            console=self._console,
            transient=True,
        )
        task = bars.add_task(label, total=1.0, words="")
        with bars:
            yield lambda share, words: bars.update(task, completed=share, words=words)

    def command(
        self,
        shown: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        fine: Collection[int] = (EXIT_DONE,),
    ) -> int:
        """Run a command as a user would and show what it prints, shortened; its exit code.

        Raises:
            DaemonFailed: it could not be run, or its exit code is none of those that are fine.
        """
        self._console.print(Text(f"   $ {shown}", style="bold"))
        try:
            run = subprocess.run(
                argv,
                env=dict(environment) | {"COLUMNS": str(self._console.width - INDENT)},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise DaemonFailed(f"{shown}: {exc}") from exc
        if run.returncode not in fine:
            raise DaemonFailed(f"{shown} ended with {run.returncode}: {run.stderr.strip()}")
        lines = run.stdout.splitlines()
        for line in lines[:COMMAND_LINES_MAX]:
            self._console.print(
                Text(f"{'':{INDENT}}{line}", style="dim"), no_wrap=True, overflow="ellipsis"
            )
        if len(lines) > COMMAND_LINES_MAX:
            rest = f"     ... and {len(lines) - COMMAND_LINES_MAX:,} lines more"
            self._console.print(Text(rest, style="dim"))
        return run.returncode

    def prove(self, claim: str, detail: str, *, held: bool) -> None:
        """A claim that was put to the test, for the summary."""
        self._proven.append((claim, detail, held))
        mark = Text("   proven: " if held else "   FAILED: ", style="green" if held else "bold red")
        self._console.print(mark + Text(f"{claim} ({detail})", style="default"))

    def differences(self, words: Sequence[str]) -> None:
        """The first few differences, where there are any."""
        for one in words[:10]:
            self.alarm(one)

    def summary(self, took_s: float) -> None:
        """What was proven."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for claim, detail, held in self._proven:
            mark = "[green]✓[/]" if held else "[bold red]✗[/]"
            table.add_row(mark, Text(claim), Text(detail, style="dim"))
        end = "Everything came back bit for bit." if self.ok else "Something was NOT as promised."
        colour = "green" if self.ok else "red"
        self._console.print()
        self._console.print(
            Panel(table, title="What was proven", border_style=colour, expand=False)
        )
        self._console.print(f"[bold {colour}]{end}[/]  The tour took {format_duration(took_s)}.")


class _JobLines:
    """A job in plain lines: one at the start, and one every few seconds."""

    def __init__(self, screen: Screen, label: str, clock: Clock) -> None:
        self._screen = screen
        self._label = label
        self._clock = clock
        self._due_s = clock.monotonic_s() + LINE_EVERY_S

    def show(self, share: float, words: str) -> None:
        """It is that far."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + LINE_EVERY_S
            self._screen.say(f"{self._label}: {share:.0%}, {words}")


class TransferBar(SilentProgress):
    """Feeds a bar from a transfer.  See `dfs.client.Progress`."""

    def __init__(self, bars: Bars, label: str) -> None:
        self._bars = bars
        self._label = label
        self._task = bars.add_task(label, total=None)
        self.notes: list[str] = []

    def started(self, files: int, size_bytes: int) -> None:
        """See `Progress`."""
        counted = f"{self._label} ({files:,} files)" if files > 1 else self._label
        self._bars.update(self._task, total=size_bytes or None, description=counted)

    def advanced(self, size_bytes: int) -> None:
        """See `Progress`."""
        self._bars.advance(self._task, size_bytes)

    def note(self, text: str) -> None:
        """See `Progress`."""
        self.notes.append(text)

    def file_done(self, path: str, size_bytes: int, error: DfsError | None) -> None:
        """See `Progress`."""
        if error is not None:
            self.notes.append(f"{path} ({format_size(size_bytes)}): {error.message}")
