import pytest

from dfs.base.errors import LocalNotFound, Stopping
from dfs.base.units import MiB
from dfs.cli import user
from dfs.cli.grammar import parse
from dfs.cli.output import Output
from dfs.cli.progress import report_line, watching
from dfs.cli.verbs import Context, Streams
from dfs.cli.watch import LINE_EVERY_S, Watch
from dfs.client import TransferReport
from tests.unit.cli.conftest import ByteBackedText, Console, Terminal


class Stage:
    """A context whose output is kept."""

    def __init__(self, console: Console, *, terminal: bool) -> None:
        self.out = ByteBackedText()
        self.err = Terminal() if terminal else ByteBackedText()
        around = console.around(user.PROGRAM, Streams(Terminal(), self.out, self.err))
        _, args = parse(user.PROGRAM, ["put", "a", "b"])
        self.context = Context(around, args, Output(self.out, self.err))

    def said(self) -> str:
        return self.err.getvalue() if isinstance(self.err, Terminal) else self.err.text()


@pytest.fixture
def plain(console: Console) -> Stage:
    return Stage(console, terminal=False)


def test_plain_progress_is_a_line_now_and_then(plain: Stage, console: Console) -> None:
    with watching(plain.context, "put") as watch:
        assert type(watch) is Watch
        watch.started(3, 10 * MiB)
        watch.advanced(1 * MiB)
        assert plain.said() == ""
        console.clock.advance(LINE_EVERY_S)
        watch.file_done("/a", 1 * MiB, None)
        watch.advanced(1 * MiB)
    assert plain.said() == ("put: 1 of 3 files, 1 MiB of 10 MiB, 102 KiB/s, ETA 1m 30s\n")


def test_progress_says_each_failure_once_and_keeps_its_code(plain: Stage) -> None:
    watch = Watch(plain.context, "put")
    error = LocalNotFound("no such local file: a")
    watch.file_done("a", 0, error)
    watch.fail("a", error)
    assert plain.said() == "dfs: no such local file: a\n"
    assert plain.context.code() == 3


def test_progress_leaves_files_ended_by_an_interrupt_to_the_report(plain: Stage) -> None:
    watch = Watch(plain.context, "put")
    error = Stopping("the transfer was ended on this side")
    watch.file_done("a", 0, error)
    assert plain.said() == ""
    watch.fail("a", error)
    assert plain.said().startswith("dfs: the transfer was ended")


def test_report_line_sums_up(plain: Stage, console: Console) -> None:
    watch = Watch(plain.context, "put")
    console.clock.advance(2)
    report = TransferReport(files=1200, size_bytes=4 * MiB, skipped=3)
    assert report_line(watch, report) == ("put 1,200 files, 4 MiB in 2.0s (2 MiB/s), 3 skipped")
    assert report_line(watch, TransferReport()) == "put 0 files, 0 B in 2.0s"


def test_bar_is_drawn_on_a_terminal_and_taken_away(console: Console) -> None:
    stage = Stage(console, terminal=True)
    with watching(stage.context, "put") as watch:
        watch.started(2, 10 * MiB)
        watch.advanced(5 * MiB)
        watch._show()  # type: ignore[attr-defined]
        watch.note("a socket was left out")
        watch.file_done("/b", 0, LocalNotFound("no such local file: b"))
    said = stage.said()
    assert "5 MiB of 10 MiB" in said
    assert "a socket was left out\n" in said
    assert "dfs: no such local file: b\n" in said
    assert stage.out.text() == ""
