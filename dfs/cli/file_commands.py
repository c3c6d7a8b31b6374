"""Verbs that show what is in files: cat, head, tail."""

from __future__ import annotations

import argparse
import io
from typing import TYPE_CHECKING, BinaryIO, Final

from dfs.base.errors import IsADirectory
from dfs.base.states import InodeKind
from dfs.base.units import KiB
from dfs.cli.arguments import remote_paths, size_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_CORRUPT, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROUP: Final = "file content"
READS: Final = (*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT, EXIT_CORRUPT)
LINES_DEFAULT: Final = 10
PIECE_BYTES: Final = 256 * KiB  # one chunk: what is verified and fetched at once anyway


def _cat_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files, written one after the other")


def _cat(context: Context) -> int:
    sink = context.out.bytes_out()
    write_files(context, list(context.remotes(context.args.paths)), sink)
    sink.flush()
    return context.code()


def write_files(context: Context, paths: Sequence[str], sink: BinaryIO) -> None:
    """Write files one after the other; what goes wrong with one is said, and the next follows."""
    if len(paths) == 1:
        with context.going_on():
            context.mover.get_stream(paths[0], sink)
        return
    for refusal in context.mover.get_streams(paths, sink):
        with context.going_on():
            if refusal is not None:
                raise refusal


def _part_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "-n", "--lines", type=_line_count, default=LINES_DEFAULT, metavar="N", help="lines (10)"
    )
    part.add_argument("-c", "--bytes", type=size_argument, metavar="SIZE", help="bytes: 1k, 4096")


def _line_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"not a number of lines: {text!r}")
    return int(text)


def _head(context: Context) -> int:
    return _parts(context, _write_head)


def _tail(context: Context) -> int:
    return _parts(context, _write_tail)


def _parts(context: Context, write: Callable[[Context, str, BinaryIO], None]) -> int:
    """Part of each file; with several, each below its name, as the Unix tools do."""
    sink = context.out.bytes_out()
    paths = list(context.remotes(context.args.paths))
    for at, path in enumerate(paths):
        with context.going_on():
            if len(paths) > 1:
                if at:
                    context.out.line()
                context.out.line(f"==> {path} <==")
                context.out.stdout.flush()
            write(context, path, sink)
    sink.flush()
    return context.code()


def _write_head(context: Context, path: str, sink: BinaryIO) -> None:
    if context.args.bytes is not None:
        context.mover.get_stream(path, sink, length=context.args.bytes)
        return
    with context.mover.open(path) as source, io.BufferedReader(source, PIECE_BYTES) as lines:
        for _ in range(context.args.lines):
            # A line may be as long as the file: it passes through in pieces.
            while piece := lines.readline(PIECE_BYTES):
                sink.write(piece)
                if piece.endswith(b"\n"):
                    break
            else:
                return


def _write_tail(context: Context, path: str, sink: BinaryIO) -> None:
    status = context.client.stat(path)
    if status.kind is InodeKind.DIRECTORY:
        raise IsADirectory(f"is a directory: {path}", hint="name a file")
    if context.args.bytes is not None:
        offset = max(0, status.size_bytes - context.args.bytes)
    else:
        with context.mover.open(path) as source:
            offset = last_lines_offset(source, status.size_bytes, context.args.lines)
    if offset < status.size_bytes:
        context.mover.get_stream(path, sink, offset=offset)


def last_lines_offset(source: io.RawIOBase, size_bytes: int, lines: int) -> int:
    """Where the last `lines` lines begin; a file's last newline ends a line, it begins none."""
    if lines == 0:
        return size_bytes
    left, end = lines, size_bytes
    last = True
    while end > 0:
        start = max(0, end - PIECE_BYTES)
        piece = _piece(source, start, end - start)
        at = len(piece) - 1 if last and piece.endswith(b"\n") else len(piece)
        last = False
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            left -= 1
            if left == 0:
                return start + at + 1
        end = start
    return 0


def _piece(source: io.RawIOBase, offset: int, length: int) -> bytes:
    source.seek(offset)
    piece = b""
    while len(piece) < length and (more := source.read(length - len(piece))):
        piece += more
    return piece


VERBS: Final = (
    Verb(
        name="cat",
        group=GROUP,
        may_be_stale=True,
        summary="Write files to standard output",
        description="Every byte is verified before it is written; where one copy is bad another\n"
        "is read.",
        arguments=_cat_arguments,
        run=_cat,
        examples=(
            Example("dfs cat notes.txt", "a file"),
            Example("dfs cat '/logs/2026-11-*.gz' | zcat", "several in one stream"),
        ),
        exits=READS,
    ),
    Verb(
        name="head",
        group=GROUP,
        may_be_stale=True,
        summary="Show how files begin",
        arguments=_part_arguments,
        run=_head,
        examples=(Example("dfs head -n 3 table.csv", "the first three lines"),),
        exits=READS,
    ),
    Verb(
        name="tail",
        group=GROUP,
        may_be_stale=True,
        summary="Show how files end",
        description="Only the end is read, however long the file.",
        arguments=_part_arguments,
        run=_tail,
        examples=(Example("dfs tail -c 1k app.log", "the last KiB"),),
        exits=READS,
    ),
)
