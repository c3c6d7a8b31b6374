"""Verbs of `dfs-admin` on the cluster: report, nodes, node remove, join-token, sweeps."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Final

from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.states import NodeDuty, NodeState, VolumeState
from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.arguments import count_argument, duration_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfs.base.records import NodeView
    from dfs.wire.files_api import DfReply
    from dfs.wire.nodes_api import ClusterReply

GROUP: Final = "cluster and DataNodes"
HEADINGS: Final = (
    "NODE",
    "STATE",
    "DUTY",
    "ADDRESS",
    "RACK",
    "USED",
    "FREE",
    "TOTAL",
    "USE%",
    "REPLICAS",
    "LAST BEAT",
    "UP",
)
RIGHT: Final = (5, 6, 7, 8, 9)
SPARE: Final = (4, 11, 7, 2, 9)  # what a narrow terminal can do without: the rack first
VOLUME_FINE: Final = VolumeState.ONLINE.value


def _report(context: Context) -> int:
    from dfs.wire.routes import CLUSTER, NODES  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    cluster = context.call(CLUSTER, Nothing())
    room = context.client.df()
    nodes = context.call(NODES, Nothing()).nodes
    context.out.document(
        {"cluster": cluster, "room": room, "nodes": [_node_json(node) for node in nodes]}
    )
    if context.out.text:
        for name, value in _facts(cluster, room, nodes):
            context.out.line(f"{name + ':':<13}{value}")
        context.out.line()
        _print_nodes(context, nodes)
    return EXIT_DONE


def _facts(
    cluster: ClusterReply, room: DfReply, nodes: Sequence[NodeView]
) -> list[tuple[str, str]]:
    used = render.percent(room.used_bytes, room.total_bytes)
    states = [f"{sum(node.state is state for node in nodes)} {state.value}" for state in NodeState]
    return [
        ("cluster", cluster.cluster),
        ("version", cluster.version),
        ("NameNode", f"{cluster.role}, epoch {cluster.epoch}, transaction {cluster.txid}"),
        ("time", render.local_time_exact(cluster.now_ms)),
        (
            "names",
            f"{render.count(room.files, 'file')}, "
            f"{render.count(room.directories, 'directory', 'directories')}, "
            f"{render.count(room.blocks, 'block')}",
        ),
        (
            "room",
            f"{format_size(room.used_bytes)} used ({used}), {format_size(room.free_bytes)} free "
            f"of {format_size(room.total_bytes)}",
        ),
        (
            "new files",
            f"{render.count(cluster.default_replication, 'copy', 'copies')}, blocks of "
            f"{format_size(cluster.block_size_bytes)}",
        ),
        ("DataNodes", ", ".join(word for word in states if not word.startswith("0 ")) or "none"),
    ]


def _nodes(context: Context) -> int:
    from dfs.wire.routes import NODES  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    nodes = context.call(NODES, Nothing()).nodes
    if context.out.as_json:
        context.out.document([_node_json(node) for node in nodes])
    else:
        _print_nodes(context, nodes)
    return EXIT_DONE


def _print_nodes(context: Context, nodes: Sequence[NodeView]) -> None:
    if not nodes:
        context.out.note("no DataNode has joined; let one in with: dfs-admin join-token")
        return
    with context.out.table(HEADINGS, right=RIGHT, spare=SPARE) as table:
        for node in nodes:
            table.row(None, *_node_cells(node))


def _node_cells(node: NodeView) -> tuple[str, ...]:
    usage = node.usage
    unreachable = "" if node.reachable else ", no answer to sweeps"
    return (
        node_name(node.node),
        node.state.value + unreachable,
        _duty_words(node),
        node.address.grpc,
        node.address.rack,
        format_size(usage.used_bytes),
        format_size(usage.free_bytes),
        format_size(usage.total_bytes),
        render.percent(usage.used_bytes, usage.total_bytes),
        str(node.replicas),
        f"{format_duration(max(node.silent_s, 0))} ago",
        format_duration(usage.uptime_s) if node.state is NodeState.LIVE else render.NOTHING,
    )


def _duty_words(node: NodeView) -> str:
    """What is wanted of it, or that its silence is meant, and until when."""
    duty = node.duty.value.replace("_", " ")
    if not node.is_excused:
        return duty
    until = f"until {render.local_time(node.excused_until_ms)}"
    if node.duty is NodeDuty.MAINTENANCE:
        return f"{duty} {until}"
    return f"stopped in order, excused {until}"


def _node_json(node: NodeView) -> render.Json:
    made = render.to_json(node)
    assert isinstance(made, dict)
    return {"node": node_name(node.node), **made}


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="dn-3, as dfs-admin nodes shows it")
    parser.add_argument(
        "--force", action="store_true", help="though files would lose their last copy"
    )


def _remove(context: Context) -> int:
    from dfs.wire.nodes_api import RemoveNodeRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import REMOVE_NODE  # noqa: PLC0415

    name = node_name(parse_node_name(context.args.node))
    context.call(REMOVE_NODE, RemoveNodeRequest(name=name, force=context.args.force))
    context.out.answer({"node": name, "removed": True}, f"{name} is forgotten")
    return EXIT_DONE


def _join_token_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uses", type=count_argument, default=1, metavar="N", help="DataNodes it lets in (1)"
    )
    parser.add_argument(
        "--life", type=duration_argument, metavar="TIME", help="how long it works (as configured)"
    )


def _join_token(context: Context) -> int:
    from dfs.wire.nodes_api import JoinTokenRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import JOIN_TOKEN  # noqa: PLC0415

    request = JoinTokenRequest(uses=context.args.uses, life_s=context.args.life)
    reply = context.call(JOIN_TOKEN, request)
    context.out.answer(reply, reply.token)
    context.out.note(
        f"lets in {render.count(reply.uses, 'DataNode')} until "
        f"{render.local_time(reply.expires_ms)}; "
        "to use it: dfs-datanode serve --join-token-file FILE"
    )
    return EXIT_DONE


def _sweeps_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", nargs="?", metavar="NODE", help="of this DataNode only")
    parser.add_argument(
        "-n", "--limit", type=count_argument, default=100, metavar="N", help="newest N (100)"
    )


def _sweeps(context: Context) -> int:
    from dfs.wire.nodes_api import SweepsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import SWEEPS  # noqa: PLC0415

    node = parse_node_name(context.args.node) if context.args.node else None
    reply = context.call(SWEEPS, SweepsRequest(node=node, limit=context.args.limit))
    with context.out.table(("TIME", "NODE", "ANSWER", "DETAIL")) as table:
        for report in reply.reports:
            table.row(
                report,
                render.local_time_exact(report.at_ms),
                node_name(NodeId(report.node)),
                "ok" if report.ok else "FAILED",
                report.detail if context.out.verbose else health_words(report.detail),
            )
    return EXIT_DONE


def health_words(detail: str) -> str:
    """What a node said of its health in a few words; what is no such answer stands as it is."""
    try:
        health = json.loads(detail)
        volumes = health["volumes"]
        words = [
            f"up {format_duration(health['uptime_s'])}",
            render.count(sum(volume["blocks"] for volume in volumes), "block"),
            f"{format_size(health['used_bytes'])} used",
            f"{format_size(health['free_bytes'])} free",
        ]
        words += [
            f"{each['path']} {each['state']}" for each in volumes if each["state"] != VOLUME_FINE
        ]
    except (ValueError, KeyError, TypeError):
        return detail
    return ", ".join(words)


VERBS: Final = (
    Verb(
        name="report",
        group=GROUP,
        summary="Show the cluster: names, room, DataNodes",
        run=_report,
        examples=(Example("dfs-admin report", "on one screen"),),
    ),
    Verb(
        name="nodes",
        group=GROUP,
        summary="List the DataNodes with state, room and last beat",
        run=_nodes,
        examples=(Example("dfs-admin nodes --json", "every figure, with volumes"),),
    ),
    Verb(
        name="node remove",
        group=GROUP,
        summary="Forget a dead DataNode and the copies it held",
        description="Refused while the node lives, and while it holds the last copy of anything\n"
        "unless forced.",
        arguments=_remove_arguments,
        run=_remove,
        examples=(Example("dfs-admin node remove dn-3", "the machine will not come back"),),
        exits=(*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT),
    ),
    Verb(
        name="join-token",
        group=GROUP,
        summary="Make a token with which DataNodes join",
        description="The token is shown once, alone on standard output.",
        arguments=_join_token_arguments,
        run=_join_token,
        examples=(
            Example("dfs-admin join-token --uses 3 > token", "for three DataNodes"),
            Example("dfs-datanode serve --data /srv/blocks --join-token-file token", "and its use"),
        ),
    ),
    Verb(
        name="sweeps",
        group=GROUP,
        summary="Show what DataNodes answered when asked for their health",
        description="In a few words; with -v or --json all they said.",
        arguments=_sweeps_arguments,
        run=_sweeps,
        examples=(Example("dfs-admin sweeps dn-3 -n 5", "the last five answers of one node"),),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
)
