"""Verbs that say what the cluster knows and proves of files: stat, locate, checksum, verify."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, BlockCorrupt, DataUnavailable, PeerUnreachable
from dfs.base.ids import node_name
from dfs.base.states import InodeKind, NodeState, ReplicaState
from dfs.base.units import format_size
from dfs.cli import render
from dfs.cli.arguments import Offer, offering, remote_paths
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CORRUPT, EXIT_FAILED, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.base.records import FileStatus, Holder, LocatedExtent, LocatedFile
    from dfs.cli.output import Table
    from dfs.client import ReplicaVerdict

GROUP: Final = "proof"
LOOKS: Final = (*ONLINE, EXIT_NOT_FOUND)
BAD_COPIES_HINT: Final = "bad copies are not read; see what is left with: dfs locate PATH"


# --- stat ---------------------------------------------------------------------------------------


def _paths_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files or directories")


def _files_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files")


def _stat(context: Context) -> int:
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import STAT  # noqa: PLC0415

    paths = list(context.remotes(context.args.paths))
    asked = context.ask_many(STAT, paths, lambda some: PathsRequest(paths=some))
    with context.out.table(columns=1) as table:
        for at, (_, status) in enumerate(asked):
            table.silent_row(render.status_json(status))
            if at:
                context.out.line()
            for line in stat_lines(status):
                context.out.line(line)
    return context.code()


def stat_lines(status: FileStatus) -> list[str]:
    """A file or directory, one fact a line."""
    facts = [
        ("path", status.path),
        ("kind", status.kind.value),
        ("owner", f"{status.owner}:{status.group}"),
        ("mode", f"{status.mode:04o} {render.permissions(status.mode)}"),
    ]
    if status.kind is not InodeKind.DIRECTORY:
        short = f" ({format_size(status.size_bytes)})" if status.size_bytes >= 1024 else ""
        facts += [
            ("size", f"{status.size_bytes} bytes{short}"),
            ("copies", f"{status.replication} wanted"),
            ("block size", format_size(status.block_size_bytes)),
            ("checksum", status.checksum.hex()),
        ]
    facts += [
        ("modified", render.local_time_exact(status.modified_ms)),
        ("changed", render.local_time_exact(status.changed_ms)),
        ("inode", f"{status.inode}, version {status.version}"),
    ]
    return [f"{name + ':':<12}{value}" for name, value in facts]


# --- locate -------------------------------------------------------------------------------------


def _locate(context: Context) -> int:
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import LOCATE  # noqa: PLC0415

    paths = list(context.remotes(context.args.paths))
    documents: list[render.Json] = []
    for path, located in context.ask_many(LOCATE, paths, lambda some: PathsRequest(paths=some)):
        if context.out.as_json:
            documents.append(_located_json(located))
        else:
            _print_located(context, located)
        _note_unreadable(context, path, located)
    context.out.document(documents)
    return context.code()


def _print_located(context: Context, located: LocatedFile) -> None:
    status = located.status
    blocks = render.count(len(located.extents), "block")
    context.out.line(
        f"{status.path}: {format_size(status.size_bytes)}, {blocks}, "
        f"{render.count(status.replication, 'copy', 'copies')} wanted"
    )
    headings = ("#", "OFFSET", "LENGTH", "BLOCK", "GENERATION", "HELD BY")
    with context.out.table(headings if located.extents else (), right=range(5)) as table:
        for number, extent in enumerate(located.extents):
            table.row(
                None,
                str(number),
                str(extent.file_offset),
                str(extent.length_bytes),
                str(extent.truth.block),
                str(extent.truth.generation),
                ", ".join(map(_holder_text, extent.holders)) or "NOBODY",
            )


def _holder_text(holder: Holder) -> str:
    """``dn-3`` when all is well, else with what is not."""
    troubles = [
        str(word)
        for word in (holder.state, f"node {holder.node_state}")
        if word not in (ReplicaState.LIVE, f"node {NodeState.LIVE}")
    ]
    name = node_name(holder.address.node)
    return f"{name} ({', '.join(troubles)})" if troubles else name


def _located_json(located: LocatedFile) -> render.Json:
    """Without the tokens: they are the right to read, not a fact to keep in a log."""
    return {
        **render.status_json(located.status),
        "blocks": [_extent_json(number, extent) for number, extent in enumerate(located.extents)],
    }


def _extent_json(number: int, extent: LocatedExtent) -> render.Json:
    return {
        "number": number,
        "file_offset": extent.file_offset,
        "length_bytes": extent.length_bytes,
        "block_offset": extent.block_offset,
        "block": extent.truth.block,
        "generation": extent.truth.generation,
        "block_length_bytes": extent.truth.length_bytes,
        "hash": extent.truth.hash.hex(),
        "file": extent.name.file,
        "holders": [
            {
                "node": node_name(holder.address.node),
                "address": holder.address.grpc,
                "rack": holder.address.rack,
                "state": str(holder.state),
                "node_state": holder.node_state.value,
            }
            for holder in extent.holders
        ],
    }


def _note_unreadable(context: Context, path: str, located: LocatedFile) -> None:
    bare = [number for number, extent in enumerate(located.extents) if not _readable(extent)]
    if bare:
        context.note(
            DataUnavailable(
                f"{path}: no readable copy of {render.count(len(bare), 'block')}, "
                f"first: block {bare[0]}",
                hint="see which nodes are down with: dfs-admin nodes",
            )
        )


def _readable(extent: LocatedExtent) -> bool:
    return any(
        holder.state not in (ReplicaState.CORRUPT, ReplicaState.DISPUTED, ReplicaState.MISSING)
        and holder.node_state is not NodeState.DEAD
        for holder in extent.holders
    )


# --- checksum -----------------------------------------------------------------------------------


def _checksum_arguments(parser: argparse.ArgumentParser) -> None:
    remote_paths(parser, "paths", nargs="+", help="files; with --compare a directory too")
    local = parser.add_argument(
        "--compare",
        metavar="LOCAL",
        help="hash the local file or directory the same way, and say where they differ (exit 1)",
    )
    offering(local, Offer.LOCAL)


def _checksum(context: Context) -> int:
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import CHECKSUM  # noqa: PLC0415

    paths = list(context.remotes(context.args.paths))
    if context.args.compare is not None:
        if len(paths) != 1:
            raise BadRequest("--compare takes one path in DFS and one local")
        from dfs.cli.comparison import compare  # noqa: PLC0415 - start-up time

        return compare(context, paths[0], context.args.compare)
    asked = context.ask_many(CHECKSUM, paths, lambda some: PathsRequest(paths=some))
    with context.out.table(columns=2) as table:
        for path, found in asked:
            table.row(found, found.checksum.hex(), path)
    return context.code()


# --- verify -------------------------------------------------------------------------------------


def _verify(context: Context) -> int:
    tally = {"intact": 0, "unreached": 0, "BAD": 0}
    with context.out.table(("VERDICT", "NODE", "BLOCK", "PATH", "WHY")) as table:
        for path in context.remotes(context.args.paths):
            with context.going_on():
                for verdict in context.client.verify(path):
                    word = verdict_word(verdict)
                    tally[word] += 1
                    _verdict_row(context, table, verdict, word)
    summary = f"{render.count(sum(tally.values()), 'copy', 'copies')} asked for"
    if tally["BAD"]:
        context.note(BlockCorrupt(f"{summary}, {tally['BAD']} bad", hint=BAD_COPIES_HINT))
    if tally["unreached"]:
        context.note(PeerUnreachable(f"{summary}, {tally['unreached']} on nodes out of reach"))
    if context.first_failure is None:
        proved = f"{summary}, all read again and intact"
        context.out.line(
            proved if sum(tally.values()) else "nothing is stored there: no copy to read"
        )
    return context.code()


def verdict_word(verdict: ReplicaVerdict) -> str:
    """`intact`, `BAD`, or `unreached`: a copy nobody could ask about is neither."""
    if verdict.intact:
        return "intact"
    return "BAD" if verdict.reached else "unreached"


def _verdict_row(context: Context, table: Table, verdict: ReplicaVerdict, word: str) -> None:
    """Bad copies are always shown; intact ones to programs, or with --verbose."""
    if verdict.intact and not (context.out.as_json or context.out.verbose):
        return
    node = node_name(verdict.node) if verdict.node else render.NOTHING
    made = render.to_json(verdict)
    assert isinstance(made, dict)
    table.row(
        made | {"node": node},
        word,
        node,
        f"{verdict.number}: {verdict.block}.{verdict.generation}",
        verdict.path,
        verdict.reason,
    )


VERBS: Final = (
    Verb(
        name="stat",
        group=GROUP,
        may_be_stale=True,
        summary="Show everything known of files and directories",
        arguments=_paths_arguments,
        run=_stat,
        examples=(Example("dfs stat report.pdf", "size, owner, mode, checksum, times"),),
        exits=LOOKS,
    ),
    Verb(
        name="locate",
        group=GROUP,
        may_be_stale=True,
        summary="Show the blocks of files and who holds them",
        description="A holder is shown with what is wrong with it, if anything.",
        arguments=_files_arguments,
        run=_locate,
        examples=(Example("dfs locate video.mkv", "each block with its DataNodes"),),
        exits=(*LOOKS, EXIT_CORRUPT),
    ),
    Verb(
        name="checksum",
        group=GROUP,
        may_be_stale=True,
        summary="Show checksums of files, or compare with local ones",
        description="The checksum is xxh3_128 over the (length, xxh3_128) of the file's blocks.\n"
        "It was computed by the writer and proved by every holder; nothing is read now.",
        arguments=_checksum_arguments,
        run=_checksum,
        examples=(
            Example("dfs checksum big.iso", "one line a file, like sha256sum"),
            Example("dfs checksum --compare ./photos photos", "is the copy there the same?"),
        ),
        exits=(*LOOKS, EXIT_FAILED),
    ),
    Verb(
        name="verify",
        group=GROUP,
        summary="Have every copy read again from its disk and proved",
        description="Every DataNode that holds a part reads it and hashes it; only verdicts\n"
        "travel.  Bad copies are listed, intact ones with --verbose.",
        arguments=_paths_arguments,
        run=_verify,
        examples=(Example("dfs verify -v /data/ledger.db", "each copy with its verdict"),),
        exits=(*LOOKS, EXIT_CORRUPT),
    ),
)
