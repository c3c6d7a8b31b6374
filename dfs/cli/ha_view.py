"""How failover stands, as all NameNodes together tell it: asked of each, and laid out for people.

Each sees the others as far as it hears them.  Believed is who leads in the highest epoch, else who
has the newest journal; of its own role each is believed itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dfs.base.errors import DfsError, NamenodeUnreachable, NotLeader
from dfs.base.units import format_duration
from dfs.cli import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dfs.cli.verbs import Context
    from dfs.client.namenode_link import NamenodeLink
    from dfs.wire.ha_api import HaStatus, MemberLine

ANSWER_MAX_S: Final = 5.0
LEADER: Final = "leader"
STATUS_HINT: Final = "how failover stands: dfs-admin ha status"
MEMBERS: Final = ("NAMENODE", "ROLE", "IN SYNC", "LAG", "HEARD", "MACHINE", "URL")
MEMBERS_RIGHT: Final = (3, 4)
MEMBERS_SPARE: Final = (5,)
VOTERS: Final = ("VOTER", "ON", "MACHINE", "HEARD")
VOTERS_RIGHT: Final = (3,)
OUTLOOK: Final = ("IF IT DIED NOW", "SERVICE", "BECAUSE")
REASON_COLUMNS_MIN: Final = 30
_MODES: Final = {
    "single": "no failover",
    "manual": "failover by hand",
    "automatic": "automatic failover",
}


class Heard(NamedTuple):
    """What one NameNode said, or why it said nothing."""

    url: str
    status: HaStatus | None = None
    error: DfsError | None = None


class HaView(NamedTuple):
    """What all of them said, the one that is believed apart."""

    heard: Sequence[Heard]
    best: HaStatus
    best_url: str

    @property
    def leads(self) -> bool:
        """Whether any of them says that it leads."""
        return self.best.role == LEADER

    @property
    def serves(self) -> bool:
        """Whether one leads and answers clients."""
        return self.leads and not self.best.why_not_serving

    def own_word(self, name: str) -> Heard | None:
        """What that NameNode said itself."""
        return next((h for h in self.heard if h.status is not None and h.status.name == name), None)


def look(context: Context) -> HaView:
    """Ask every NameNode that is known, or that one of them knows.

    Raises:
        NamenodeUnreachable: none answers.
        DfsError: what they refuse, when all do.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - start-up time

    from dfs.wire.leading import NAMENODES_MAX  # noqa: PLC0415

    link = context.client.link
    heard: dict[str, Heard] = {}
    waiting = list(link.by_lead)
    with ThreadPoolExecutor(NAMENODES_MAX, "dfs-ha") as pool:
        while fresh := [url for url in waiting if url not in heard][:NAMENODES_MAX]:
            heard.update((one.url, one) for one in pool.map(lambda url: _ask(link, url), fresh))
            statuses = [one.status for one in heard.values() if one.status is not None]
            waiting = [line.url.rstrip("/") for status in statuses for line in status.members]
            if len(heard) >= 2 * NAMENODES_MAX:
                break
    return _believed(list(heard.values()))


def leader_of(view: HaView) -> str:
    """The base URL of who leads.

    Raises:
        NotLeader: nobody does.
    """
    if not view.leads:
        raise NotLeader("no NameNode leads", hint=STATUS_HINT)
    return view.best_url


def _ask(link: NamenodeLink, url: str) -> Heard:
    from dfs.wire.routes import HA_STATUS  # noqa: PLC0415 - start-up time
    from dfs.wire.shapes import Nothing  # noqa: PLC0415

    try:
        status = link.ask_one(url, HA_STATUS, Nothing(), patience_s=ANSWER_MAX_S)
    except DfsError as exc:
        return Heard(url, error=exc)
    return Heard(url, status)


def _believed(heard: Sequence[Heard]) -> HaView:
    told = [(one.status, one.url) for one in heard if one.status is not None]
    if not told:
        errors = [one.error for one in heard if one.error is not None]
        spoken = [exc for exc in errors if not isinstance(exc, NamenodeUnreachable)]
        if spoken:
            raise spoken[0]
        raise NamenodeUnreachable("; ".join(exc.message for exc in errors))
    best, url = max(told, key=lambda each: (each[0].role == LEADER, each[0].epoch, each[0].txid))
    return HaView(heard, best, url)


# --- for people ---------------------------------------------------------------------------------


def show(context: Context, view: HaView) -> None:
    """Print it: a headline, then who there is, then what if."""
    out = context.out
    for line in headline(view):
        out.line(line)
    out.line()
    with out.table(MEMBERS, right=MEMBERS_RIGHT, spare=MEMBERS_SPARE) as table:
        for cells in member_cells(view):
            table.row(None, *cells)
    for line in troubles(view):
        out.line(line)
    if view.best.voters:
        out.line()
        with out.table(VOTERS, right=VOTERS_RIGHT) as table:
            for voter in view.best.voters:
                heard = _heard(voter.silent_s) if view.leads else render.NOTHING
                table.row(None, voter.voter, voter.daemon, voter.machine, heard)
    if view.best.outlook:
        out.line()
        room = out.line_width() if out.terminal else None
        with out.table(OUTLOOK) as table:
            for cells in outlook_cells(view, room):
                table.row(None, *cells)
    if view.best.last_notes:
        out.line()
        out.line("lately:")
        for note in view.best.last_notes:
            out.line(f"  {note}")


