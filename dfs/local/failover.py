"""How the NameNodes of a local cluster stand towards each other, and waiting until that is well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DaemonFailed
from dfs.local.admin_session import AdminSession
from dfs.local.launching import POLL_S, READY_WITHIN_S
from dfs.local.roster import NAMENODE, Member
from dfs.wire.ha_api import HaStatus

LEADER: Final = "leader"
AUTOMATIC: Final = "automatic"
MACHINES_MIN: Final = 3  # fewer cannot tell a dead leader from a cut line


@dataclass(frozen=True, slots=True)
class Standing:
    """A NameNode in the failover of its cluster.

    `role` is `leader`, `standby` or `candidate` by its own word, and `unknown` where it gives none;
    `epoch` is the one it knows, 0 where it says none; it is `in_sync` if the leader waits for it
    with every change, and false where nobody leads.
    """

    role: str
    epoch: int
    in_sync: bool


def standings(session: AdminSession, namenodes: tuple[Member, ...]) -> dict[str, Standing]:
    """Of each of them, by its name here."""
    said = {member.name: session.ha_status(member.http) for member in namenodes}
    leader = leader_of(tuple(said.values()))
    sync = {line.url for line in leader.members if line.in_sync} if leader else set()
    return {
        member.name: Standing(
            role=own.role if own is not None else "unknown",
            epoch=own.epoch if own is not None else 0,
            in_sync=member.http in sync,
        )
        for member in namenodes
        for own in (said[member.name],)
    }


def leader_of(said: tuple[HaStatus | None, ...]) -> HaStatus | None:
    """What the one says that leads in the highest epoch; None while none does."""
    leading = [each for each in said if each is not None and each.role == LEADER]
    return max(leading, key=lambda each: each.epoch, default=None)


def await_failover(session: AdminSession, running: Sequence[Member], *, clock: Clock) -> HaStatus:
    """Wait until every NameNode is in sync and, from three daemons on, one may die unnoticed.

    Args:
        running: the daemons that may be counted on.

    Raises:
        DaemonFailed: that does not come about.
    """
    namenodes = [member for member in running if member.role == NAMENODE]
    urls = {member.http for member in namenodes}
    deadline_s = clock.monotonic_s() + READY_WITHIN_S
    while True:
        status = leader_of(tuple(session.ha_status(member.http) for member in namenodes))
        if status is not None and urls <= {each.url for each in status.members if each.in_sync}:
            decided = status.mode == AUTOMATIC or len(running) < MACHINES_MIN
            if decided and status.voters:
                return status
        if clock.monotonic_s() > deadline_s:
            raise DaemonFailed(
                "not every NameNode is in sync, or too few voters are found",
                hint="how it stands: dfs-admin ha status",
            )
        clock.sleep(POLL_S)
