"""Verbs of `dfs-admin` on repair: repair status, pause, resume, budget; replica restore."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.units import format_duration, format_size
from dfs.cli import render
from dfs.cli.arguments import count_argument, duration_argument, size_argument
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import EXIT_CONFLICT, EXIT_DONE, EXIT_NOT_FOUND

if TYPE_CHECKING:
    from dfs.wire.repair_api import RepairBudgetReply, RepairClassInfo, RepairReply

GROUP: Final = "integrity"
HEADINGS: Final = (
    "CLASS",
    "BLOCKS",
    "SIZE",
    "TO COPY",
    "IN FLIGHT",
    "RATE",
    "AT MOST",
    "ETA",
    "WHY WAITING",
)
RIGHT: Final = (1, 2, 3, 4, 5, 6, 7)
SPARE: Final = (2, 6)
POLL_S: Final = 0.5
PAUSE_DEFAULT_S: Final = 3600.0
CLASSES: Final = ("last_copy", "few_copies", "under", "misplaced")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="with a bar, until nothing is left to copy"
    )


def _status(context: Context) -> int:
    reply = _ask(context)
    if context.args.watch:
        reply = _watch(context, reply)
    context.out.document(reply)
    if context.out.text:
        with context.out.table(HEADINGS, right=RIGHT, spare=SPARE) as table:
            for each in reply.classes:
                table.row(None, *_cells(each))
        context.out.line()
        for words in _words(reply):
            context.out.line(words)
    return EXIT_DONE


def _ask(context: Context) -> RepairReply:
    from dfs.wire.routes import REPAIR_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    return context.call(REPAIR_STATUS, Nothing())


def _watch(context: Context, reply: RepairReply) -> RepairReply:
    """Until a survey finds nothing left to copy; the first is waited for."""
    from dfs.cli.job_progress import following  # noqa: PLC0415 - start-up time

    most = _owed(reply)
    with following(context, "repair") as progress:
        while not reply.survey or _owed(reply):
            most = max(most, _owed(reply))
            progress.show(1 - _owed(reply) / most if most else 0.0, _progress_words(reply))
            context.clock.sleep(POLL_S)
            reply = _ask(context)
    return reply


def _owed(reply: RepairReply) -> int:
    return sum(each.owed_bytes for each in reply.classes)


def _progress_words(reply: RepairReply) -> str:
    rate = sum(each.rate_bytes_per_s for each in reply.classes)
    blocks = sum(each.blocks for each in reply.classes if each.owed_bytes)
    parts = [f"{render.count(blocks, 'block')}, {format_size(_owed(reply))} to copy"]
    if rate:
        parts.append(f"{format_size(rate)}/s")
    if reply.eta_s > 0:
        parts.append(f"ETA {format_duration(reply.eta_s)}")
    why = reply.held or next((w.reason for each in reply.classes for w in each.waiting), "")
    if why and not rate:
        parts.append(why)
    return ", ".join(parts)


def _cells(each: RepairClassInfo) -> tuple[str, ...]:
    rate = each.rate_bytes_per_s
    limit = each.rate_limit_bytes
    return (
        each.name.replace("_", " "),
        f"{each.blocks:,}",
        format_size(each.size_bytes),
        format_size(each.owed_bytes),
        str(each.in_flight),
        f"{format_size(rate)}/s" if rate else render.NOTHING,
        f"{format_size(limit)}/s" if limit else "no limit",
        _eta(each.eta_s) if each.owed_bytes else render.NOTHING,
        "; ".join(f"{waiting.blocks:,}: {waiting.reason}" for waiting in each.waiting),
    )


def _eta(eta_s: float) -> str:
    return format_duration(eta_s) if eta_s >= 0 else "not known yet"


def _words(reply: RepairReply) -> list[str]:
    if not reply.survey:
        return ["the blocks have not been surveyed yet"]
    words = [
        f"{reply.whole:,} of {render.count(reply.blocks, 'block')} have what they should "
        f"({format_size(reply.size_bytes)}); full redundancy: "
        + ("now" if not _owed(reply) else _eta(reply.eta_s)),
        f"surveyed {render.local_time(reply.survey_at_ms)} in "
        f"{format_duration(reply.survey_took_s)}; since the start "
        f"{render.count(reply.copies, 'copy', 'copies')}, {format_size(reply.copied_bytes)}"
        + (f", {reply.failed:,} failed" if reply.failed else ""),
    ]
    if reply.excess or reply.retiring:
        words.append(
            f"{render.count(reply.excess, 'block')} with copies too many, "
            f"{render.count(reply.retiring, 'copy', 'copies')} on the way out"
        )
    for node, blocks in sorted(reply.leaving.items()):
        words.append(f"{node} is still needed by {render.count(blocks, 'block')}")
    if reply.held:
        words.append(f"nothing is begun: {reply.held}")
    if reply.no_deletes:
        words.append(f"no copy is retired: {reply.no_deletes}")
    return words


# --- pause, resume, budget ----------------------------------------------------------------------


def _pause_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "time",
        nargs="?",
        type=duration_argument,
        default=PAUSE_DEFAULT_S,
        metavar="FOR",
        help="for how long (1h); seven days at most",
    )


def _pause(context: Context) -> int:
    from dfs.wire.repair_api import RepairPauseRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import REPAIR_PAUSE  # noqa: PLC0415

    reply = context.call(REPAIR_PAUSE, RepairPauseRequest(for_s=context.args.time))
    context.out.answer(reply, f"repair rests until {render.local_time(reply.until_ms)}")
    context.out.note("sooner: dfs-admin repair resume")
    return EXIT_DONE


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="also without the DataNodes that vanished together, which the storm brake waits for",
    )


def _resume(context: Context) -> int:
    from dfs.wire.routes import ACCEPT_LOSS, REPAIR_RESUME  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    lost: list[str] = []
    if context.args.accept_loss:
        accepted = context.call(ACCEPT_LOSS, Nothing()).nodes
        lost = [node_name(NodeId(node)) for node in accepted]
    context.call(REPAIR_RESUME, Nothing())
    without = f" without {', '.join(lost)}" if lost else ""
    context.out.answer({"resumed": True, "accepted": lost}, f"repair goes on{without}")
    return EXIT_DONE


def _budget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", choices=CLASSES, metavar="CLASS", help=", ".join(CLASSES)
    )
    parser.add_argument(
        "rate", nargs="?", metavar="BYTES", help="a second: 20MiB, 1GiB; 0 is no limit"
    )


def _budget(context: Context) -> int:
    from dfs.wire.repair_api import RepairBudgetRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import REPAIR_BUDGET  # noqa: PLC0415

    args = context.args
    if args.name and args.rate is None:
        raise BadRequest("say how many bytes a second", hint="dfs-admin repair budget under 50MiB")
    request = RepairBudgetRequest()
    if args.name:
        rate = _rate(args.rate)
        request = RepairBudgetRequest(name=args.name, rate_bytes=rate)
    _print_budget(context, context.call(REPAIR_BUDGET, request))
    return EXIT_DONE


def _rate(text: str) -> int:
    try:
        return size_argument(text.removesuffix("/s"))
    except argparse.ArgumentTypeError as exc:
        raise BadRequest(str(exc)) from None


def _print_budget(context: Context, reply: RepairBudgetReply) -> None:
    context.out.document(reply)
    if context.out.text:
        with context.out.table(("CLASS", "AT MOST"), right=(1,)) as table:
            for name, rate in reply.rates.items():
                table.row(None, name, f"{format_size(rate)}/s" if rate else "no limit")


# --- replica restore ----------------------------------------------------------------------------


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("block", type=count_argument, metavar="BLOCK", help="its number")
    parser.add_argument("node", metavar="NODE", help="dn-3, as dfs-admin history shows it")


def _restore(context: Context) -> int:
    from dfs.wire.repair_api import RestoreRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import RESTORE_REPLICA  # noqa: PLC0415

    node = node_name(parse_node_name(context.args.node))
    context.call(RESTORE_REPLICA, RestoreRequest(block=context.args.block, node=node))
    context.out.answer(
        {"block": context.args.block, "node": node, "ordered": True},
        f"{node} is to bring block {context.args.block} back from its purge area",
    )
    context.out.note(f"what became of it: dfs-admin history {context.args.block}")
    return EXIT_DONE


VERBS: Final = (
    Verb(
        name="repair status",
        group=GROUP,
        summary="Show which blocks lack copies, and what is done about it",
        description="The worst class first: one copy left that counts, fewer than a third of\n"
        "those wanted, fewer than wanted, all on one rack, only bad copies left.",
        arguments=_status_arguments,
        run=_status,
        examples=(Example("dfs-admin repair status --watch", "until nothing is left to copy"),),
    ),
    Verb(
        name="repair pause",
        group=GROUP,
        summary="Let repair rest for a while; the pause ends by itself",
        arguments=_pause_arguments,
        run=_pause,
        examples=(Example("dfs-admin repair pause 2h", "while the network is rebuilt"),),
    ),
    Verb(
        name="repair resume",
        group=GROUP,
        summary="Let repair go on before its pause ends",
        arguments=_resume_arguments,
        run=_resume,
        examples=(
            Example("dfs-admin repair resume", "now"),
            Example("dfs-admin repair resume --accept-loss", "the rack burnt down"),
        ),
        exits=(*ONLINE, EXIT_CONFLICT),
    ),
    Verb(
        name="repair budget",
        group=GROUP,
        summary="Show or change how fast each class of repair may copy",
        description="Holds at once and after a restart; without arguments it shows what holds.",
        arguments=_budget_arguments,
        run=_budget,
        examples=(
            Example("dfs-admin repair budget", "what holds"),
            Example("dfs-admin repair budget under 200MiB", "heal faster for now"),
        ),
    ),
    Verb(
        name="replica restore",
        group=GROUP,
        summary="Bring a node's copy of a block back from its purge area",
        description="For as long as the purge area keeps it.  The copy counts once its node has\n"
        "read and reported it.",
        arguments=_restore_arguments,
        run=_restore,
        examples=(Example("dfs-admin replica restore 1042 dn-3", "a copy retired by mistake"),),
        exits=(*ONLINE, EXIT_NOT_FOUND, EXIT_CONFLICT),
    ),
)
