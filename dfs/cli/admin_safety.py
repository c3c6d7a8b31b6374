"""Verbs of `dfs-admin` on safe mode, and on metadata older than what DataNodes have seen."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, WaitTimedOut
from dfs.base.ids import NodeId, node_name
from dfs.base.units import format_duration
from dfs.cli import render
from dfs.cli.arguments import duration_argument
from dfs.cli.job_progress import following
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_USAGE

if TYPE_CHECKING:
    from dfs.wire.safety_api import SafetyReply

GROUP: Final = "safety"
POLL_S: Final = 0.5
NAMED_MAX: Final = 10


def _status(context: Context) -> int:
    _show(context, _ask(context))
    return EXIT_DONE


def _ask(context: Context) -> SafetyReply:
    from dfs.wire.routes import SAFETY  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return context.call(SAFETY, Nothing())


def _show(context: Context, reply: SafetyReply) -> None:
    context.out.answer(_reply_json(reply), *_lines(reply))


def _lines(reply: SafetyReply) -> list[str]:
    lines = [f"safe mode is on: {reply.safe_mode}" if reply.safe_mode else "safe mode is off"]
    if reply.by_hand:
        lines.append(f"entered by {reply.by_hand} at {render.local_time(reply.since_ms)}")
    if reply.starting and reply.blocks:
        share = f"{reply.found} of {render.count(reply.blocks, 'block')} found"
        lines.append(f"{share}, {reply.wanted_percent:g} % wanted")
    if reply.awaited:
        lines.append(f"not heard in full yet: {_names(reply.awaited)}")
    if reply.regressed:
        lines.append(f"REGRESSED: {reply.regressed}")
        lines.append("start the NameNode with its newest database; if there is none:")
        lines.append("dfs-admin safemode accept-regression --yes")
    if reply.frozen:
        lines.append(f"frozen: {reply.frozen}")
        lines.append("if they do not come back: dfs-admin repair resume --accept-loss")
    if reply.no_deletes and not (reply.safe_mode or reply.regressed or reply.frozen):
        lines.append(reply.no_deletes)
    return lines


def _names(nodes: list[int]) -> str:
    named = ", ".join(node_name(NodeId(node)) for node in nodes[:NAMED_MAX])
    return named if len(nodes) <= NAMED_MAX else f"{named} and {len(nodes) - NAMED_MAX} more"


def _reply_json(reply: SafetyReply) -> render.Json:
    made = render.to_json(reply)
    assert isinstance(made, dict)
    return {"on": bool(reply.safe_mode), **made}


def _enter(context: Context) -> int:
    from dfs.wire.routes import ENTER_SAFE_MODE  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    _show(context, context.call(ENTER_SAFE_MODE, Nothing()))
    return EXIT_DONE


def _leave_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="though too little is known of the blocks yet"
    )


def _leave(context: Context) -> int:
    from dfs.wire.routes import LEAVE_SAFE_MODE  # noqa: PLC0415 - start-up time
    from dfs.wire.safety_api import LeaveSafeModeRequest  # noqa: PLC0415

    _show(context, context.call(LEAVE_SAFE_MODE, LeaveSafeModeRequest(force=context.args.force)))
    return EXIT_DONE


def _wait_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=duration_argument, metavar="TIME", help="wait no longer than that"
    )


def _wait(context: Context) -> int:
    timeout_s = context.args.timeout
    began_s = context.clock.monotonic_s()
    with following(context, "safe mode") as progress:
        while (reply := _ask(context)).safe_mode:
            share = reply.found / reply.blocks if reply.blocks else 0.0
            progress.show(share, reply.safe_mode)
            if timeout_s is not None and context.clock.monotonic_s() - began_s >= timeout_s:
                raise WaitTimedOut(
                    f"safe mode is still on after {format_duration(timeout_s)}: {reply.safe_mode}",
                    hint="dfs-admin safemode leave"
                    if reply.by_hand
                    else "see which DataNodes are missing: dfs-admin nodes",
                )
            context.clock.sleep(POLL_S)
    _show(context, reply)
    return EXIT_DONE


def _accept_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="I know that what was written since then is lost"
    )


def _accept(context: Context) -> int:
    from dfs.wire.routes import ACCEPT_REGRESSION  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    if not context.args.yes:
        raise BadRequest(
            "files written after this copy of the database was made are lost by this",
            hint="if there is no newer database, add --yes",
        )
    reply = context.call(ACCEPT_REGRESSION, Nothing())
    context.out.answer(
        {"accepted": True, "epoch": reply.epoch},
        f"accepted: epoch {reply.epoch} began; blocks that only the lost history knew are kept",
    )
    return EXIT_DONE


VERBS: Final = (
    Verb(
        name="safemode",
        group=GROUP,
        summary="Show whether changes are refused, and why",
        description="With what holds repair and deletions back: a storm, a regression, a force.",
        run=_status,
        examples=(Example("dfs-admin safemode", "why a put is refused"),),
    ),
    Verb(
        name="safemode enter",
        group=GROUP,
        summary="Refuse every change until somebody ends it",
        description="Reads go on; nothing is repaired, deleted or purged, and no write expires.",
        run=_enter,
        examples=(Example("dfs-admin safemode enter", "before a risky day"),),
    ),
    Verb(
        name="safemode leave",
        group=GROUP,
        summary="Let changes be made again",
        description="By force also before the DataNodes have said where enough blocks are; then\n"
        "nothing is deleted for a while.",
        arguments=_leave_arguments,
        run=_leave,
        examples=(Example("dfs-admin safemode leave", "the day is over"),),
        exits=(*ONLINE, EXIT_CONFLICT),
    ),
    Verb(
        name="safemode wait",
        group=GROUP,
        summary="Wait until changes are welcome",
        arguments=_wait_arguments,
        run=_wait,
        examples=(Example("dfs-admin safemode wait --timeout 5m", "after a restart, in a script"),),
    ),
    Verb(
        name="safemode accept-regression",
        group=GROUP,
        summary="Go on from metadata older than what DataNodes have seen",
        description="When an old copy of the database was started and there is no newer one.  No\n"
        "number of the lost history is given twice, and its block files are kept.",
        arguments=_accept_arguments,
        run=_accept,
        examples=(Example("dfs-admin safemode accept-regression --yes", "there is no newer one"),),
        exits=(*ONLINE, EXIT_USAGE, EXIT_CONFLICT),
    ),
)
