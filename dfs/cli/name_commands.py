"""Verbs that change names and lose them: mv, cp, rm, undelete, trash."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, DfsError, NotADirectory, PathNotFound
from dfs.base.states import InodeKind
from dfs.cli import render
from dfs.cli.arguments import Offer, count_argument, offering, remote_paths
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.wire.files_api import Removed

GROUP: Final = "moving and removing"
CHANGES: Final = (*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT)


# --- mv and cp ----------------------------------------------------------------------------------


def _pair_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_argument("sources", nargs="+", metavar="SOURCE", help="what")
    target = parser.add_argument(
        "target", metavar="TARGET", help="new name, or the directory to put it in"
    )
    offering(sources, Offer.REMOTE)
    offering(target, Offer.REMOTE)
    parser.add_argument("-f", "--force", action="store_true", help="a file may replace a file")


def _cp_arguments(parser: argparse.ArgumentParser) -> None:
    _pair_arguments(parser)
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all below"
    )


def _mv(context: Context) -> int:
    target, sources = _target_and_sources(context)
    with context.out.table(columns=1) as table:
        for source in sources:
            with context.going_on():
                status = context.client.move(source, target, overwrite=context.args.force)
                table.silent_row({"source": source, "target": status.path})
                context.out.detail(f"{source} -> {status.path}")
    return context.code()


def _cp(context: Context) -> int:
    target, sources = _target_and_sources(context)
    with context.out.table(columns=1) as table:
        for source in sources:
            with context.going_on():
                status = context.client.copy(
                    source, target, recursive=context.args.recursive, overwrite=context.args.force
                )
                table.silent_row({"source": source, "target": status.path})
                context.out.detail(f"{source} -> {status.path}")
    return context.code()


def _target_and_sources(context: Context) -> tuple[str, list[str]]:
    """Where to and what; several sources, or a target written with a slash, need a directory."""
    sources = list(context.remotes(context.args.sources))
    target = context.remote(context.args.target)
    if len(sources) > 1 or context.args.target.endswith("/"):
        need_directory(context, target)
    return target, sources


def need_directory(context: Context, path: str) -> None:
    """Refuse a target that is no directory.

    Raises:
        NotADirectory, PathNotFound: it is a file, or nothing.
    """
    try:
        status = context.client.stat(path)
    except PathNotFound as exc:
        raise PathNotFound(
            f"no such directory: {path}", hint=f"make it first with: dfs mkdir -p {path}"
        ) from exc
    if status.kind is not InodeKind.DIRECTORY:
        raise NotADirectory(f"not a directory: {path}")


# --- rm, undelete, trash ------------------------------------------------------------------------


def _rm_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="what to remove")
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all below"
    )
    parser.add_argument("-f", "--force", action="store_true", help="what is not there is no error")
    parser.add_argument(
        "--skip-trash",
        "-skipTrash",
        action="store_true",
        help="free the room at once; there is no way back",
    )


def _rm(context: Context) -> int:
    args = context.args
    paths = list(context.remotes(args.paths))
    from dfs.wire.files_api import RemoveRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import REMOVE  # noqa: PLC0415

    outcomes = context.outcomes_of(
        REMOVE,
        paths,
        lambda some: RemoveRequest(
            paths=some, recursive=args.recursive, skip_trash=args.skip_trash
        ),
    )
    with context.out.table(columns=1) as table:
        for path, removed in outcomes:
            if isinstance(removed, DfsError):
                _note_unless_gone(context, removed)
                continue
            table.silent_row(removed)
            context.out.line(f"removed {path}{'' if args.skip_trash else _way_back(removed)}")
    return context.code()


def _way_back(removed: Removed) -> str:
    import shlex  # noqa: PLC0415 - start-up time

    until = render.local_time(removed.purge_ms)
    return f"; until {until} back with: dfs undelete {shlex.quote(removed.path)}"


def _note_unless_gone(context: Context, error: DfsError) -> None:
    if not (context.args.force and isinstance(error, PathNotFound)):
        context.note(error)


def _undelete_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="*", help="what was removed; the newest of that path")
    parser.add_argument(
        "--entry", type=int, metavar="N", help="exactly that line of dfs trash, not the newest"
    )
    target = parser.add_argument("--to", metavar="TARGET", help="bring it back under another name")
    offering(target, Offer.REMOTE)


def _undelete(context: Context) -> int:
    args = context.args
    if bool(args.paths) == (args.entry is not None):
        raise BadRequest("name either paths or --entry N", hint="see: dfs trash")
    target = context.remote(args.to) if args.to else ""
    if target and len(args.paths) > 1:
        raise BadRequest("--to brings back one thing at a time")
    with context.out.table(columns=1) as table:
        for path in args.paths or [""]:
            with context.going_on():
                status = context.client.undelete(
                    context.remote(path) if path else "", entry=args.entry, target=target
                )
                table.silent_row(render.status_json(status))
                context.out.line(f"back: {status.path}")
    return context.code()


def _trash_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "below", nargs="?", help="only what was below (default: everything)")
    parser.add_argument("-h", dest="human", action="store_true", help="sizes as 1.5 GiB")
    parser.add_argument(
        "-n", "--limit", type=count_argument, metavar="N", default=1000, help="newest N (1000)"
    )


def _trash(context: Context) -> int:
    args = context.args
    below = context.remote(args.below) if args.below else "/"
    headings = ("ENTRY", "REMOVED", "BY", "KEPT UNTIL", "SIZE", "PATH")
    with context.out.table(headings, right=(0, 4)) as table:
        for at, entry in enumerate(context.client.trash(below)):
            if at == args.limit:
                context.out.note(f"the newest {args.limit} are shown; more with --limit")
                break
            slash = "/" if entry.kind == InodeKind.DIRECTORY.value else ""
            table.row(
                entry,
                str(entry.entry),
                render.local_time(entry.removed_ms),
                entry.removed_by,
                render.local_time(entry.purge_ms),
                render.NOTHING if slash else render.size(entry.size_bytes, human=args.human),
                entry.path + slash,
            )
    return EXIT_DONE


VERBS: Final = (
    Verb(
        name="mv",
        group=GROUP,
        summary="Move or rename",
        description="A target that is a directory takes the sources inside it.  What exists is\n"
        "not replaced without -f.",
        arguments=_pair_arguments,
        run=_mv,
        examples=(
            Example("dfs mv draft.txt final.txt", "rename"),
            Example("dfs mv '*.csv' /data/", "move matching files into a directory"),
        ),
        exits=CHANGES,
    ),
    Verb(
        name="cp",
        group=GROUP,
        summary="Copy within DFS; no bytes move",
        description="The copy shares the blocks of the original, so it takes no time and no room.",
        arguments=_cp_arguments,
        run=_cp,
        examples=(Example("dfs cp -r /data/2026 /backup/", "a whole directory, at once"),),
        exits=CHANGES,
    ),
    Verb(
        name="rm",
        group=GROUP,
        summary="Remove files and directories, into the trash",
        description="What was removed can be brought back until the trash is emptied of it.",
        arguments=_rm_arguments,
        run=_rm,
        examples=(
            Example("dfs rm old.txt", "a file"),
            Example("dfs rm -r /data/2020", "a directory with all below"),
        ),
        exits=CHANGES,
    ),
    Verb(
        name="undelete",
        group=GROUP,
        summary="Bring back what was removed",
        arguments=_undelete_arguments,
        run=_undelete,
        examples=(
            Example("dfs undelete old.txt", "the newest thing removed there"),
            Example("dfs undelete --entry 17 --to rescued.txt", "one line of dfs trash, renamed"),
        ),
        exits=CHANGES,
    ),
    Verb(
        name="trash",
        group=GROUP,
        may_be_stale=True,
        summary="List what was removed and can come back",
        arguments=_trash_arguments,
        run=_trash,
        examples=(Example("dfs trash /data", "what was removed below /data"),),
        human_flag=True,
    ),
)
