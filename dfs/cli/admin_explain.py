"""`dfs-admin explain`: why a write, a read or a repair goes where it goes, or cannot."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from dfs.base.ids import NodeId, node_name
from dfs.cli import render
from dfs.cli.arguments import count_argument, remote_paths
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.wire.check_api import Explained, ExplainReply

GROUP: Final = "integrity"
BLOCKS_SHOWN: Final = 20
NODES_SHOWN: Final = 100


def _write_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments(parser, "a file, a directory, or a new name")


def _arguments(parser: argparse.ArgumentParser, path: str) -> None:
    remote_paths(parser, "path", help=path)
    parser.add_argument("--user", default="", metavar="NAME", help="with the rights of that user")


def _block_arguments(parser: argparse.ArgumentParser) -> None:
    _arguments(parser, "a file")
    parser.add_argument("--all", action="store_true", help="blocks that are well, too")
    parser.add_argument(
        "--first", type=count_argument, default=1, metavar="N", help="begin at the Nth block (1)"
    )
    parser.add_argument(
        "-n",
        "--limit",
        type=count_argument,
        default=BLOCKS_SHOWN,
        metavar="N",
        help=f"look at that many blocks ({BLOCKS_SHOWN})",
    )


def _write(context: Context) -> int:
    reply = _ask(context, "write", first=0, limit=1)
    _say(context, reply, reply.explained)
    return EXIT_DONE


def _read(context: Context) -> int:
    return _of_blocks(context, "read")


def _repair(context: Context) -> int:
    return _of_blocks(context, "repair")


def _of_blocks(context: Context, what: str) -> int:
    args = context.args
    reply = _ask(context, what, first=args.first - 1, limit=args.limit)
    shown = [each for each in reply.explained if args.all or what == "read" or not each.is_well]
    _say(context, reply, shown)
    more = reply.blocks - (args.first - 1) - len(reply.explained)
    if more > 0:
        following = args.first + len(reply.explained)
        context.out.note(f"{render.count(more, 'more block')}; go on with --first {following}")
    return EXIT_DONE


def _ask(context: Context, what: str, *, first: int, limit: int) -> ExplainReply:
    from dfs.wire.check_api import ExplainRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import EXPLAIN  # noqa: PLC0415

    path = context.remote(context.args.path)
    request = ExplainRequest(
        what=what, path=path, user=context.args.user, first_block=first, limit=limit
    )
    return context.call(EXPLAIN, request)


def _say(context: Context, reply: ExplainReply, shown: list[Explained]) -> None:
    out = context.out
    out.document(reply)
    out.line(f"{reply.path}: {reply.summary}")
    if reply.refusal:
        out.line(f"  refused: {reply.refusal}")
    for each in shown:
        for line in _lines(each):
            out.line(line)


def _lines(each: Explained) -> Iterator[str]:
    yield f"{each.title}: {each.verdict}"
    for place, node in enumerate(each.chosen[:NODES_SHOWN], start=1):
        yield f"  {place:>3}. {node_name(NodeId(node.node))}: {node.reason}"
    for node in each.refused[:NODES_SHOWN]:
        yield f"  not {node_name(NodeId(node.node))}: {node.reason}"
    more = len(each.refused) - NODES_SHOWN
    if more > 0:
        yield f"  and not {render.count(more, 'more node')}"
    for note in each.notes:
        yield f"  note: {note}"


def _verb(
    what: str,
    summary: str,
    run: Callable[[Context], int],
    arguments: Callable[[argparse.ArgumentParser], None],
    *examples: Example,
) -> Verb:
    return Verb(
        name=f"explain {what}",
        group=GROUP,
        summary=summary,
        description="Read-only: those who decide are asked as they are in earnest.",
        arguments=arguments,
        run=run,
        examples=examples,
        exits=(*ONLINE, EXIT_NOT_FOUND),
    )


VERBS: Final = (
    _verb(
        "write",
        "Say where a new block there would go, and why not elsewhere",
        _write,
        _write_arguments,
        Example("dfs-admin explain write /data/new", "which DataNodes, and why not the others"),
        Example("dfs-admin explain write /data --user bob", "whether bob may, too"),
    ),
    _verb(
        "read",
        "Say from which DataNodes a file is read, in which order",
        _read,
        _block_arguments,
        Example("dfs-admin explain read /data/f", "each block's holders, the first one first"),
    ),
    _verb(
        "repair",
        "Say what a file's blocks lack and what holds repair back",
        _repair,
        _block_arguments,
        Example("dfs-admin explain repair /data/f", "one line when there is nothing to repair"),
        Example("dfs-admin explain repair /data/f --all", "every block"),
    ),
)
