"""Verbs of `dfs-admin` on balancing: rebalance, rebalance status, rebalance stop."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.arguments import size_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_FAILED, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfs.base.records import NodeView
    from dfs.wire.balance_api import BalanceReply, DisksOrdered, NodeShare

GROUP: Final = "integrity"
LEVEL_ALREADY: Final = "to level them closer, give a smaller --threshold (percent, like 0.1)"
PLAN_HEADINGS: Final = ("BLOCK", "PART", "FROM", "TO", "SIZE", "FILE")
SHARE_HEADINGS: Final = ("NODE", "USE%", "USED", "TOTAL", "STANDS", "ABOVE MEAN", "WHY")
DISK_HEADINGS: Final = ("NODE", "DISK", "STATE", "USED", "FREE", "USE%", "LEVELLING")
BAD_ENDS: Final = ("stuck", "stopped")


def percent_argument(text: str) -> float:
    """A percentage on the command line, for argparse's `type`."""
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise argparse.ArgumentTypeError(f"not above 0 and at most 100 percent: {text!r}")
    return percent


def bandwidth_argument(text: str) -> int:
    """Bytes a second on the command line, with or without ``/s``, for argparse's `type`."""
    size_bytes = size_argument(text.removesuffix("/s"))
    if not size_bytes:
        raise argparse.ArgumentTypeError("a bandwidth of nothing moves nothing")
    return size_bytes


def _rebalance_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "nodes", nargs="*", metavar="NODE", help="with --disks: these only (all with several)"
    )
    parser.add_argument(
        "--threshold",
        type=percent_argument,
        metavar="PCT",
        help="how far a node's use may be from the mean (as configured, 10); with --disks, how far"
        " a disk's, in percent of the mean",
    )
    parser.add_argument(
        "--bandwidth",
        type=bandwidth_argument,
        metavar="B/s",
        help="bytes a second, of all moves together (as configured, 50MiB)",
    )
    parser.add_argument("--wait", action="store_true", help="until it is over, with progress")
    parser.add_argument("--dry-run", action="store_true", help="show what would move, move nothing")
    parser.add_argument(
        "--disks", action="store_true", help="level the disks inside each node instead"
    )


def _rebalance(context: Context) -> int:
    if context.args.disks:
        return _disks(context)
    if context.args.nodes:
        raise BadRequest(
            "nodes are levelled with each other, not one by one",
            hint="the disks inside one: dfs-admin rebalance --disks NODE",
        )
    return _dry_run(context) if context.args.dry_run else _start(context)


def _start(context: Context) -> int:
    from dfs.cli.balance_wait import wait_for_nodes  # noqa: PLC0415 - start-up time
    from dfs.cli.job_progress import RUNNING  # noqa: PLC0415
    from dfs.wire.balance_api import BalanceRequest  # noqa: PLC0415
    from dfs.wire.routes import BALANCE_START  # noqa: PLC0415

    args = context.args
    request = BalanceRequest(threshold_percent=args.threshold, bandwidth_bytes=args.bandwidth)
    reply = context.call(BALANCE_START, request)
    if args.wait:
        return _say_end(context, wait_for_nodes(context, reply))
    if reply.state != RUNNING:
        return _say_end(context, reply)
    context.out.answer(
        _reply_json(reply),
        f"started: {format_size(reply.total_bytes)} to move at"
        f" {format_size(reply.bandwidth_bytes)}/s at most",
    )
    context.out.note("watch it: dfs-admin rebalance status --wait")
    return EXIT_DONE


def _say_end(context: Context, reply: BalanceReply) -> int:
    """How a job ended; the exit code says whether the nodes are level."""
    took = format_duration((reply.ended_ms - reply.started_ms) / 1000) if reply.ended_ms else ""
    moved = (
        f"moved {render.count(reply.moved_blocks, 'block')}, {format_size(reply.moved_bytes)}"
        f" in {took}"
    )
    context.out.answer(
        _reply_json(reply), *([moved] if reply.moved_blocks else []), f"{reply.state}: {reply.why}"
    )
    if reply.state not in BAD_ENDS and not reply.moved_blocks:
        context.out.note(LEVEL_ALREADY)
    return EXIT_FAILED if reply.state in BAD_ENDS else EXIT_DONE


