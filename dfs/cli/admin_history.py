"""`dfs-admin history`: what happened to a file's blocks, or to one block."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from dfs.base.ids import NodeId, node_name
from dfs.base.units import format_size
from dfs.cli import render
from dfs.cli.arguments import count_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.wire.repair_api import BlockStory, HappenedItem

GROUP: Final = "integrity"
BLOCKS_DEFAULT: Final = 100
FILES_COUNTED_MAX: Final = 10_000  # by the NameNode


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="PATH|BLOCK", help="a file, or the number of a block")
    parser.add_argument(
        "-n",
        "--limit",
        type=count_argument,
        default=BLOCKS_DEFAULT,
        metavar="N",
        help="blocks of the file (100)",
    )


def _run(context: Context) -> int:
    stories = list(_stories(context, context.args.what, context.args.limit))
    context.out.document({"blocks": stories})
    if context.out.text:
        for number, story in enumerate(stories):
            if number:
                context.out.line()
            _print(context, story)
        if not stories:
            context.out.line("the file is empty: it has no blocks")
    return EXIT_DONE


def _stories(context: Context, what: str, limit: int) -> Iterator[BlockStory]:
    from dfs.wire.repair_api import HistoryRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import HISTORY  # noqa: PLC0415

    if what.isascii() and what.isdigit():
        yield from context.call(HISTORY, HistoryRequest(block=int(what))).stories
        return
    path, first = context.remote(what), 0
    while first >= 0 and limit > 0:
        reply = context.call(HISTORY, HistoryRequest(path=path, first_block=first, limit=limit))
        yield from reply.stories
        limit -= len(reply.stories)
        first = reply.next
    if first >= 0:
        context.out.note("the file has more blocks: add -n")


def _print(context: Context, story: BlockStory) -> None:
    where = f", part {story.number} of {_files_words(story)}" if story.path else ""
    size = f", {format_size(story.length_bytes)}" if story.length_bytes else ""
    context.out.line(
        f"block {story.block}, generation {story.generation}, {story.state}{where}{size}"
    )
    with context.out.table(("  TIME", "WHAT", "NODE", "BY", "DETAIL")) as table:
        for cells in _lines(story):
            table.row(None, f"  {cells[0]}", *cells[1:])


def _files_words(story: BlockStory) -> str:
    """``/a``, ``/a (removed)``, ``/a and 2 others``."""
    shown = story.path + (" (removed)" if story.removed else "")
    if story.paths_total > FILES_COUNTED_MAX:
        return f"{shown} and more than {FILES_COUNTED_MAX:,} others"
    more = story.paths_total - 1
    return f"{shown} and {render.count(more, 'other')}" if more > 0 else shown


def _lines(story: BlockStory) -> Iterator[tuple[str, str, str, str, str]]:
    """In the order of time; what is known of the copies now comes last."""
    if story.created_ms:
        wanted = render.count(story.wanted, "copy", "copies")
        created = render.local_time_exact(story.created_ms)
        yield created, "created", "", "client", f"{wanted} wanted now"
        if story.acked:
            names = ", ".join(node_name(NodeId(node)) for node in story.acked)
            yield created, "acknowledged", names, "client", "fsynced there, by signed receipt"
    for event in story.events:
        yield _event(event)
    for copy in story.copies:
        when = render.local_time_exact(copy.verified_ms) if copy.verified_ms else render.NOTHING
        yield when, "verified", node_name(NodeId(copy.node)), "", f"{copy.state} now"


def _event(event: HappenedItem) -> tuple[str, str, str, str, str]:
    return (
        render.local_time_exact(event.at_ms),
        event.what.replace("_", " "),
        node_name(NodeId(event.node)) if event.node else "",
        event.actor,
        event.detail,
    )


VERBS: Final = (
    Verb(
        name="history",
        group=GROUP,
        summary="Show what happened to a block, or to the blocks of a file",
        description="Created, acknowledged by whom, copied, moved, found bad, healed, retired,\n"
        "deleted and by which job; last what is known of each copy now.",
        arguments=_arguments,
        run=_run,
        examples=(
            Example("dfs-admin history /data/report.csv", "every block of the file"),
            Example("dfs-admin history 1042", "one block, as fsck names it"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
)