def headline(view: HaView) -> Iterator[str]:
    """What matters most, first."""
    best = view.best
    mode = _MODES.get(best.mode, best.mode)
    yield f"{mode}: {best.why}" if best.why else mode
    place = f"epoch {best.epoch}, record {best.txid:,}"
    if view.leads:
        lease = f", its lease holds for {best.lease_left_s:.1f}s" if best.lease_left_s >= 0 else ""
        yield f"{best.name} leads: {place}{lease}"
    else:
        yield f"NO NAMENODE LEADS; this is what {best.name} knows: {place}"
    if best.why_not_serving:
        yield f"{best.name} does not serve: {best.why_not_serving}"
    if best.lossy:
        yield "LOSSY: the lead was taken by force; acknowledged records may have been lost"
        yield "when that is dealt with: dfs-admin ha acknowledge-loss"
    if best.preferred and best.preferred != best.name:
        yield f"{best.preferred} is preferred, but does not lead"


def member_cells(view: HaView) -> Iterator[tuple[str, ...]]:
    """A row for each NameNode, those that only the configuration knows last."""
    named = set()
    for line in view.best.members:
        named.add(line.url.rstrip("/"))
        own = view.own_word(line.name)
        if own is not None:
            named.add(own.url)
        yield (
            line.name,
            own.status.role if own is not None and own.status is not None else line.role,
            "yes" if line.in_sync else "no",
            f"{line.lag_records:,}" if _knows_lag(view, line) else render.NOTHING,
            _heard(line.silent_s) if _listens(view, line) else render.NOTHING,
            line.machine,
            line.url,
        )
    for one in view.heard:
        if one.url in named:
            continue
        status = one.status
        name, role = (status.name, status.role) if status is not None else ("?", "no answer")
        nothing = (render.NOTHING,) * 4
        yield (name, role, *nothing, one.url)


def outlook_cells(view: HaView, room: int | None) -> Iterator[tuple[str, ...]]:
    """What becomes of the service when a machine dies now, long reasons on lines of their own.

    Args:
        room: columns of the terminal; None for any number.
    """
    from textwrap import wrap  # noqa: PLC0415 - start-up time

    lines = view.best.outlook
    taken = [
        max([len(head), *map(render.width, cells)])
        for head, cells in zip(
            OUTLOOK,
            ([each.machine for each in lines], [each.verdict for each in lines]),
            strict=False,
        )
    ]
    left = None if room is None else max(REASON_COLUMNS_MIN, room - sum(taken) - 2 * len(taken))
    for each in lines:
        first, *more = (wrap(each.reason, left) if left else [each.reason]) or [""]
        yield (each.machine, each.verdict, first)
        for rest in more:
            yield ("", "", rest)


def troubles(view: HaView) -> Iterator[str]:
    """What is wrong with each of them, in sentences."""
    for one in view.heard:
        if one.error is not None:
            said = one.error.message
            yield said if one.url in said else f"{one.url}: {said}"
    for line in view.best.members:
        if line.mistrusted:
            yield f"{line.name} is not handed the lead: {line.mistrusted}"
    for one in view.heard:
        other = one.status
        if other is not None and other.role == LEADER and one.url != view.best_url:
            yield f"{other.name} still takes itself for the leader, of epoch {other.epoch}"
    yield from _strays(view)
    if view.best.digests:
        yield f"tables: {view.best.digests}"
    if view.best.refused_letters:
        letters = render.count(view.best.refused_letters, "letter")
        yield f"{letters} refused: not of this cluster, or not whole"


def _strays(view: HaView) -> Iterator[str]:
    """Of those that run, and that the leader does not count among its own."""
    known = {line.name for line in view.best.members}
    for one in view.heard if view.leads else ():
        if one.status is not None and one.status.name not in known:
            yield f"{one.status.name} at {one.url} was removed, or never let in: stop it"


def _listens(view: HaView, line: MemberLine) -> bool:
    """Whether the one that is believed would hear it: standbys hear nobody but who leads."""
    return line.name != view.best.name and (view.leads or line.silent_s >= 0)


def _knows_lag(view: HaView, line: MemberLine) -> bool:
    """Of one that a new leader never heard it does not know what it has."""
    return line.lag_records >= 0 and (line.name == view.best.name or line.silent_s >= 0)


def own_line(status: HaStatus) -> MemberLine | None:
    """How the NameNode that was asked sees itself."""
    return next((line for line in status.members if line.name == status.name), None)


def _heard(silent_s: float) -> str:
    return f"{format_duration(silent_s)} ago" if silent_s >= 0 else "never"


# --- for programs -------------------------------------------------------------------------------


def document(view: HaView) -> dict[str, render.Json]:
    """All that was said."""
    return {
        "leads": view.leads,
        "serves": view.serves,
        "believed": view.best_url,
        "status": render.to_json(view.best),
        "namenodes": [
            {
                "url": one.url,
                "error": one.error.message if one.error is not None else "",
                "status": render.to_json(one.status),
            }
            for one in view.heard
        ],
    }
