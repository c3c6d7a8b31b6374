"""Verbs that carry files between this computer and DFS: put, get."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, LocalNotFound
from dfs.cli import render
from dfs.cli.arguments import Offer, count_argument, offering, size_argument
from dfs.cli.errors import error_json
from dfs.cli.file_commands import GROUP, READS, write_files
from dfs.cli.name_commands import CHANGES, need_directory
from dfs.cli.verbs import Context, Example, Verb
from dfs.observe.exit_codes import EXIT_FAILED, EXIT_USAGE

if TYPE_CHECKING:
    from dfs.cli.watch import Watch
    from dfs.client import GetOptions, PutOptions, TransferReport

STREAM: Final = "-"


# --- put ----------------------------------------------------------------------------------------


def _put_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_argument(
        "sources", nargs="+", metavar="LOCAL", help="files or directories; - is standard input"
    )
    target = parser.add_argument(
        "target", metavar="REMOTE", help="new name, or the directory to put them in"
    )
    offering(sources, Offer.LOCAL)
    offering(target, Offer.LOCAL_OR_REMOTE)
    _transfer_arguments(parser)
    parser.add_argument(
        "--replication", type=count_argument, metavar="N", help="copies (the cluster's default)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave out what is there and the same; go on with what was cut short",
    )
    parser.add_argument(
        "--fan-out",
        action="store_true",
        help="send each copy from here, instead of letting DataNodes pass it on",
    )
    parser.add_argument(
        "--no-pack",
        action="store_true",
        help="give every small file a block of its own, instead of one to many",
    )
    parser.add_argument(
        "--block-size", type=size_argument, metavar="SIZE", help="where files are cut: 64MiB"
    )


def _transfer_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="directories with all below"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace files that exist")
    parser.add_argument("--jobs", type=count_argument, metavar="N", help="files moved at once")


def _put(context: Context) -> int:
    from pathlib import Path  # noqa: PLC0415 - start-up time

    from dfs.cli.progress import watching  # noqa: PLC0415 - start-up time

    sources, target = context.args.sources, context.remote(context.args.target)
    if len(sources) > 1 or context.args.target.endswith("/"):
        need_directory(context, target)
    with watching(context, "put") as watch:
        if STREAM in sources:
            report = _put_stream(context, sources, target, watch)
        else:
            report = context.mover.put(
                [Path(source) for source in sources],
                target,
                options=_put_options(context),
                progress=watch,
            )
    return _conclude(context, watch, report)


def _put_stream(
    context: Context, sources: Sequence[str], target: str, watch: Watch
) -> TransferReport:
    if len(sources) > 1:
        raise BadRequest("standard input (-) goes to one file, alone")
    return context.mover.put_stream(
        context.stdin.buffer, target, options=_put_options(context), progress=watch
    )


def _put_options(context: Context) -> PutOptions:
    from dfs.client import PutOptions  # noqa: PLC0415 - start-up time

    args = context.args
    return PutOptions(
        recursive=args.recursive,
        overwrite=args.force,
        replication=args.replication,
        block_size_bytes=args.block_size,
        jobs=args.jobs,
        resume=args.resume,
        write_mode="fan-out" if args.fan_out else None,
        pack=not args.no_pack,
    )


# --- get ----------------------------------------------------------------------------------------


def _get_arguments(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_argument(
        "sources", nargs="+", metavar="REMOTE", help="files or directories"
    )
    target = parser.add_argument(
        "target", metavar="LOCAL", help="new name, or the directory to put them in; - is stdout"
    )
    offering(sources, Offer.REMOTE)
    offering(target, Offer.LOCAL_OR_REMOTE)
    _transfer_arguments(parser)


def _get(context: Context) -> int:
    from pathlib import Path  # noqa: PLC0415 - start-up time

    from dfs.cli.progress import watching  # noqa: PLC0415 - start-up time

    sources = list(context.remotes(context.args.sources))
    if context.args.target == STREAM:
        return _get_stream(context, sources)
    if not sources:
        return context.code()
    target = Path(context.args.target)
    if (len(sources) > 1 or context.args.target.endswith("/")) and not target.is_dir():
        raise LocalNotFound(f"no such local directory: {target}", hint="make it first")
    with watching(context, "get") as watch:
        report = context.mover.get(sources, target, options=_get_options(context), progress=watch)
    return _conclude(context, watch, report)


def _get_stream(context: Context, sources: Sequence[str]) -> int:
    sink = context.out.bytes_out()
    write_files(context, sources, sink)
    sink.flush()
    return context.code()


def _get_options(context: Context) -> GetOptions:
    from dfs.client import GetOptions  # noqa: PLC0415 - start-up time

    args = context.args
    return GetOptions(recursive=args.recursive, overwrite=args.force, jobs=args.jobs)


# --- what both end with -------------------------------------------------------------------------


def _conclude(context: Context, watch: Watch, report: TransferReport) -> int:
    """Failures not said yet, one line or one document, and the code of the first failure."""
    for path, error in report.failed:
        if path not in report.homeless:  # those were said in one line
            watch.fail(path, error)
    from dfs.cli.progress import report_line  # noqa: PLC0415 - start-up time

    context.out.document(_report_json(watch, report))
    if report.files or report.skipped or report.directories or not report.failed:
        context.out.line(report_line(watch, report))
    if report.owed:
        context.out.note(
            f"{render.count(report.owed, 'copy', 'copies')} owed: fewer DataNodes took part than "
            "copies are wanted; they are made when there is room"
        )
    return _code(context, report)


def _code(context: Context, report: TransferReport) -> int:
    """The code of the first failure; a name in a tree that cannot be is no wrong command line."""
    code = context.code()
    is_partial = report.files or report.directories or report.skipped
    return EXIT_FAILED if code == EXIT_USAGE and is_partial else code


def _report_json(watch: Watch, report: TransferReport) -> render.Json:
    return {
        "files": report.files,
        "directories": report.directories,
        "size_bytes": report.size_bytes,
        "skipped": report.skipped,
        "owed": report.owed,
        "seconds": round(watch.elapsed_s, 3),
        "failed": [{"path": path, **error_json(error)} for path, error in report.failed],
    }


VERBS: Final = (
    Verb(
        name="put",
        group=GROUP,
        summary="Copy local files and directories into DFS",
        description="A file appears under its name when all of it is stored and proved, never\n"
        "before.  What exists is not replaced without -f.\n\n"
        "A directory goes into REMOTE where that is one already, as with cp; DIR/. stands for\n"
        "what is in it, and means the same place each time the line is given again.\n"
        "Links to files go in as the files they name, other links are passed over with a note.\n"
        "--resume takes a file that is there with this size and time for this file.",
        arguments=_put_arguments,
        run=_put,
        examples=(
            Example("dfs put report.pdf /data/", "a file into a directory"),
            Example("dfs put -r --resume photos/. /photos", "a tree; go on where it was cut short"),
            Example("tar c src | dfs put - src.tar", "a stream"),
        ),
        exits=(*CHANGES, EXIT_FAILED),
    ),
    Verb(
        name="get",
        group=GROUP,
        may_be_stale=True,
        summary="Copy files and directories out of DFS",
        description="Every byte is verified; a local file appears when all of it is there.  What\n"
        "exists is not replaced without -f.",
        arguments=_get_arguments,
        run=_get,
        examples=(
            Example("dfs get /data/report.pdf .", "a file, here"),
            Example("dfs get -r /backup/photos ~/", "a tree"),
            Example("dfs get big.tar - | tar x", "a stream"),
        ),
        exits=(*READS, EXIT_FAILED),
    ),
)