def _dry_run(context: Context) -> int:
    from dfs.wire.balance_api import BalanceRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import BALANCE_PLAN  # noqa: PLC0415

    plan = context.call(BALANCE_PLAN, BalanceRequest(threshold_percent=context.args.threshold))
    context.out.document(
        {
            "threshold_percent": plan.threshold_percent,
            "mean_percent": plan.mean_percent,
            "total_bytes": plan.total_bytes,
            "planned_bytes": plan.planned_bytes,
            "moves": plan.moves,
            "nodes": [_share_json(share) for share in plan.nodes],
            "words": plan.words,
        }
    )
    if not context.out.text:
        return EXIT_DONE
    if plan.moves:
        with context.out.table(PLAN_HEADINGS, right=(0, 1, 4)) as table:
            for move in plan.moves:
                block = move.block
                cells = (str(block.block), str(block.number))
                ends = (node_name(NodeId(move.source)), node_name(NodeId(move.target)))
                file = move.path or f"inode {block.file}"
                table.row(None, *cells, *ends, format_size(move.size_bytes), file)
        context.out.line()
    context.out.line(plan.words)
    context.out.line(
        f"{render.count(len(plan.moves), 'move')} planned, {format_size(plan.planned_bytes)} of "
        f"{format_size(plan.total_bytes)} to move"
    )
    if not plan.total_bytes:
        context.out.note(LEVEL_ALREADY)
    for share in plan.nodes:
        if share.why:
            context.out.line(f"{node_name(NodeId(share.node))}: {share.why}")
    return EXIT_DONE


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until it is over, with progress")
    parser.add_argument("--disks", action="store_true", help="the disks inside each node instead")


def _status(context: Context) -> int:
    from dfs.cli.balance_wait import ask_nodes, ask_status, wait_for_nodes  # noqa: PLC0415

    if context.args.disks:
        return _print_disks(context, ask_nodes(context))
    reply = ask_status(context)
    if context.args.wait:
        reply = wait_for_nodes(context, reply)
    context.out.document(_reply_json(reply))
    if context.out.text:
        for name, value in _facts(reply):
            context.out.line(f"{name + ':':<11}{value}")
        if reply.nodes:
            context.out.line()
            _print_shares(context, reply.nodes)
    return EXIT_FAILED if reply.state in BAD_ENDS else EXIT_DONE


def _facts(reply: BalanceReply) -> list[tuple[str, str]]:
    from dfs.cli.balance_wait import progress_words, share_of  # noqa: PLC0415 - start-up time
    from dfs.cli.job_progress import RUNNING  # noqa: PLC0415

    facts = [("state", reply.state)]
    if reply.why and reply.state != RUNNING:
        facts.append(("why", reply.why))
    if reply.state == RUNNING:
        facts.append(("progress", f"{share_of(reply):.0%}, {progress_words(reply)}"))
    elif reply.moved_blocks:
        blocks = render.count(reply.moved_blocks, "block")
        facts.append(("moved", f"{blocks}, {format_size(reply.moved_bytes)}"))
    if reply.failed_moves:
        facts.append(("failed", render.count(reply.failed_moves, "move")))
    if reply.started_ms:
        facts.append(("started", f"{render.local_time(reply.started_ms)} by {reply.by}"))
    if reply.ended_ms:
        facts.append(("ended", render.local_time(reply.ended_ms)))
    mean = f"{reply.mean_percent:.3g} % in use, each node within {reply.threshold_percent:.3g} %"
    facts.append(("mean", mean))
    facts.append(("bandwidth", f"{format_size(reply.bandwidth_bytes)}/s at most"))
    return facts


def _print_shares(context: Context, shares: Sequence[NodeShare]) -> None:
    with context.out.table(SHARE_HEADINGS, right=(1, 2, 3, 5), spare=(6, 3)) as table:
        for share in shares:
            out = share.side == "out"
            table.row(
                None,
                node_name(NodeId(share.node)),
                f"{share.percent:.3g}",
                format_size(share.used_bytes),
                format_size(share.total_bytes),
                "takes no part" if out else share.side,
                render.NOTHING if out else format_size(share.excess_bytes),
                share.why,
            )


def _share_json(share: NodeShare) -> render.Json:
    made = render.to_json(share)
    assert isinstance(made, dict)
    return {**made, "node": node_name(NodeId(share.node))}


def _reply_json(reply: BalanceReply) -> render.Json:
    made = render.to_json(reply)
    assert isinstance(made, dict)
    return {**made, "nodes": [_share_json(share) for share in reply.nodes]}


def _stop_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="with --disks: these only (all)")
    parser.add_argument("--disks", action="store_true", help="stop levelling the disks instead")


def _stop(context: Context) -> int:
    from dfs.wire.routes import BALANCE_STOP  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    if context.args.disks:
        ordered = _order_disks(context, stop=True)
        context.out.answer(_ordered_json(ordered), f"{_who(ordered)} will stop")
        return EXIT_DONE
    reply = context.call(BALANCE_STOP, Nothing())
    blocks = render.count(reply.moved_blocks, "block")
    context.out.answer(
        _reply_json(reply), f"stopped; moved {blocks}, {format_size(reply.moved_bytes)}"
    )
    return EXIT_DONE


# ---- disks inside nodes


