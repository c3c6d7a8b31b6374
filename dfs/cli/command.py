"""One command line from its words to its exit code.

The only place of the command line where exceptions end: refusals become a line and a code, ^C and
SIGTERM unwind everything that is open, a closed pipe ends quietly, and a bug of ours says so
without a traceback (`--verbose` shows it).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence

from dfs import __version__
from dfs.base import crashpoint
from dfs.base.clock import SystemClock
from dfs.base.errors import BadRequest, DfsError, LocalDiskFull, LocalIoError
from dfs.cli import grammar
from dfs.cli.connection import Connection
from dfs.cli.errors import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_TERMINATED
from dfs.cli.output import Output, is_terminal
from dfs.cli.verbs import Context, Place, Program, Streams, Surroundings
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED, exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds as ^C does."""


def launch(program: Program, words: Sequence[str] | None, environment: Mapping[str, str]) -> int:
    """Run a program once; for the mains.  Without `words`, those of the process."""
    crashpoint.arm(environment)
    streams = Streams(sys.stdin, sys.stdout, sys.stderr)
    for stream in (streams.stdout, streams.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a name shows its escape
            stream.reconfigure(errors="backslashreplace")
    around = Surroundings(
        program=program,
        connection=Connection(environment),
        streams=streams,
        clock=SystemClock(),
        place=Place(),
    )
    with _termination():
        try:
            return run_line(around, sys.argv[1:] if words is None else words)
        finally:
            around.connection.close()


def run_line(around: Surroundings, words: Sequence[str]) -> int:
    """Run one command line; every exception but the exits of the interpreter ends here."""
    out = _output(around, words)
    try:
        code = _perform(around, out, words)
        around.streams.stdout.flush()
    except BrokenPipeError:
        return _pipe_closed(around.streams)
    except Terminated:
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        if is_terminal(around.streams.stderr):
            around.streams.stderr.write(f"\n{around.program.name}: interrupted\n")
        return EXIT_INTERRUPTED
    except DfsError as exc:
        out.error(exc)
        return exit_code(exc)
    except OSError as exc:
        out.error(_local_failure(exc))
        return EXIT_FAILED
    except Exception as exc:  # noqa: BLE001 - no traceback ever reaches a user
        return _bug(out, exc)
    return code


def _perform(around: Surroundings, out: Output, words: Sequence[str]) -> int:
    before, rest = grammar.verb_words(words)
    if rest[:1] == [grammar.COMPLETE_VERB]:
        return _complete(around, rest[1:])
    grammar.refuse_dashed_verb(around.program, before)
    if not rest:
        return _without_verb(around.program, out, before)
    try:
        verb, args = grammar.parse(around.program, words)
    except grammar.ShowHelp as shown:
        out.stdout.write(str(shown))
        return EXIT_DONE
    _inherit(args, around.inherited)
    out.as_json, out.quiet, out.verbose = args.json, args.quiet, args.verbose
    around.connection.begin(notice=out.note, caution=out.caution)
    return verb.run(Context(around, args, out))


def _complete(around: Surroundings, words: Sequence[str]) -> int:
    """What a TAB in bash or zsh asks: quick, and never with an error message."""
    from dfs.cli.shell_completion import answer_shell  # noqa: PLC0415 - start-up time

    hurried = Connection(around.environment, hurried=True)
    try:
        answer_shell(around.program, words, hurried, around.streams.stdout)
    finally:
        hurried.close()
    return EXIT_DONE


def _without_verb(program: Program, out: Output, flags: Sequence[str]) -> int:
    if "--version" in flags:
        out.stdout.write(f"{program.name} {__version__}\n")
        return EXIT_DONE
    if {"-h", "--help"} & set(flags):
        out.stdout.write(grammar.program_help(program))
        return EXIT_DONE
    raise BadRequest("no verb given", hint=f"see: {program.name} --help")


def _inherit(args: argparse.Namespace, shell: argparse.Namespace | None) -> None:
    """Commands in a shell take its global flags where they have none of their own."""
    for name in ("config", "namenode", "json", "quiet", "verbose"):
        setattr(args, name, getattr(args, name) or getattr(shell, name, None) or False)


def _output(around: Surroundings, words: Sequence[str]) -> Output:
    """The output before the words are understood: their errors too are JSON if it was asked for."""
    plain_terminal = around.environment.get("TERM") == "dumb"
    return Output(
        around.streams.stdout,
        around.streams.stderr,
        program=around.program.name,
        as_json="--json" in words or bool(around.inherited and around.inherited.json),
        verbose="--verbose" in words or "-v" in words,
        colour=not (around.environment.get("NO_COLOR") or plain_terminal),
    )


def _local_failure(exc: OSError) -> DfsError:
    """A local file or stream that failed under a command (a redirect to a full disk)."""
    where = f"{exc.filename}: " if exc.filename else ""
    message = f"{where}{exc.strerror or exc}"
    full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return LocalDiskFull(message) if full else LocalIoError(message)


def _bug(out: Output, exc: Exception) -> int:
    if out.verbose:
        import traceback  # noqa: PLC0415 - start-up time

        traceback.print_exception(exc, file=out.stderr)
    kind = type(exc).__name__
    out.stderr.write(f"{out.program}: this is a bug of DFS, not of yours: {kind}: {exc}\n")
    out.stderr.write("  hint: run it again with --verbose and report what it prints\n")
    return EXIT_FAILED


def _pipe_closed(streams: Streams) -> int:
    """The reader has gone: say nothing, and keep the interpreter from saying it at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, streams.stdout.fileno())
        os.close(nowhere)
    return EXIT_BROKEN_PIPE


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM unwinds the command, so that half-written files are taken back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
