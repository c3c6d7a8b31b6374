"""Verbs that change attributes: chmod, chown, setrep, touch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from dfs.base.errors import BadRequest, DfsError, PathNotFound, WaitTimedOut
from dfs.base.states import InodeKind
from dfs.base.units import format_size
from dfs.cli import render
from dfs.cli.arguments import count_argument, duration_argument, remote_paths
from dfs.cli.find_command import time_ms
from dfs.cli.modes import ModeChange, parse_mode
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.base.records import FileStatus
    from dfs.wire.files_api import Touched
    from dfs.wire.repair_api import CopiesOf
    from dfs.wire.routes import Route
    from dfs.wire.shapes import Outcomes, Request

    Q = TypeVar("Q", bound=Request)

GROUP: Final = "attributes"
CHANGES: Final = (*ONLINE, EXIT_NOT_FOUND)
WAIT_DEFAULT_S: Final = 600.0
POLL_FIRST_S: Final = 0.25
POLL_CAP_S: Final = 5.0


# --- chmod and chown ----------------------------------------------------------------------------


def _chmod_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mode", metavar="MODE", help="640, 1777, u+x, go-w, a=rX")
    _recursive_paths(parser)


def _recursive_paths(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files or directories")
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="and everything below directories"
    )


def _chmod(context: Context) -> int:
    change = parse_mode(context.args.mode)
    paths = list(context.remotes(context.args.paths))
    if change.fixed is not None:
        return _chmod_fixed(context, paths, change.fixed, recursive=context.args.recursive)
    return _chmod_symbolic(context, paths, change)


def _chmod_fixed(context: Context, paths: Sequence[str], mode: int, *, recursive: bool) -> int:
    from dfs.wire.files_api import ChmodRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import CHMOD  # noqa: PLC0415

    return _touch_all(
        context,
        CHMOD,
        paths,
        lambda some: ChmodRequest(paths=some, mode=mode, recursive=recursive),
    )


def _chmod_symbolic(context: Context, paths: Sequence[str], change: ModeChange) -> int:
    """What the mode becomes depends on what it is: looked up first, then set by equal results."""
    wanted: dict[int, list[str]] = {}
    for path in paths:
        with context.going_on():
            for status in _with_below(context, path):
                directory = status.kind is InodeKind.DIRECTORY
                mode = change.apply(status.mode, directory=directory)
                if mode != status.mode:
                    wanted.setdefault(mode, []).append(status.path)
    for mode, same in sorted(wanted.items()):
        # Deepest first: a directory that loses its x must not shut the way to what is below.
        _chmod_fixed(context, sorted(same, key=_depth, reverse=True), mode, recursive=False)
    return context.code()


def _depth(path: str) -> int:
    return path.count("/")


def _with_below(context: Context, path: str) -> Iterator[FileStatus]:
    status = context.client.stat(path)
    yield status
    if context.args.recursive and status.kind is InodeKind.DIRECTORY:
        yield from context.client.walk(path)


def _touch_all(
    context: Context,
    route: Route[Q, Outcomes[Touched]],
    paths: Sequence[str],
    request: Callable[[list[str]], Q],
) -> int:
    with context.out.table(columns=1) as table:
        for path, touched in context.ask_many(route, paths, request):
            table.silent_row(touched)
            context.out.detail(f"{path}: {render.count(touched.changed, 'change')}")
    return context.code()


def _chown_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("owner", metavar="OWNER[:GROUP]", help="alice, alice:staff or :staff")
    _recursive_paths(parser)


def _chown(context: Context) -> int:
    from dfs.wire.files_api import ChownRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import CHOWN  # noqa: PLC0415

    owner, _, group = context.args.owner.partition(":")
    if not owner and not group:
        raise BadRequest(f"neither owner nor group: {context.args.owner!r}")
    return _touch_all(
        context,
        CHOWN,
        list(context.remotes(context.args.paths)),
        lambda some: ChownRequest(
            paths=some, owner=owner, group=group, recursive=context.args.recursive
        ),
    )


# --- setrep -------------------------------------------------------------------------------------


def _setrep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("copies", metavar="COPIES", type=count_argument, help="how many")
    _recursive_paths(parser)
    parser.add_argument(
        "-w", "--wait", action="store_true", help="return when every block has exactly its copies"
    )
    parser.add_argument(
        "--timeout",
        type=duration_argument,
        default=WAIT_DEFAULT_S,
        metavar="TIME",
        help="give up waiting after this long (10m); exit code 6",
    )


def _setrep(context: Context) -> int:
    from dfs.wire.files_api import SetrepRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import SETREP  # noqa: PLC0415

    args = context.args
    paths = list(context.remotes(args.paths))
    _touch_all(
        context,
        SETREP,
        paths,
        lambda some: SetrepRequest(paths=some, replication=args.copies, recursive=args.recursive),
    )
    if context.first_failure is None:
        in_service = context.client.df().nodes_in_service
        if args.copies > in_service:
            context.out.note(_too_few_words(args.copies, in_service))
        if args.wait:
            _await_copies(context, paths, in_service)
    return context.code()


def _too_few_words(copies: int, in_service: int) -> str:
    return (
        f"{render.count(copies, 'copy', 'copies')} wanted,"
        f" {render.count(in_service, 'DataNode')} in service: the rest is owed until more are, and"
        " shown as under-replicated (dfs-admin repair status)"
    )


def _await_copies(context: Context, paths: Sequence[str], in_service: int) -> None:
    """Ask again until every block has exactly its copies, none short and none too many.

    Raises:
        WaitTimedOut: some had not when the time was up, or there are too few DataNodes for it.
    """
    from dfs.cli.job_progress import following  # noqa: PLC0415 - start-up time

    waiting = [s.path for path in paths for s in _with_below(context, path) if _is_file(s)]
    files, clock, rest_s = len(waiting), context.clock, POLL_FIRST_S
    give_up_s = clock.monotonic_s() + context.args.timeout
    most = 0
    with following(context, "setrep") as progress:
        while unlike := dict(_unlike(context, waiting)):
            waiting = list(unlike)
            first, found = next(iter(unlike.items()))
            if context.args.copies > in_service:
                raise WaitTimedOut(
                    f"not waited for: {render.count(in_service, 'DataNode')} in service cannot hold"
                    f" {context.args.copies} copies of {first}",
                    hint="the number is set and what lacks is owed; let more DataNodes join",
                )
            if clock.monotonic_s() >= give_up_s:
                raise WaitTimedOut(
                    f"{render.count(len(waiting), 'file')} without exactly "
                    f"{context.args.copies} copies yet, first: {first} ({found.reason})"
                )
            left = sum(each.short + each.extra for each in unlike.values())
            most = max(most, left)
            owed = format_size(sum(each.owed_bytes for each in unlike.values()))
            share = 1 - left / most if most else 0.0
            words = f"{len(waiting):,} of {render.count(files, 'file')} to go, {owed} to copy"
            progress.show(share, f"{words}; {found.reason}" if found.reason else words)
            clock.sleep(rest_s)
            rest_s = min(rest_s * 2, POLL_CAP_S)


def _is_file(status: FileStatus) -> bool:
    return status.kind is InodeKind.FILE


def _unlike(context: Context, paths: Sequence[str]) -> Iterator[tuple[str, CopiesOf]]:
    """Those of the files that have blocks with other copies than they should."""
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import COPIES  # noqa: PLC0415

    def request(some: list[str]) -> PathsRequest:
        return PathsRequest(paths=some)

    for path, found in context.outcomes_of(COPIES, paths, request):
        if isinstance(found, PathNotFound):
            continue  # removed meanwhile: nothing to wait for
        if isinstance(found, DfsError):
            raise found
        if found.short or found.extra:
            yield path, found


# --- touch --------------------------------------------------------------------------------------


def _touch_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files or directories")
    parser.add_argument(
        "-c", "--no-create", action="store_true", help="leave out what is not there"
    )
    parser.add_argument("-d", "--date", metavar="TIME", help="that time instead of now")


def _touch(context: Context) -> int:
    at_ms = time_ms(context.args.date) if context.args.date else context.clock.now_ms()
    with context.out.table(columns=1) as table:
        for path in context.remotes(context.args.paths):
            with context.going_on():
                status = _touched(context, path, at_ms)
                if status is not None:
                    table.silent_row(render.status_json(status))
    return context.code()


def _touched(context: Context, path: str, at_ms: int) -> FileStatus | None:
    try:
        return context.client.touch(path, at_ms)
    except PathNotFound:
        if context.args.no_create:
            return None
    made = context.client.write_bytes(path, b"", overwrite=False)
    return context.client.touch(path, at_ms) if context.args.date else made


VERBS: Final = (
    Verb(
        name="chmod",
        group=GROUP,
        summary="Change who may read, write and enter",
        description="MODE is octal (640, 1777) or symbolic: who (u g o a), + - or =, what\n"
        "(r w x X t), as in u+x,go-w.  Write a-x rather than -x.",
        arguments=_chmod_arguments,
        run=_chmod,
        examples=(
            Example("dfs chmod 750 /data", "owner all, group read and enter, others nothing"),
            Example("dfs chmod -R go-w,a+rX /data", "symbolic, with everything below"),
        ),
        exits=CHANGES,
    ),
    Verb(
        name="chown",
        group=GROUP,
        summary="Change owner and group",
        arguments=_chown_arguments,
        run=_chown,
        examples=(
            Example("dfs chown -R alice:staff /data", "owner and group, with everything below"),
            Example("dfs chown :staff report.txt", "the group alone"),
        ),
        exits=CHANGES,
    ),
    Verb(
        name="setrep",
        group=GROUP,
        summary="Set how many copies there should be",
        description="Copies are made and dropped in the background; --wait waits for them, unless\n"
        "there are fewer DataNodes in service. What those cannot hold is owed until more join.",
        arguments=_setrep_arguments,
        run=_setrep,
        examples=(Example("dfs setrep -R --wait 3 /data", "three copies, and wait for them"),),
        exits=CHANGES,
    ),
    Verb(
        name="touch",
        group=GROUP,
        summary="Set modification times; make empty files",
        arguments=_touch_arguments,
        run=_touch,
        examples=(Example("dfs touch /data/_SUCCESS", "an empty file, or the time now"),),
        exits=(*CHANGES, EXIT_CONFLICT),
    ),
)