def _disks(context: Context) -> int:
    from dfs.cli.balance_wait import ask_nodes, wait_for_disks  # noqa: PLC0415 - start-up time

    if context.args.dry_run or context.args.bandwidth:
        raise BadRequest("--dry-run and --bandwidth are for levelling nodes, not their disks")
    ordered = _order_disks(context, stop=False)
    if not ordered.nodes:
        context.out.answer(_ordered_json(ordered), "no DataNode has disks to level")
        return EXIT_FAILED if context.args.nodes else EXIT_DONE
    if not context.args.wait:
        context.out.answer(_ordered_json(ordered), f"{_who(ordered)} will level the disks")
        context.out.note("watch it: dfs-admin rebalance status --disks")
        return EXIT_DONE
    views = wait_for_disks(context, ordered.nodes) or ask_nodes(context)
    _print_disks(context, {node: views[node] for node in ordered.nodes if node in views})
    bad = [node for node in ordered.nodes if node not in views or views[node].condition.disks.error]
    return EXIT_FAILED if bad else EXIT_DONE


def _order_disks(context: Context, *, stop: bool) -> DisksOrdered:
    from dfs.wire.balance_api import DisksRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import BALANCE_DISKS  # noqa: PLC0415

    names = [node_name(parse_node_name(name)) for name in context.args.nodes]
    threshold = None if stop else context.args.threshold
    request = DisksRequest(nodes=names, threshold_percent=threshold, stop=stop)
    ordered = context.call(BALANCE_DISKS, request)
    for each in ordered.refused:
        if names or context.out.verbose:
            context.out.note(f"{node_name(each.node)} was not told: {each.reason}")
    return ordered


def _who(ordered: DisksOrdered) -> str:
    return ", ".join(node_name(NodeId(node)) for node in ordered.nodes) or "no DataNode"


def _ordered_json(ordered: DisksOrdered) -> render.Json:
    return {
        "nodes": [node_name(NodeId(node)) for node in ordered.nodes],
        "refused": {node_name(each.node): each.reason for each in ordered.refused},
        "threshold_percent": ordered.threshold_percent,
    }


def _print_disks(context: Context, views: dict[int, NodeView]) -> int:
    with context.out.table(DISK_HEADINGS, right=(3, 4, 5)) as table:
        for view in views.values():
            name = node_name(view.node)
            for volume in view.volumes:
                table.row(
                    {"node": name, **_json(volume), "levelling": view.condition.disks},
                    name,
                    volume.path,
                    volume.state.value.replace("_", " "),
                    format_size(volume.used_bytes),
                    format_size(volume.free_bytes),
                    render.percent(volume.used_bytes, volume.total_bytes),
                    _levelling_words(view),
                )
    return EXIT_DONE


def _json(value: object) -> dict[str, render.Json]:
    made = render.to_json(value)
    assert isinstance(made, dict)
    return made


def _levelling_words(view: NodeView) -> str:
    disks = view.condition.disks
    if disks.running:
        return f"{format_size(disks.moved_bytes)} moved, {format_size(disks.left_bytes)} left"
    if disks.error:
        return f"stopped: {disks.error}"
    return f"{format_size(disks.moved_bytes)} moved" if disks.moved_bytes else render.NOTHING


VERBS: Final = (
    Verb(
        name="rebalance",
        group=GROUP,
        summary="Move blocks until the DataNodes are equally full",
        description="Each block is copied and the copy verified before the old one goes, so it\n"
        "may be interrupted at any point.  The job runs in the cluster: it goes on when this\n"
        "command ends, and after a restart of the NameNode.  With --wait the exit code is 0\n"
        "when the nodes are level and 1 when no more could be moved; 5 says that it was\n"
        "running already.",
        arguments=_rebalance_arguments,
        run=_rebalance,
        examples=(
            Example("dfs-admin rebalance --dry-run", "what would move"),
            Example("dfs-admin rebalance --wait", "as configured, with a bar"),
            Example("dfs-admin rebalance --threshold 5 --bandwidth 20MiB/s", "gently, and closer"),
            Example("dfs-admin rebalance --disks dn-3 --wait", "the disks inside one node"),
        ),
        exits=(*ONLINE, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_CONFLICT),
    ),
    Verb(
        name="rebalance status",
        group=GROUP,
        summary="Show how full the DataNodes are, and how far rebalancing is",
        description="The exit code is 1 when the last job ended before the nodes were level.",
        arguments=_status_arguments,
        run=_status,
        examples=(
            Example("dfs-admin rebalance status", "once"),
            Example("dfs-admin rebalance status --wait", "stay until it is over"),
            Example("dfs-admin rebalance status --disks", "every disk of every node"),
        ),
        exits=(*ONLINE, EXIT_FAILED),
    ),
    Verb(
        name="rebalance stop",
        group=GROUP,
        summary="Move no more blocks; moves under way are finished",
        arguments=_stop_arguments,
        run=_stop,
        examples=(Example("dfs-admin rebalance stop", "what has moved stays where it is"),),
        exits=(*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT),
    ),
)
