"""`dfs-admin fsck`: how well every file is kept, page by page; and the metadata's own rules.

Read-only.  What is not healthy is named with its blocks, nodes, states and the reason.  The
cluster's own canaries are shown apart: they are broken on purpose and never spoil the exit code.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest
from dfs.base.ids import NodeId, node_name
from dfs.base.units import format_size
from dfs.cli import render
from dfs.cli.arguments import remote_paths
from dfs.cli.verbs import Context, Example, Verb
from dfs.observe.exit_codes import (
    EXIT_CORRUPT,
    EXIT_DENIED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_FOUND,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)

if TYPE_CHECKING:
    from dfs.wire.check_api import BlockCheck, FileCheck, FsckReply, FsckTotals

GROUP: Final = "integrity"
WELL: Final = frozenset({"healthy", "excess"})
LOST: Final = frozenset({"missing", "corrupt", "disputed"})
# The worst first; every health of `dfs.blocks.redundancy.BlockHealth`.
ORDER: Final = (
    "missing",
    "corrupt",
    "disputed",
    "away",
    "under_replicated",
    "misplaced",
    "excess",
    "healthy",
)


class Sum:
    """The totals of all pages."""

    def __init__(self) -> None:
        self.files = self.directories = self.size_bytes = self.blocks = self.bad_copies = 0
        self.files_by_health: Counter[str] = Counter()
        self.blocks_by_health: Counter[str] = Counter()

    def add(self, totals: FsckTotals) -> None:
        """Count a page."""
        self.files += totals.files
        self.directories += totals.directories
        self.size_bytes += totals.size_bytes
        self.blocks += totals.blocks
        self.bad_copies += totals.bad_copies
        self.files_by_health.update(totals.files_by_health)
        self.blocks_by_health.update(totals.blocks_by_health)

    @property
    def ill(self) -> int:
        """Files that are not well."""
        return sum(n for health, n in self.files_by_health.items() if health not in WELL)

    def exit_code(self) -> int:
        """7 when data is missing or bad, 1 when it is whole but less safe than wanted."""
        if any(self.blocks_by_health[health] for health in LOST):
            return EXIT_CORRUPT
        return EXIT_FAILED if self.ill else EXIT_DONE

    def json(self) -> dict[str, render.Json]:
        """For programs: every health is there, also where nothing is so."""
        return {
            "files": self.files,
            "directories": self.directories,
            "size_bytes": self.size_bytes,
            "blocks": self.blocks,
            "bad_copies": self.bad_copies,
            "files_by_health": {health: self.files_by_health[health] for health in ORDER},
            "blocks_by_health": {health: self.blocks_by_health[health] for health in ORDER},
        }


def _arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "path", nargs="?", help="a file, or everything below a directory (/)")
    parser.add_argument("--files", action="store_true", help="name files that are well, too")
    parser.add_argument("--blocks", action="store_true", help="name blocks that are well, too")
    parser.add_argument(
        "--locations", action="store_true", help="show when each copy was last verified, too"
    )
    parser.add_argument(
        "--metadata", action="store_true", help="check the rules of the metadata instead"
    )


def _fsck(context: Context) -> int:
    if context.args.metadata:
        _require_nothing_else(context.args)
        return _metadata(context)
    path = context.remote(context.args.path) if context.args.path else "/"
    usual, reserved = Sum(), Sum()
    last: FsckReply | None = None
    screen = _Screen(context, path)
    with screen:
        for reply in _pages(context, path):
            usual.add(reply.totals)
            reserved.add(reply.reserved)
            screen.page(reply.files, usual)
            last = reply
    assert last is not None
    screen.end(usual, reserved, last)
    return usual.exit_code()


def _require_nothing_else(args: argparse.Namespace) -> None:
    """Refuse what would be ignored.

    Raises:
        BadRequest: a path, or how to show files, with --metadata.
    """
    shown = (("--files", args.files), ("--blocks", args.blocks), ("--locations", args.locations))
    given = [args.path] if args.path else [flag for flag, is_given in shown if is_given]
    if given:
        raise BadRequest(
            f"--metadata checks all of the NameNode's tables: {given[0]} does not go with it",
            hint="dfs-admin fsck --metadata, or dfs-admin fsck PATH without --metadata",
        )


def _pages(context: Context, path: str) -> Iterator[FsckReply]:
    from dfs.wire.check_api import FsckRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import FSCK  # noqa: PLC0415

    args, cursor = context.args, ""
    while True:
        healthy = args.files or (args.blocks and bool(args.path))
        request = FsckRequest(path=path, cursor=cursor, healthy=healthy, blocks=args.blocks)
        reply = context.call(FSCK, request)
        yield reply
        cursor = reply.next
        if not cursor:
            return


class _Screen:
    """What is printed while pages arrive: lines for people, one growing document for programs."""

    def __init__(self, context: Context, path: str) -> None:
        self._context = context
        self._out = context.out
        self._path = path
        self._listed = 0
        self._begun = False
        self._counting = context.out.wants_progress
        self._so_far = Sum()

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, failure: type[BaseException] | None, *unused: object) -> None:
        """A page that could not be had ends the document: it stays one, and says so."""
        self._wipe()
        is_document = self._begun and self._out.as_json and not self._out.quiet
        if failure is not None and is_document and not issubclass(failure, OSError):
            self._close({"complete": False, "totals": self._so_far.json()})

    def _close(self, rest: dict[str, render.Json]) -> None:
        lines = json.dumps(rest, ensure_ascii=False, indent=2)[1:]
        self._out.stdout.write(f"\n],{lines}\n")

    def page(self, files: list[FileCheck], so_far: Sum) -> None:
        """More files."""
        self._wipe()
        if not self._begun and self._out.as_json and not self._out.quiet:
            self._out.stdout.write(f'{{"path": {json.dumps(self._path)}, "files": [')
        self._so_far = so_far
        self._begun = True  # a path that is refused leaves no half of a document
        for file in files:
            self._file(file)
        if self._counting:
            counted = render.count(so_far.files, "file"), render.count(so_far.blocks, "block")
            said = f"fsck: {', '.join(counted)}, {so_far.ill:,} not well"
            self._out.stderr.write(f"\r\x1b[K{said}")
            self._out.stderr.flush()

    def _wipe(self) -> None:
        if self._counting:
            self._out.stderr.write("\r\x1b[K")
            self._out.stderr.flush()

    def _file(self, file: FileCheck) -> None:
        self._listed += 1
        if self._out.as_json:
            if not self._out.quiet:
                self._out.stdout.write(",\n" if self._listed > 1 else "\n")
                self._out.stdout.write(json.dumps(render.to_json(file), ensure_ascii=False))
            return
        words = "reserved, " if file.reserved else ""
        self._out.line(f"{file.path}: {words}{_plain(file.health)}")
        for block in file.blocks:
            self._block(block)

    def _block(self, block: BlockCheck) -> None:
        where = f"block {block.block} generation {block.generation} at {block.file_offset}"
        size = format_size(block.length_bytes)
        self._out.line(f"    {where}, {size}: {_plain(block.health)}: {block.reason}")
        for copy in block.copies:
            gone = copy.node_state or "removed"
            words = f"{node_name(NodeId(copy.node))} ({gone}): {copy.state}, {copy.place}"
            if self._context.args.locations:
                words += f"; verified {render.local_time(copy.verified_ms)}"
            self._out.line(f"        {words}")

    def end(self, usual: Sum, reserved: Sum, last: FsckReply) -> None:
        """The totals."""
        if self._out.as_json:
            if not self._out.quiet:
                rest: dict[str, render.Json] = {
                    "complete": True,
                    "totals": usual.json(),
                    "reserved": reserved.json(),
                    "under_construction": last.under_construction,
                    "strays": last.strays,
                }
                self._close(rest)
            return
        if self._listed:
            self._out.line()
        for line in self._summary(usual, reserved, last):
            self._out.line(line)

    def _summary(self, usual: Sum, reserved: Sum, last: FsckReply) -> Iterator[str]:
        directories = (
            f" {render.count(usual.directories, 'directory', 'directories')},"
            if usual.directories
            else ""
        )
        yield (
            f"{self._path}: {render.count(usual.files, 'file')},{directories}"
            f" {render.count(usual.blocks, 'block')}, {format_size(usual.size_bytes)}"
        )
        for health in ORDER:
            files, blocks = usual.files_by_health[health], usual.blocks_by_health[health]
            if files or blocks or health == "healthy":
                yield (
                    f"  {_plain(health) + ':':<18}{render.count(blocks, 'block')},"
                    f" {render.count(files, 'file')}"
                )
        if usual.bad_copies:
            yield f"  bad copies known: {usual.bad_copies:,}"
        if last.under_construction:
            yield f"  being written: {render.count(last.under_construction, 'file')} (no name yet)"
        if last.strays:
            yield f"  strays: {render.count(last.strays, 'block file')} that are copies of nothing"
        if reserved.blocks:
            healths = ", ".join(f"{_plain(h)} {n}" for h, n in reserved.blocks_by_health.items())
            yield f"  reserved (canaries, broken on purpose): {healths}"
        yield f"{self._path} is {self._verdict(usual)}"

    def _verdict(self, usual: Sum) -> str:
        match usual.exit_code():
            case 0:
                return "healthy"
            case 1:
                return "whole, but less safe than wanted; see: dfs-admin repair status"
            case _:
                return "NOT whole; see: dfs-admin explain repair PATH, docs/recover.md"


def _plain(health: str) -> str:
    return health.replace("_", "-")


# ---- the metadata


def _metadata(context: Context) -> int:
    from dfs.wire.check_api import InvariantRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import INVARIANTS  # noqa: PLC0415

    known = context.call(INVARIANTS, InvariantRequest()).invariants
    broken = 0
    with context.out.table(("RULE", "STATE", "SAYS")) as table:
        for each in known:
            violations = list(_violations(context, each.number))
            broken += bool(violations)
            state = f"BROKEN {len(violations):,}x" if violations else "holds"
            table.row(
                {"number": each.number, "rule": each.rule, "violations": violations},
                each.number,
                state,
                each.rule,
            )
            for words in violations if context.out.text else ():
                table.row(None, "", "", words)
    if broken:
        context.out.note(
            f"{render.count(broken, 'rule')} broken: keep a copy of the NameNode's folder before"
            " anything else; see docs/recover.md"
        )
    return EXIT_CORRUPT if broken else EXIT_DONE


def _violations(context: Context, number: str) -> Iterator[str]:
    from dfs.wire.check_api import InvariantRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import INVARIANTS  # noqa: PLC0415

    after = 0
    while True:
        reply = context.call(INVARIANTS, InvariantRequest(number=number, after=after))
        yield from reply.violations
        if not reply.next:
            return
        after = reply.next


VERBS: Final = (
    Verb(
        name="fsck",
        group=GROUP,
        summary="Check how well files are kept, and name those that are not",
        description="Read-only. Names every file that has not all it should have, with its\n"
        "blocks, the nodes, what state their copies are in, and the reason. What the cluster\n"
        "breaks on purpose (canaries) is shown apart and does not count. A block that files share\n"
        "- a pack of small files, or one of dfs cp - counts in each of them.",
        arguments=_arguments,
        run=_fsck,
        examples=(
            Example("dfs-admin fsck", "every file; nothing but totals when all is well"),
            Example("dfs-admin fsck /data --files --blocks --locations", "all that is known"),
            Example("dfs-admin fsck --json", "for programs"),
            Example("dfs-admin fsck --metadata", "the NameNode's own tables"),
        ),
        own_exits=(
            (EXIT_DONE, "healthy"),
            (EXIT_FAILED, "whole, but something has fewer copies than wanted, or waits for nodes"),
            (EXIT_USAGE, "the command line or its input is wrong"),
            (EXIT_NOT_FOUND, "no such path"),
            (EXIT_DENIED, "not permitted, or not logged in"),
            (EXIT_UNAVAILABLE, "the cluster, or a part that is needed, is unavailable"),
            (EXIT_CORRUPT, "data is missing, corrupt or disputed; or a rule is broken"),
        ),
    ),
)
