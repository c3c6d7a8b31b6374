"""Where a command's words go: lines and aligned tables for people, one JSON document for programs.

The answer goes to standard output, everything said about it (notes, errors, progress) to standard
error.  `--quiet` silences all but errors and file content.  A long table is written in pages while
it arrives, so listing a million names takes no more memory than listing a thousand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO

from dfs.cli import render
from dfs.cli.errors import error_json, error_lines

if TYPE_CHECKING:
    from dfs.base.errors import DfsError

PAGE_ROWS: Final = 1_000
BLUE_BOLD: Final = "\x1b[1;34m"
BOLD: Final = "\x1b[1m"
RESET: Final = "\x1b[0m"


class Output:
    """Standard output and standard error of one command.

    Args:
        colour: whether terminal colours are wanted (they also need a terminal).
    """

    def __init__(  # noqa: PLR0913 - one flag each, all by name
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        program: str = "dfs",
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        colour: bool = False,
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.program = program
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.terminal = is_terminal(stdout)
        self.colour = colour and self.terminal
        self._hint = ""

    @property
    def text(self) -> bool:
        """Whether words for people are wanted."""
        return not self.as_json and not self.quiet

    @property
    def wants_progress(self) -> bool:
        """Whether a person sits there to see a transfer move."""
        return self.text and is_terminal(self.stderr)

    def line(self, text: str = "") -> None:
        """A line of the answer, for people; control characters are escaped."""
        if self.text:
            self.stdout.write(render.plain(text) + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Lines of the answer as they come, written many at once."""
        if not self.text:
            for _ in texts:
                pass
            return
        page: list[str] = []
        try:
            for text in texts:
                page.append(f"{render.plain(text)}\n")
                if len(page) >= PAGE_ROWS:
                    self.stdout.write("".join(page))
                    page.clear()
        finally:
            self.stdout.write("".join(page))

    def styled(self, text: str, style: str) -> str:
        """The text in a style where colours are wanted; the text went through `plain` before."""
        return f"{style}{text}{RESET}" if self.colour else text

    def raw(self, text: str) -> None:
        """Text of ours as it stands (colours, NUL-ended names)."""
        if self.text:
            self.stdout.write(text)

    def document(self, value: object) -> None:
        """The whole answer, for programs."""
        if self.as_json and not self.quiet:
            import json  # noqa: PLC0415 - start-up time

            json.dump(render.to_json(value), self.stdout, ensure_ascii=False, indent=2)
            self.stdout.write("\n")

    def answer(self, value: object, *lines: str) -> None:
        """The same answer for both."""
        self.document(value)
        for text in lines:
            self.line(text)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the answer; to standard error, for people only."""
        if self.text:
            self.stderr.write(render.plain(text) + "\n")
            self.stderr.flush()

    def caution(self, text: str) -> None:
        """What has to be known to read the answer right; to standard error, for programs too."""
        if not self.quiet:
            with contextlib.suppress(BrokenPipeError):
                self.stdout.flush()  # the lines of both stay apart on a terminal
            self.stderr.write(f"note: {render.plain(text)}\n")
            self.stderr.flush()

    def detail(self, text: str) -> None:
        """A note for `--verbose`."""
        if self.verbose:
            self.note(text)

    def error(self, error: DfsError) -> None:
        """A refusal; never silenced."""
        with contextlib.suppress(BrokenPipeError):
            self.stdout.flush()  # what was answered before the refusal is read before it
        if self.as_json:
            import json  # noqa: PLC0415 - start-up time

            json.dump(error_json(error), self.stderr, ensure_ascii=False)
            self.stderr.write("\n")
        else:
            again, self._hint = error.hint == self._hint, error.hint
            lines = error_lines(self.program, error, hint="" if again else error.hint)
            self.stderr.writelines(f"{line}\n" for line in lines)
        self.stderr.flush()

    def table(
        self,
        headings: Sequence[str] = (),
        *,
        right: Iterable[int] = (),
        columns: int = 0,
        spare: Sequence[int] = (),
    ) -> Table:
        """A table; use it in a `with`.  Without headings it has `columns` columns.

        Columns in `spare` are left out, in that order, while a terminal is too narrow for all.
        """
        return Table(
            self, headings, right=frozenset(right), columns=columns or len(headings), spare=spare
        )

    def line_width(self) -> int:
        """How many columns the terminal has."""
        import shutil  # noqa: PLC0415 - start-up time

        return shutil.get_terminal_size().columns

    def bytes_out(self) -> BinaryIO:
        """Standard output for file content."""
        self.stdout.flush()
        return self.stdout.buffer


class Table:
    """Rows that are lines for people and list items for programs."""

    def __init__(
        self,
        out: Output,
        headings: Sequence[str],
        *,
        right: frozenset[int],
        columns: int,
        spare: Sequence[int] = (),
    ) -> None:
        self._out = out
        self._right = right
        self._spare = spare
        self._shown = list(range(columns))
        self._widths = [0] * columns
        self._page: list[Sequence[str]] = [headings] if headings else []
        self._has_headings = bool(headings)
        self.rows = 0

    def __enter__(self) -> Table:
        """Open the list."""
        if self._out.as_json and not self._out.quiet:
            self._out.stdout.write("[")
        return self

    def __exit__(self, *unused: object) -> None:
        """Close the list, also after an error, so that a cut answer still parses."""
        if self._out.as_json and not self._out.quiet:
            self._out.stdout.write("\n]\n" if self.rows else "]\n")
        elif self.rows:
            self._flush()

    def row(self, value: object, *cells: str) -> None:
        """One row: `value` for programs, `cells` for people."""
        self.rows += 1
        if self._out.quiet:
            return
        if self._out.as_json:
            import json  # noqa: PLC0415 - start-up time

            self._out.stdout.write(",\n" if self.rows > 1 else "\n")
            self._out.stdout.write(json.dumps(render.to_json(value), ensure_ascii=False))
            return
        self._page.append([render.plain(cell) for cell in cells])
        if len(self._page) >= PAGE_ROWS:
            self._flush()

    def silent_row(self, value: object) -> None:
        """A row for programs of which people need not be told."""
        if self._out.as_json:
            self.row(value)

    def _flush(self) -> None:
        for cells in self._page:
            for at, cell in enumerate(cells):
                self._widths[at] = max(self._widths[at], render.width(cell))
        self._narrow()
        for cells in self._page:
            self._out.raw(self._laid_out(cells))
        self._page.clear()
        self._has_headings = False

    def _narrow(self) -> None:
        """Leave spare columns out until a line fits the terminal."""
        if not (self._spare and self._out.terminal):
            return
        room = self._out.line_width()
        for at in self._spare:
            if sum(self._widths[each] + 2 for each in self._shown) - 2 <= room:
                return
            if at in self._shown:
                self._shown.remove(at)

    def _laid_out(self, cells: Sequence[str]) -> str:
        line = "  ".join(
            render.pad(cells[at], self._widths[at], right=at in self._right) for at in self._shown
        ).rstrip()
        heading = self._has_headings and cells is self._page[0]
        return (self._out.styled(line, BOLD) if heading else line) + "\n"


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream."""
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False  # closed, or a stand-in without one
