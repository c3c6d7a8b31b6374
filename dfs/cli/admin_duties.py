"""Verbs of `dfs-admin` on what is wanted of a DataNode: decommission, maintenance, recommission,
trust.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import JobConflict, WaitTimedOut
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.states import NodeDuty
from dfs.base.units import format_duration
from dfs.cli import render
from dfs.cli.arguments import duration_argument
from dfs.cli.job_progress import following
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.wire.safety_api import DutyReply

GROUP: Final = "cluster and DataNodes"
POLL_S: Final = 1.0
EXITS: Final = (*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT)


def _node_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="dn-3, as dfs-admin nodes shows it")


def _forceable(parser: argparse.ArgumentParser) -> None:
    _node_argument(parser)
    parser.add_argument("--force", action="store_true", help="though it is the last in service")


def _set_duty(context: Context, duty: NodeDuty, *, for_s: float = 0.0) -> DutyReply:
    from dfs.wire.routes import SET_DUTY  # noqa: PLC0415 - start-up time
    from dfs.wire.safety_api import DutyRequest  # noqa: PLC0415

    name = node_name(parse_node_name(context.args.node))
    force = getattr(context.args, "force", False)
    return context.call(SET_DUTY, DutyRequest(name=name, duty=duty, for_s=for_s, force=force))


# ---- decommission


def _decommission_arguments(parser: argparse.ArgumentParser) -> None:
    _forceable(parser)
    parser.add_argument("--wait", action="store_true", help="until nothing is left on it")
    parser.add_argument(
        "--timeout", type=duration_argument, metavar="TIME", help="wait no longer than that"
    )


def _decommission(context: Context) -> int:
    reply = _set_duty(context, NodeDuty.DECOMMISSIONING)
    if context.args.wait:
        reply = _await_emptied(context, reply)
    name = node_name(NodeId(reply.node))
    if reply.duty is NodeDuty.DECOMMISSIONED:
        words = f"{name} is decommissioned: stop it, then forget it: dfs-admin node remove {name}"
    else:
        left = render.count(reply.blocks_left, "block")
        words = f"{name} takes no more blocks; {left} are to be copied before it may go"
    context.out.answer(_duty_json(reply), words)
    return EXIT_DONE


def _await_emptied(context: Context, reply: DutyReply) -> DutyReply:
    from dfs.wire.routes import LEAVING  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import NameRequest  # noqa: PLC0415

    name = node_name(NodeId(reply.node))
    most, timeout_s = max(reply.blocks_left, 1), context.args.timeout
    began_s = context.clock.monotonic_s()
    with following(context, "decommission") as progress:
        while reply.duty is not NodeDuty.DECOMMISSIONED:
            if reply.duty is not NodeDuty.DECOMMISSIONING:
                raise JobConflict(f"{name} was recommissioned meanwhile")
            most = max(most, reply.blocks_left)
            left = render.count(reply.blocks_left, "block")
            progress.show(1 - reply.blocks_left / most, f"{left} left")
            if timeout_s is not None and context.clock.monotonic_s() - began_s >= timeout_s:
                raise WaitTimedOut(
                    f"{left} of {name} have too few copies elsewhere after "
                    f"{format_duration(timeout_s)}",
                    hint="it goes on by itself; why it is slow: dfs-admin repair status",
                )
            context.clock.sleep(POLL_S)
            reply = context.call(LEAVING, NameRequest(name=name))
    return reply


# ---- the others


def _maintenance_arguments(parser: argparse.ArgumentParser) -> None:
    _forceable(parser)
    parser.add_argument(
        "--for",
        dest="for_s",
        type=duration_argument,
        default=0.0,
        metavar="TIME",
        help="how long (until it is recommissioned)",
    )


def _maintenance(context: Context) -> int:
    reply = _set_duty(context, NodeDuty.MAINTENANCE, for_s=context.args.for_s)
    name = node_name(NodeId(reply.node))
    until_ms = reply.excused_until_ms
    until = f"until {render.local_time(until_ms)}" if until_ms else "until it is recommissioned"
    context.out.answer(_duty_json(reply), f"{name} is in maintenance {until}: it may be away")
    return EXIT_DONE


def _recommission(context: Context) -> int:
    reply = _set_duty(context, NodeDuty.IN_SERVICE)
    name = node_name(NodeId(reply.node))
    context.out.answer(_duty_json(reply), f"{name} is in service")
    return EXIT_DONE


def _trust(context: Context) -> int:
    from dfs.wire.routes import TRUST_NODE  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import NameRequest  # noqa: PLC0415

    name = node_name(parse_node_name(context.args.node))
    context.call(TRUST_NODE, NameRequest(name=name))
    context.out.answer({"node": name, "trusted": True}, f"{name} is told that it is trusted again")
    return EXIT_DONE


def _duty_json(reply: DutyReply) -> dict[str, object]:
    return {
        "node": node_name(NodeId(reply.node)),
        "duty": reply.duty.value,
        "excused_until_ms": reply.excused_until_ms,
        "blocks_left": reply.blocks_left,
    }


VERBS: Final = (
    Verb(
        name="node decommission",
        group=GROUP,
        summary="Empty a DataNode, so that it may go",
        description="It serves what it holds, takes nothing new, and is decommissioned when\n"
        "all of its blocks have enough copies elsewhere.  Recommission it to change your mind.",
        arguments=_decommission_arguments,
        run=_decommission,
        examples=(Example("dfs-admin node decommission dn-3 --wait", "and see how far it is"),),
        exits=EXITS,
    ),
    Verb(
        name="node maintenance",
        group=GROUP,
        summary="Expect a DataNode to be away for a while",
        description="Its copies go on counting while it is silent; last copies are copied all the\n"
        "same.  A DataNode that is stopped in order is excused for a while by itself.",
        arguments=_maintenance_arguments,
        run=_maintenance,
        examples=(Example("dfs-admin node maintenance dn-3 --for 2h", "while a disk is changed"),),
        exits=EXITS,
    ),
    Verb(
        name="node recommission",
        group=GROUP,
        summary="Take a DataNode back into service",
        arguments=_node_argument,
        run=_recommission,
        examples=(Example("dfs-admin node recommission dn-3", "it stays after all"),),
        exits=EXITS,
    ),
    Verb(
        name="node trust",
        group=GROUP,
        summary="Believe a doubted DataNode again, after a look at it",
        description="So many bad blocks are likelier bad memory or a bad cable than rot: the node\n"
        "stops putting blocks aside until somebody has looked.",
        arguments=_node_argument,
        run=_trust,
        examples=(Example("dfs-admin node trust dn-3", "its memory was tested"),),
        exits=EXITS,
    ),
)
