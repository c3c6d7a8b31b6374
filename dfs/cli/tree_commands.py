"""Verbs that look at trees of names: ls, tree, find, mkdir, du, df."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from dfs.base.states import InodeKind
from dfs.base.units import format_size
from dfs.cli import render
from dfs.cli.arguments import remote_paths
from dfs.cli.output import BLUE_BOLD, Table
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.base.records import FileStatus
    from dfs.wire.files_api import DfReply, Usage

GROUP: Final = "names and trees"
LONG_COLUMNS: Final = 7


# --- ls -----------------------------------------------------------------------------------------


def _ls_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="*", help="files or directories (default: where you are)")
    parser.add_argument(
        "-l", dest="long", action="store_true", help="mode, copies, owner, group, size, time"
    )
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="everything below, as full paths"
    )
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.5 GiB")
    parser.add_argument(
        "-d", "--directory", action="store_true", help="the directory itself, not what is in it"
    )
    order = parser.add_mutually_exclusive_group()
    order.add_argument("-t", dest="by", action="store_const", const="time", help="newest first")
    order.add_argument("-S", dest="by", action="store_const", const="size", help="largest first")
    parser.add_argument("-r", "--reverse", action="store_true", help="the other way round")


def _ls(context: Context) -> int:
    paths = list(context.remotes(context.args.paths or ["."]))
    statuses = list(_statuses(context, paths))
    alone = [s for s in statuses if s.kind is not InodeKind.DIRECTORY or context.args.directory]
    directories = [s for s in statuses if s not in alone]
    if context.out.as_json:
        return _ls_json(context, alone, directories)
    _print_listing(context, _sorted(context, alone), whole_paths=True)
    titled = len(statuses) > 1 and not context.args.recursive
    for at, directory in enumerate(directories):
        with context.going_on():
            if titled:
                if at or alone:
                    context.out.line()
                context.out.line(f"{directory.path}:")
            entries = _sorted(context, _entries(context, directory.path))
            _print_listing(context, entries, whole_paths=context.args.recursive)
    return context.code()


def _statuses(context: Context, paths: Sequence[str]) -> Iterator[FileStatus]:
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import STAT  # noqa: PLC0415

    asked = context.ask_many(STAT, paths, lambda some: PathsRequest(paths=some))
    return (status for _, status in asked)


def _ls_json(
    context: Context, alone: Iterable[FileStatus], directories: Iterable[FileStatus]
) -> int:
    with context.out.table(columns=1) as table:
        for status in _sorted(context, alone):
            table.row(render.status_json(status))
        for directory in directories:
            with context.going_on():
                for status in _sorted(context, _entries(context, directory.path)):
                    table.row(render.status_json(status))
    return context.code()


def _entries(context: Context, directory: str) -> Iterator[FileStatus]:
    if context.args.recursive:
        return context.client.walk(directory)
    return context.client.listdir(directory)


def _sorted(context: Context, entries: Iterable[FileStatus]) -> Iterable[FileStatus]:
    """As they come (by name) without holding them, else sorted in memory."""
    if context.args.by == "time":
        return sorted(entries, key=lambda s: s.modified_ms, reverse=not context.args.reverse)
    if context.args.by == "size":
        return sorted(entries, key=lambda s: s.size_bytes, reverse=not context.args.reverse)
    return reversed(list(entries)) if context.args.reverse else entries


def _print_listing(context: Context, entries: Iterable[FileStatus], *, whole_paths: bool) -> None:
    if context.args.long:
        with context.out.table(columns=LONG_COLUMNS, right=(1, 4)) as table:
            for status in entries:
                long_row(table, status, human=context.args.human, whole_path=whole_paths)
    elif whole_paths or not context.out.terminal:
        context.out.lines(status.path if whole_paths else name_of(status) for status in entries)
    else:
        _print_columns(context, entries)


def _print_columns(context: Context, entries: Iterable[FileStatus]) -> None:
    shown = list(entries)
    names = [render.plain(name_of(status)) for status in shown]
    blue = {
        name
        for name, status in zip(names, shown, strict=True)
        if status.kind is InodeKind.DIRECTORY
    }
    for line in render.in_columns(
        names,
        context.out.line_width(),
        style=lambda name: context.out.styled(name, BLUE_BOLD) if name in blue else name,
    ):
        context.out.raw(line + "\n")


def long_row(table: Table, status: FileStatus, *, human: bool, whole_path: bool) -> None:
    """A line as `ls -l` writes it, with the copies wanted where links would be."""
    directory = status.kind is InodeKind.DIRECTORY
    table.row(
        render.status_json(status),
        ("d" if directory else "-") + render.permissions(status.mode),
        render.NOTHING if directory else str(status.replication),
        status.owner,
        status.group,
        render.NOTHING if directory else render.size(status.size_bytes, human=human),
        render.local_time(status.modified_ms),
        status.path if whole_path else name_of(status),
    )


def name_of(status: FileStatus) -> str:
    """The last name of its path; the root is ``/``."""
    return status.path.rpartition("/")[2] or "/"


# --- tree ---------------------------------------------------------------------------------------


def _tree_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="*", help="where to begin (default: where you are)")
    parser.add_argument("-L", "--depth", type=int, metavar="N", help="not deeper than N levels")
    parser.add_argument("-d", dest="directories_only", action="store_true", help="directories only")


def _tree(context: Context) -> int:
    documents: list[render.Json] = []
    for path in context.remotes(context.args.paths or ["."]):
        with context.going_on():
            root = context.client.stat(path)
            if context.out.as_json:
                documents.append(_branch_json(context, root, 1))
            else:
                _print_tree(context, root)
    context.out.document(documents)
    return context.code()


def _print_tree(context: Context, root: FileStatus) -> None:
    context.out.line(root.path)
    totals = {InodeKind.DIRECTORY: 0, InodeKind.FILE: 0}
    unicode = (context.out.stdout.encoding or "").lower().startswith("utf")
    marks = ("├── ", "└── ", "│   ") if unicode else ("|-- ", "`-- ", "|   ")
    if root.kind is InodeKind.DIRECTORY:
        _print_branches(context, root.path, "", marks, totals)
    files, directories = totals[InodeKind.FILE], totals[InodeKind.DIRECTORY]
    parts = [render.count(directories, "directory", "directories")]
    if not context.args.directories_only:
        parts.append(render.count(files, "file"))
    context.out.line()
    context.out.line(", ".join(parts))


def _print_branches(
    context: Context,
    directory: str,
    indent: str,
    marks: tuple[str, str, str],
    totals: dict[InodeKind, int],
) -> None:
    """One level and those below it; one entry is read ahead to know the last."""
    level = len(indent) // len(marks[2]) + 1
    entries = itertools.chain(_children(context, directory), [None])
    for entry, following in itertools.pairwise(entries):
        assert entry is not None
        totals[entry.kind] += 1
        name = render.plain(name_of(entry))
        if entry.kind is InodeKind.DIRECTORY:
            name = context.out.styled(name, BLUE_BOLD)
        context.out.raw(f"{indent}{marks[following is None]}{name}\n")
        if entry.kind is InodeKind.DIRECTORY and level != context.args.depth:
            below = indent + (" " * len(marks[2]) if following is None else marks[2])
            with context.going_on():
                _print_branches(context, entry.path, below, marks, totals)


def _branch_json(context: Context, status: FileStatus, level: int) -> render.Json:
    made = render.status_json(status)
    if status.kind is InodeKind.DIRECTORY and (level - 1) != context.args.depth:
        children: list[render.Json] = []
        with context.going_on():
            for entry in _children(context, status.path):
                children.append(_branch_json(context, entry, level + 1))  # noqa: PERF401
        made["entries"] = children
    return made


def _children(context: Context, directory: str) -> Iterator[FileStatus]:
    entries = context.client.listdir(directory)
    if not context.args.directories_only:
        return entries
    return (entry for entry in entries if entry.kind is InodeKind.DIRECTORY)


# --- mkdir --------------------------------------------------------------------------------------


def _mkdir_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="directories to make")
    parser.add_argument(
        "-p", "--parents", action="store_true", help="those above too; an existing one is fine"
    )
    parser.add_argument("-m", "--mode", default="755", help="octal mode (default 755)")


def _mkdir(context: Context) -> int:
    from dfs.cli.modes import parse_mode  # noqa: PLC0415 - start-up time
    from dfs.wire.files_api import MkdirRequest  # noqa: PLC0415
    from dfs.wire.routes import MKDIR  # noqa: PLC0415

    mode = parse_mode(context.args.mode).apply(0o755, directory=True)
    paths = [context.remote(path) for path in context.args.paths]
    made = context.ask_many(
        MKDIR,
        paths,
        lambda some: MkdirRequest(paths=some, parents=context.args.parents, mode=mode),
    )
    with context.out.table(columns=1) as table:
        for path, status in made:
            table.silent_row(render.status_json(status))
            context.out.detail(f"made {path}")
    return context.code()


# --- du and df ----------------------------------------------------------------------------------


def _du_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="*", help="files or directories (default: where you are)")
    parser.add_argument(
        "-s", "--summary", action="store_true", help="one line for each path, not for its entries"
    )
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.5 GiB")


def _du(context: Context) -> int:
    from dfs.wire.files_api import DuRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import DU  # noqa: PLC0415

    with context.out.table(("SIZE", "STORED", "FILES", "PATH"), right=(0, 1, 2)) as table:
        for path in context.remotes(context.args.paths or ["."]):
            with context.going_on():
                wanted = [path] if context.args.summary else _parts(context, path)
                for _, usage in context.ask_many(DU, wanted, lambda some: DuRequest(paths=some)):
                    _du_row(table, usage, human=context.args.human)
    return context.code()


def _parts(context: Context, path: str) -> list[str]:
    """What is directly in a directory; a file is its own part."""
    if context.client.stat(path).kind is not InodeKind.DIRECTORY:
        return [path]
    return [entry.path for entry in context.client.listdir(path)]


def _du_row(table: Table, usage: Usage, *, human: bool) -> None:
    table.row(
        usage,
        render.size(usage.size_bytes, human=human),
        render.size(usage.stored_bytes, human=human),
        str(usage.files),
        usage.path,
    )


def _df_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.5 GiB")


def _df(context: Context) -> int:
    room = context.client.df()
    context.out.document(room)
    if context.out.text:
        headings = ("TOTAL", "USED", "FREE", "USE%", "NODES", "FILES", "DIRECTORIES", "BLOCKS")
        with context.out.table(headings, right=range(8)) as table:
            table.row(room, *_df_cells(room, human=context.args.human))
        if room.default_replication > 1 and room.free_bytes:
            fits = format_size(room.free_bytes / room.default_replication)
            copies = render.count(room.default_replication, "copy", "copies")
            context.out.note(f"room for {fits} of new files at {copies} each")
    return EXIT_DONE


def _df_cells(room: DfReply, *, human: bool) -> tuple[str, ...]:
    return (
        render.size(room.total_bytes, human=human),
        render.size(room.used_bytes, human=human),
        render.size(room.free_bytes, human=human),
        render.percent(room.used_bytes, room.total_bytes),
        f"{room.nodes_live}/{room.nodes}",
        str(room.files),
        str(room.directories),
        str(room.blocks),
    )


VERBS: Final = (
    Verb(
        name="ls",
        group=GROUP,
        may_be_stale=True,
        summary="List directories and files",
        description="With -R every path below is printed whole, one a line, parents first.\n"
        "The second column of -l is the number of copies wanted.",
        arguments=_ls_arguments,
        run=_ls,
        examples=(
            Example("dfs ls", "what is in your home directory"),
            Example("dfs ls -lh /data", "with modes, owners and short sizes"),
            Example("dfs ls -lt '/logs/*.gz'", "matching files, newest first (quote patterns)"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND),
        human_flag=True,
    ),
    Verb(
        name="tree",
        group=GROUP,
        may_be_stale=True,
        summary="Draw directories as a tree",
        arguments=_tree_arguments,
        run=_tree,
        examples=(Example("dfs tree -L 2 /data", "two levels of /data"),),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
    Verb(
        name="mkdir",
        group=GROUP,
        summary="Make directories",
        arguments=_mkdir_arguments,
        run=_mkdir,
        examples=(Example("dfs mkdir -p data/2026/11", "a directory and those above it"),),
        exits=(*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT),
    ),
    Verb(
        name="du",
        group=GROUP,
        may_be_stale=True,
        summary="Show how much is below directories",
        description="SIZE counts each file once, STORED counts every copy that is wanted.",
        arguments=_du_arguments,
        run=_du,
        examples=(
            Example("dfs du -h /data", "each entry of /data"),
            Example("dfs du -sh /data /logs", "two totals"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND),
        human_flag=True,
    ),
    Verb(
        name="df",
        group=GROUP,
        may_be_stale=True,
        summary="Show the room in the cluster",
        description="Sizes are raw: a file takes its size times its copies.",
        arguments=_df_arguments,
        run=_df,
        examples=(Example("dfs df -h", "in short sizes"),),
        human_flag=True,
    ),
)
