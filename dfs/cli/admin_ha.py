"""Verbs of `dfs-admin` on failover: who leads, hand over, what no machine may decide by itself."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from dfs.base.errors import BadRequest, NamenodeUnreachable
from dfs.cli import render
from dfs.cli.ha_view import LEADER, STATUS_HINT, document, leader_of, look, own_line, show
from dfs.cli.output import is_terminal
from dfs.cli.verbs import ONLINE, Context, Example, Verb
from dfs.observe.exit_codes import (
    EXIT_CONFLICT,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfs.wire.ha_api import HaOrderReply, HaOrderRequest, HaStatus

GROUP: Final = "failover"
CHANGES: Final = ("replace", "add", "remove")
TYPED_CHARACTERS_MAX: Final = 100
ORDERS: Final = (*ONLINE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFLICT)


def _status(context: Context) -> int:
    view = look(context)
    if view.leads:  # kept with the session: it has to hold at a standby once nobody leads
        urls = [line.url for line in view.best.members if line.url]
        context.client.link.remember([view.best_url, *urls])
    context.out.document(document(view))
    if context.out.text:
        show(context, view)
    return EXIT_DONE if view.serves else EXIT_UNAVAILABLE


# --- orders to who leads ------------------------------------------------------------------------


def _switchover_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default="", metavar="NAME", help="whom; else who is nearest")


def _switchover(context: Context) -> int:
    return _to_leader(context, "switchover", member=context.args.to)


def _voter_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("change", choices=CHANGES, metavar="|".join(CHANGES), help="what to do")
    parser.add_argument("voters", nargs="+", metavar="VOTER", help="OLD NEW, NEW, or OLD")


def _voter(context: Context) -> int:
    change, voters = context.args.change, context.args.voters
    wanted = 2 if change == "replace" else 1
    if len(voters) != wanted:
        names = {"replace": "OLD NEW", "add": "NEW", "remove": "OLD"}[change]
        raise BadRequest(
            f"{change} takes {render.count(wanted, 'voter')}",
            hint=f"dfs-admin ha voter {change} {names}",
        )
    old = "" if change == "add" else voters[0]
    fresh = "" if change == "remove" else voters[-1]
    return _to_leader(context, "replace-voter", member=old, fresh=fresh)


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as dfs-admin ha status shows it")


def _remove(context: Context) -> int:
    return _to_leader(context, "remove", member=context.args.name)


def _verify(context: Context) -> int:
    return _to_leader(context, "verify")


def _acknowledge(context: Context) -> int:
    return _to_leader(context, "acknowledge-loss")


def _to_leader(context: Context, order: str, *, member: str = "", fresh: str = "") -> int:
    from dfs.wire.ha_api import HaOrderRequest  # noqa: PLC0415 - start-up time

    url = leader_of(look(context))
    return _order(context, url, HaOrderRequest(order=order, member=member, fresh=fresh))


def _order(context: Context, url: str, request: HaOrderRequest) -> int:
    from dfs.wire.routes import HA_ORDER  # noqa: PLC0415 - start-up time

    try:
        reply = context.client.link.ask_one(url, HA_ORDER, request)
    except NamenodeUnreachable as exc:
        raise NamenodeUnreachable(
            f"{exc.message}; whether it was done is not known", hint=STATUS_HINT
        ) from exc
    return _tell(context, reply)


def _tell(context: Context, reply: HaOrderReply) -> int:
    said: Sequence[str] = reply.said or (["done"] if reply.done else [])
    context.out.answer(reply, *said)
    if not reply.done:
        context.out.note("it was not done")
    return EXIT_DONE if reply.done else EXIT_FAILED


# --- orders to one that does not lead -----------------------------------------------------------


def _loss_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-loss",
        type=_number,
        metavar="N",
        help="the number that would be typed, for scripts",
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"not a number of records: {text!r}")
    return int(text)


def _promote(context: Context) -> int:
    url, status = _asked_by_name(context, "promote")
    other = status.leader or "the one that led"
    lines = [
        f"{status.name} was in contact with {other} until record {status.txid:,}.",
        f"What {other} acknowledged after that, and nobody else has, is lost by this.",
        f"If {other} is alive, out of reach, what it still acknowledges is lost as well:",
        "make sure that it is dead, and stays off until it can reach this machine.",
    ]
    if len(status.voters) > 1:
        lines += [
            f"So are the machines of most of the {len(status.voters)} voters, or this is refused;",
            f"only that of {status.name} counts from then on, until machines come to have more.",
        ]
    typed = _confirmed(context, status, lines, "the last contact", status.txid)
    return _alone(context, url, "promote", typed)


def _force(context: Context) -> int:
    url, status = _asked_by_name(context, "force-lead")
    own = own_line(status)
    gap = own.lag_records if own is not None and own.lag_records >= 0 else None
    lines = [f"{status.name} has the journal up to record {status.txid:,}."]
    if gap is None:
        lines.append("How many records it lacks, it does not know; voters may, and then it says so")
        lines.append("and does nothing, unless that is the number that you type.")
    else:
        lacks = render.count(gap, "record")
        lines.append(f"It lacks {lacks} that were acknowledged; they are lost by this.")
    lines.append("A NameNode that has them, or its disk, is worth looking for first.")
    typed = _confirmed(context, status, lines, "how many records are lost", gap)
    return _alone(context, url, "force-lead", typed)


def _asked_by_name(context: Context, verb: str) -> tuple[str, HaStatus]:
    """The one NameNode that was named, and how it sees things.

    Raises:
        BadRequest: none was named, or several; or it leads.
    """
    from dfs.wire.routes import HA_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    link = context.client.link
    if not context.args.namenode or len(link.configured) != 1:
        raise BadRequest(
            f"{verb} is an order to one NameNode, and none else may take it",
            hint=f"name it: dfs-admin ha {verb} --namenode http://HOST:PORT",
        )
    url = link.configured[0]
    status = link.ask_one(url, HA_STATUS, Nothing())
    if status.role == LEADER:
        raise BadRequest(f"{status.name} leads already", hint=STATUS_HINT)
    return url, status


def _confirmed(
    context: Context, status: HaStatus, lines: Sequence[str], what: str, expected: int | None
) -> int:
    """The number that the operator typed, once he was told what it means.

    Raises:
        BadRequest: he typed another one, or there is nobody to ask.
    """
    if context.args.accept_loss is not None:
        return int(context.args.accept_loss)
    if not is_terminal(context.stdin):
        number = "N" if expected is None else str(expected)
        raise BadRequest(
            " ".join([*lines, "There is no terminal to confirm that on."]),
            hint=f"to go on without one: --accept-loss {number}",
        )
    stderr = context.out.stderr
    for line in (status.why, *lines):
        stderr.write(f"{render.plain(line)}\n" if line else "")
    stderr.write(f"To go on, type {what}: ")
    stderr.flush()
    typed = context.stdin.readline(TYPED_CHARACTERS_MAX).strip().replace(",", "")
    try:
        number_typed = _number(typed)
    except argparse.ArgumentTypeError as exc:
        raise BadRequest(f"{exc}; nothing was done") from None
    if expected is not None and number_typed != expected:
        raise BadRequest(f"that is not {what}; nothing was done")
    return number_typed


def _alone(context: Context, url: str, order: str, records: int) -> int:
    from dfs.wire.ha_api import HaOrderRequest  # noqa: PLC0415 - start-up time

    return _order(context, url, HaOrderRequest(order=order, records=records))


VERBS: Final = (
    Verb(
        name="ha status",
        group=GROUP,
        summary="Show who leads, who could, and what if a machine died now",
        description="Every NameNode is asked.  Who leads is believed about the others; exit code\n"
        "6 says that none leads, or that the leader does not serve.",
        run=_status,
        examples=(
            Example("dfs-admin ha status", "is everybody in sync?"),
            Example("dfs-admin ha status --json", "for a monitor"),
        ),
    ),
    Verb(
        name="ha switchover",
        group=GROUP,
        summary="Hand the lead to another NameNode, without losing anything",
        description="To one that has every record.  Clients wait for well under a second.",
        arguments=_switchover_arguments,
        run=_switchover,
        examples=(
            Example("dfs-admin ha switchover", "before this machine is rebooted"),
            Example("dfs-admin ha switchover --to nn-2", "to that one"),
        ),
        exits=ORDERS,
    ),
    Verb(
        name="ha promote",
        group=GROUP,
        summary="Have a standby lead that too few voters are left to elect",
        description="Two machines cannot tell the death of one from a cut between them; you can.\n"
        "So it is with more machines when most voters are gone for good.  What the dead leader\n"
        "acknowledged after the last contact is lost.  To go on, the number of the last record\n"
        "that both had has to be typed.",
        arguments=_loss_arguments,
        run=_promote,
        examples=(
            Example(
                "dfs-admin ha promote --namenode http://b:9870", "a burnt down; b is to lead now"
            ),
            Example(
                "dfs-admin ha promote --namenode http://c:9870", "a and b did, of three voters"
            ),
        ),
        exits=ORDERS,
    ),
    Verb(
        name="ha force-lead",
        group=GROUP,
        summary="Have a NameNode lead that lacks records, which are lost",
        description="When every NameNode that has them is gone for good.  To go on, the number of\n"
        "records that are lost has to be typed.",
        arguments=_loss_arguments,
        run=_force,
        examples=(
            Example("dfs-admin ha force-lead --namenode http://c:9870", "c is all that is left"),
        ),
        exits=ORDERS,
    ),
    Verb(
        name="ha voter",
        group=GROUP,
        summary="Change who votes on who leads",
        description="One is replaced by adding the new one and then removing the old.",
        arguments=_voter_arguments,
        run=_voter,
        examples=(
            Example("dfs-admin ha voter replace OLD NEW", "the machine of OLD is gone for good"),
            Example("dfs-admin ha voter add NEW", "a fourth machine is to vote too"),
            Example("dfs-admin ha voter remove OLD", "and now one less"),
        ),
        exits=ORDERS,
    ),
    Verb(
        name="ha remove",
        group=GROUP,
        summary="Take a standby away for good",
        description="One that is only down for a while comes back by itself; this is for one that\n"
        "never will.",
        arguments=_remove_arguments,
        run=_remove,
        examples=(Example("dfs-admin ha remove nn-3", "its machine was given away"),),
        exits=ORDERS,
    ),
    Verb(
        name="ha verify",
        group=GROUP,
        summary="Compare the tables of all NameNodes now",
        description="One whose tables differ is not handed the lead.  Exit code 0 says that all\n"
        "are equal, 1 that one differs or could not be compared.",
        run=_verify,
        examples=(Example("dfs-admin ha verify", "before a switchover that matters"),),
        exits=ORDERS,
    ),
    Verb(
        name="ha acknowledge-loss",
        group=GROUP,
        summary="Say that the loss by force-lead or promote is dealt with",
        description="Until then every status says LOSSY.",
        run=_acknowledge,
        examples=(Example("dfs-admin ha acknowledge-loss", "users were told"),),
        exits=ORDERS,
    ),
)
