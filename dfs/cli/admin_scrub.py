"""Verbs of `dfs-admin` on scrubbing: scrub status, start, pause, resume."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import DataUnavailable, PeerUnreachable
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.units import format_duration, format_size, parse_duration_s
from dfs.cli import render
from dfs.cli.arguments import duration_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CORRUPT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfs.base.records import ScrubStatus
    from dfs.wire.scrub_api import BadBlocks, CanaryStatus, ScrubNode, ScrubOrdered, ScrubReply

GROUP: Final = "integrity"
HEADINGS: Final = (
    "NODE",
    "STATE",
    "PASS",
    "RATE",
    "ON TIME",
    "UNREAD",
    "OLDEST",
    "ETA",
    "FOUND",
    "BAD NOW",
    "ASIDE",
    "LAST READ",
)
RIGHT: Final = (3, 4, 5, 6, 7, 8, 9, 10, 11)
SPARE: Final = (5, 11, 10, 3, 9)
BAR_CELLS: Final = 10
WATCH_EVERY_S: Final = 2.0
CLEAR: Final = "\x1b[H\x1b[2J"


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="again and again, until ^C")


def _status(context: Context) -> int:
    while True:
        reply = _ask_status(context)
        if context.args.watch and context.out.terminal:
            context.out.raw(CLEAR)
        _print_status(context, reply)
        if not context.args.watch:
            return EXIT_DONE
        context.out.line()
        context.clock.sleep(WATCH_EVERY_S)


def _ask_status(context: Context) -> ScrubReply:
    from dfs.wire.routes import SCRUB_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return context.call(SCRUB_STATUS, Nothing())


def _print_status(context: Context, reply: ScrubReply) -> None:
    if context.out.as_json:
        context.out.document(_status_json(reply))
        return
    if not reply.nodes:
        context.out.note("no DataNode has joined; let one in with: dfs-admin join-token")
        return
    with context.out.table(HEADINGS, right=RIGHT, spare=SPARE) as table:
        for node in reply.nodes:
            table.row(None, *_cells(node, reply.now_ms))
    context.out.line()
    context.out.line(_promise_words(reply))
    context.out.line(_bad_words(reply.blocks))
    for line in _canary_lines(reply.canaries, reply.now_ms):
        context.out.line(line)


def _status_json(reply: ScrubReply) -> render.Json:
    made = render.to_json(reply)
    assert isinstance(made, dict)
    nodes = [
        {**node, "node": node_name(NodeId(shown.node))}
        for node, shown in zip(_list(made["nodes"]), reply.nodes, strict=True)
    ]
    canaries = [
        {**canary, "node": node_name(NodeId(shown.node))}
        for canary, shown in zip(_list(made["canaries"]), reply.canaries, strict=True)
    ]
    return {**made, "nodes": [*nodes], "canaries": [*canaries]}


def _list(value: render.Json) -> list[dict[str, render.Json]]:
    assert isinstance(value, list)
    return [item for item in value if isinstance(item, dict)]


def _cells(node: ScrubNode, now_ms: int) -> tuple[str, ...]:
    scrub = node.scrub
    heard = node.state.value == "live"
    return (
        node_name(NodeId(node.node)),
        _state_words(node, now_ms),
        _pass_words(scrub) if heard else render.NOTHING,
        f"{format_size(scrub.rate_bytes_per_s)}/s" if scrub.rate_bytes_per_s else render.NOTHING,
        render.percent(scrub.covered_bytes, scrub.total_bytes),
        f"{scrub.unverified_blocks:,}",
        _ago(scrub.oldest_ms, now_ms),
        format_duration(scrub.eta_s) if scrub.eta_s and heard else render.NOTHING,
        f"{scrub.found:,}",
        f"{node.bad:,}",
        f"{node.aside:,}",
        _ago(scrub.last_verified_ms, now_ms),
    )


def _state_words(node: ScrubNode, now_ms: int) -> str:
    if node.state.value != "live":
        return f"node {node.state.value}"
    scrub = node.scrub
    if scrub.state == "paused" and scrub.paused_until_ms:
        return f"paused, {format_duration(max(0, scrub.paused_until_ms - now_ms) / 1000)} left"
    return scrub.state


def _pass_words(scrub: ScrubStatus) -> str:
    if scrub.run_done and not scrub.pass_bytes:
        return f"pass {scrub.run} done" if scrub.run else render.NOTHING
    share = min(1.0, scrub.pass_bytes / scrub.total_bytes) if scrub.total_bytes else 1.0
    full = round(share * BAR_CELLS)
    return f"{'#' * full}{'.' * (BAR_CELLS - full)} {share:4.0%}"


def _ago(at_ms: int, now_ms: int) -> str:
    return f"{format_duration(max(0, now_ms - at_ms) / 1000)} ago" if at_ms else render.NOTHING


def _promise_words(reply: ScrubReply) -> str:
    words = (
        f"every copy is read back within {format_duration(reply.slo_s)} of its last read or write"
    )
    unread = sum(node.scrub.unverified_blocks for node in reply.nodes)
    if unread:
        words += f"; {render.count(unread, 'copy', 'copies')} not read back since written"
    return words


def _bad_words(blocks: BadBlocks) -> str:
    if not blocks.bad:
        return "no bad copy is known"
    words = f"{render.count(blocks.bad, 'block')} with a bad copy: {blocks.healed:,} healed"
    if blocks.healing:
        words += f", {blocks.healing:,} healing"
    return f"{words}, {blocks.lost:,} WITHOUT A GOOD COPY" if blocks.lost else words


def _canary_lines(canaries: Sequence[CanaryStatus], now_ms: int) -> list[str]:
    return [
        f"canary of {node_name(NodeId(canary.node))}: {_canary_words(canary, now_ms)}"
        for canary in canaries
    ]


def _canary_words(canary: CanaryStatus, now_ms: int) -> str:
    words = canary.state
    if canary.state == "spoiled":
        words = f"spoiled {_ago(canary.armed_ms, now_ms)}, not found yet"
    elif canary.state == "found":
        words = f"found {_ago(canary.found_ms, now_ms)}, not healed yet"
    if canary.last_healed_ms:
        took = format_duration(canary.round_ms / 1000)
        words += f"; last healed {_ago(canary.last_healed_ms, now_ms)}, in {took}"
    if canary.why:
        words += f" ({canary.why})"
    return f"{words} - LATE" if canary.late else words


def _node_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="these only (all)")


def _names(words: Sequence[str]) -> list[str]:
    return [node_name(parse_node_name(word)) for word in words]


def _start_arguments(parser: argparse.ArgumentParser) -> None:
    _node_arguments(parser)
    parser.add_argument(
        "--wait", action="store_true", help="until all is verified, and what was found is healed"
    )
    parser.add_argument(
        "--timeout", type=duration_argument, metavar="TIME", help="give up waiting after (never)"
    )


def _start(context: Context) -> int:
    from dfs.wire.routes import SCRUB_START  # noqa: PLC0415 - start-up time
    from dfs.wire.scrub_api import ScrubStartRequest  # noqa: PLC0415

    before = _ask_status(context)
    ordered = context.call(SCRUB_START, ScrubStartRequest(nodes=_names(context.args.nodes)))
    _say_refused(context, ordered)
    if not context.args.wait:
        context.out.answer(
            _ordered_json(ordered), f"pass {ordered.run} is ordered of {_who(ordered)}"
        )
        return EXIT_DONE
    return _wait(context, ordered, before)


def _wait(context: Context, ordered: ScrubOrdered, before: ScrubReply) -> int:
    from dfs.cli.scrub_wait import ScrubWait  # noqa: PLC0415 - start-up time

    status, sight = ScrubWait(context, ordered, before).wait(timeout_s=context.args.timeout)
    mine = [node for node in status.nodes if node.node in sight.done]
    read_bytes = sum(node.scrub.total_bytes for node in mine)
    blocks = sum(node.scrub.total_blocks for node in mine)
    done = ", ".join(node_name(NodeId(node)) for node in sight.done)
    context.out.answer(
        {
            "run": ordered.run,
            "done": [node_name(NodeId(node)) for node in sight.done],
            "lost": [node_name(NodeId(node)) for node in sight.lost],
            "found": sight.found,
            "verified_bytes": read_bytes,
            "blocks": status.blocks,
        },
        f"verified {render.count(blocks, 'copy', 'copies')}, {format_size(read_bytes)},"
        f" on {done}: {sight.found:,} bad",
        _bad_words(status.blocks),
    )
    if status.blocks.lost:
        raise DataUnavailable(
            f"{render.count(status.blocks.lost, 'block')} without a good copy",
            hint="which files: dfs-admin fsck",
        )
    return EXIT_DONE


def _pause_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="FOR|NODE",
        help="how long (as long as may be), then these nodes only (all): 2h dn-3",
    )


def _pause(context: Context) -> int:
    from dfs.wire.routes import SCRUB_PAUSE  # noqa: PLC0415 - start-up time
    from dfs.wire.scrub_api import ScrubPauseRequest  # noqa: PLC0415

    words = list(context.args.words)
    for_s = None
    if words and words[0][0].isdigit():
        for_s = parse_duration_s(words.pop(0))
    ordered = context.call(SCRUB_PAUSE, ScrubPauseRequest(nodes=_names(words), for_s=for_s))
    _say_refused(context, ordered)
    until = render.local_time(ordered.until_ms)
    context.out.answer(_ordered_json(ordered), f"paused until {until} on {_who(ordered)}")
    return EXIT_DONE


def _resume(context: Context) -> int:
    from dfs.wire.routes import SCRUB_RESUME  # noqa: PLC0415 - start-up time
    from dfs.wire.scrub_api import ScrubResumeRequest  # noqa: PLC0415

    ordered = context.call(SCRUB_RESUME, ScrubResumeRequest(nodes=_names(context.args.nodes)))
    _say_refused(context, ordered)
    context.out.answer(_ordered_json(ordered), f"resumed on {_who(ordered)}")
    return EXIT_DONE


def _say_refused(context: Context, ordered: ScrubOrdered) -> None:
    if not ordered.nodes:
        why = "; ".join(f"{node_name(each.node)}: {each.reason}" for each in ordered.refused)
        raise PeerUnreachable(f"no DataNode can be told: {why or 'none has joined'}")
    for each in ordered.refused:
        context.out.note(f"{node_name(each.node)} was not told: {each.reason}")


def _who(ordered: ScrubOrdered) -> str:
    return ", ".join(node_name(NodeId(node)) for node in ordered.nodes)


def _ordered_json(ordered: ScrubOrdered) -> render.Json:
    return {
        "run": ordered.run,
        "until_ms": ordered.until_ms,
        "nodes": [node_name(NodeId(node)) for node in ordered.nodes],
        "refused": {node_name(each.node): each.reason for each in ordered.refused},
    }


VERBS: Final = (
    Verb(
        name="scrub status",
        group=GROUP,
        summary="Show how far each DataNode is with verifying what it holds",
        description="ON TIME is the share of bytes written or read back within the time promised,\n"
        "[scrub] slo_s; UNREAD counts copies not read back since they were written, which are on\n"
        "time while they are younger than that; OLDEST is the read (or write) longest ago. FOUND\n"
        "is what a node found bad since it started, BAD NOW its bad copies of blocks that lack\n"
        "good ones, ASIDE those of blocks healed since: they stay in quarantine for a while.",
        arguments=_status_arguments,
        run=_status,
        examples=(Example("dfs-admin scrub status --watch", "see it move"),),
    ),
    Verb(
        name="scrub start",
        group=GROUP,
        summary="Verify every copy now",
        description="With --wait it ends when all is verified and what was found is healed; the\n"
        "exit code is 7 when something bad has no good copy to heal from.",
        arguments=_start_arguments,
        run=_start,
        examples=(
            Example("dfs-admin scrub start --wait", "is everything intact?"),
            Example("dfs-admin scrub start dn-3", "one node, in the background"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND, EXIT_CORRUPT),
    ),
    Verb(
        name="scrub pause",
        group=GROUP,
        summary="Let scrubbing rest for a while; the pause ends by itself",
        arguments=_pause_arguments,
        run=_pause,
        examples=(
            Example("dfs-admin scrub pause 2h", "everywhere"),
            Example("dfs-admin scrub pause 30m dn-3", "one node"),
        ),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
    Verb(
        name="scrub resume",
        group=GROUP,
        summary="Let scrubbing go on before its pause ends",
        arguments=_node_arguments,
        run=_resume,
        examples=(Example("dfs-admin scrub resume", "everywhere"),),
        exits=(*ONLINE, EXIT_NOT_FOUND),
    ),
)
