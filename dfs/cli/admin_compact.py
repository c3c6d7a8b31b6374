"""Verbs of `dfs-admin` on compaction: compact status, compact start, compact stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.job_progress import RUNNING, follow
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    import argparse

    from dfs.wire.compact_api import CompactReply

GROUP: Final = "integrity"
LEFT_SHOWN: Final = 5


def _ask(context: Context) -> CompactReply:
    from dfs.wire.routes import COMPACT_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return context.call(COMPACT_STATUS, Nothing())


def _wait_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", action="store_true", help="until the round is over, with progress"
    )


def _wait(context: Context, reply: CompactReply) -> CompactReply:
    """Until the round is over; how it ended."""
    return follow(
        context,
        "compact",
        reply,
        ask=_ask,
        sight=lambda now: (_share(now), _progress_words(now)),
    )


def _share(reply: CompactReply) -> float:
    """How much of the round is behind, 0 to 1: the look first, then what is planned."""
    if reply.state != RUNNING:
        return 1.0
    done = reply.round_bytes_done / reply.round_bytes if reply.round_bytes else 0.0
    return 0.1 * reply.round_share + 0.9 * done


def _progress_words(reply: CompactReply) -> str:
    """``40 of 100 packs, 1.2 GiB left, 18 MiB/s, ETA 30s``."""
    if not reply.round_packs:
        parts = [f"{reply.round_share:.0%} of the blocks looked at"]
    else:
        left_bytes = reply.round_bytes - reply.round_bytes_done
        packs = render.count(reply.round_packs, "pack")
        parts = [f"{reply.round_packs_done} of {packs}", f"{format_size(left_bytes)} left"]
        if reply.round_share < 1:
            parts.append(f"{reply.round_share:.0%} of the blocks looked at")
    if reply.rate_bytes_per_s:
        parts.append(f"{format_size(reply.rate_bytes_per_s)}/s")
    if reply.eta_s:
        parts.append(f"ETA {format_duration(reply.eta_s)}")
    if reply.why:
        parts.append(reply.why)
    return ", ".join(parts)


def _status(context: Context) -> int:
    reply = _ask(context)
    if context.args.wait:
        reply = _wait(context, reply)
    _show(context, reply)
    return EXIT_FAILED if reply.state != RUNNING and reply.why else EXIT_DONE


def _show(context: Context, reply: CompactReply) -> None:
    context.out.document(render.to_json(reply))
    if context.out.text:
        for name, value in _facts(reply):
            context.out.line(f"{name + ':':<11}{value}")


def _facts(reply: CompactReply) -> list[tuple[str, str]]:
    facts = [("state", _state_words(reply))]
    if reply.state == RUNNING:
        facts.append(("progress", f"{_share(reply):.0%}, {_progress_words(reply)}"))
    elif reply.why:
        facts.append(("why", reply.why))
    facts += _looked(reply)
    facts.append(("done", _done_words(reply)))
    if reply.failed:
        facts.append(("failed", render.count(reply.failed, "pack")))
    for left in reply.left_blocks[-LEFT_SHOWN:]:
        facts.append(("left", f"block {left.block}: {left.why}"))
    return facts


def _state_words(reply: CompactReply) -> str:
    match reply.state:
        case "stopped":
            return f"stopped by {reply.by}; let it go on: dfs-admin compact start"
        case "off":
            return "off ([compact] enabled); one round by hand: dfs-admin compact start"
        case "resting":
            return f"resting until {render.local_time(reply.next_ms)}"
    return reply.state


def _looked(reply: CompactReply) -> list[tuple[str, str]]:
    """What the last look found; sizes are of one copy of everything."""
    if not reply.looked_ms:
        return [("packs", "not looked at since the NameNode started")]
    packs = render.count(reply.packs, "pack")
    files = render.count(reply.packed_files, "file")
    size = format_size(reply.pack_total_bytes)
    holed = render.count(reply.holed_blocks, "block")
    small = render.count(reply.small_blocks, "small block")
    return [
        ("looked", render.local_time(reply.looked_ms)),
        ("packs", f"{packs} of {files}, {size}"),
        ("holes", f"{format_size(reply.hole_bytes)} of blocks is in no use"),
        ("to win", f"{format_size(reply.win_bytes)}, in {holed} mostly empty"),
        ("to gather", f"{small}, {format_size(reply.small_bytes)}"),
    ]


def _done_words(reply: CompactReply) -> str:
    if not reply.packs_written:
        return "no pack written yet"
    packs = render.count(reply.packs_written, "pack")
    blocks = render.count(reply.blocks_emptied, "block")
    won = f", {format_size(reply.won_bytes)} won" if reply.won_bytes > 0 else ""
    return f"{packs} written from {blocks}, {format_size(reply.moved_bytes)}{won}"


def _start(context: Context) -> int:
    from dfs.wire.routes import COMPACT_START  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    before = context.call(COMPACT_START, Nothing())
    if not context.args.wait:
        context.out.answer(render.to_json(before), "started: all blocks are looked at")
        context.out.note("watch it: dfs-admin compact status --wait")
        return EXIT_DONE
    reply = _wait(context, before)
    packs = render.count(reply.packs_written - before.packs_written, "pack")
    blocks = render.count(reply.blocks_emptied - before.blocks_emptied, "block")
    won = format_size(max(0, reply.won_bytes - before.won_bytes))
    words = f"{packs} written from {blocks}, {won} won"
    context.out.answer(render.to_json(reply), words, *([reply.why] if reply.why else []))
    return EXIT_FAILED if reply.why else EXIT_DONE


def _stop(context: Context) -> int:
    from dfs.wire.routes import COMPACT_STOP  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    reply = context.call(COMPACT_STOP, Nothing())
    context.out.answer(render.to_json(reply), f"stopped; {_done_words(reply)}")
    return EXIT_DONE


VERBS: Final = (
    Verb(
        name="compact status",
        group=GROUP,
        summary="Show packs, the holes in them, and how far compaction is",
        description="Small files share blocks, packs.  Files that were removed leave holes in\n"
        "them until what is left is written into a new pack; small files that have a block\n"
        "each are gathered into packs.  This goes on by itself ([compact] in the\n"
        "configuration).  Sizes are of one copy of everything.  The exit code is 1 when the\n"
        "last round ended badly.",
        arguments=_wait_argument,
        run=_status,
        examples=(
            Example("dfs-admin compact status", "once"),
            Example("dfs-admin compact status --wait", "stay until the round is over"),
        ),
        exits=(*ONLINE, EXIT_FAILED),
    ),
    Verb(
        name="compact start",
        group=GROUP,
        summary="Rewrite packs with holes and gather small files now",
        description="Every byte is held against its file's checksum before it is written anew,\n"
        "and the old block goes only after the new one is on as many DataNodes, so it may be\n"
        "interrupted at any point.  Takes back `dfs-admin compact stop`.  The exit code is 5\n"
        "when a round runs already.",
        arguments=_wait_argument,
        run=_start,
        examples=(Example("dfs-admin compact start --wait", "one round, with a bar"),),
        exits=(*ONLINE, EXIT_FAILED, EXIT_CONFLICT),
    ),
    Verb(
        name="compact stop",
        group=GROUP,
        summary="Write no more packs, but for the one under way",
        description="Until `dfs-admin compact start`, over restarts of the NameNode as well.",
        run=_stop,
        examples=(Example("dfs-admin compact stop", "what was rewritten stays where it is"),),
        exits=(*ONLINE, EXIT_CONFLICT),
    ),
)
