"""What `/metrics` shows of failover: on a NameNode how it stands, on any daemon its letters.

A leader and a standby show the same names.  What cannot be known where it is asked (a standby hears
no voters) is NaN, which no rule of an alert matches.
"""

import math
from collections.abc import Callable
from typing import Protocol

from dfs.failover.post_office import PostState
from dfs.observe.metrics import Metrics
from dfs.wire.ha_api import HaStatus

UNKNOWN = math.nan


class FailoverShown(Protocol):
    """Where the numbers come from; `dfs.failover.desk.FailoverDesk` is the one in use."""

    def status(self) -> HaStatus:
        """How failover stands."""
        ...

    def post_state(self) -> PostState | None:
        """What went through the post office; None while nobody is known."""
        ...


def add_failover_gauges(metrics: Metrics, shown: FailoverShown) -> None:
    """Show how failover stands, as that NameNode sees it, and its letters."""

    def of(read: Callable[[HaStatus], float]) -> Callable[[], float]:
        return lambda: read(shown.status())

    metrics.gauge("dfs_ha_leads", "1 while this NameNode leads and serves", of(_leads))
    metrics.gauge(
        "dfs_ha_epoch", "Highest epoch this NameNode promised", of(lambda status: status.epoch)
    )
    metrics.gauge(
        "dfs_ha_members", "NameNodes of the cluster", of(lambda status: len(status.members))
    )
    metrics.gauge("dfs_ha_members_in_sync", "NameNodes that have every change", of(_in_sync))
    metrics.gauge("dfs_ha_lag_records", "Records that the last of the standbys lacks", of(_lag))
    metrics.gauge("dfs_ha_voters", "Voters in force", of(lambda status: len(status.voters)))
    metrics.gauge("dfs_ha_voters_answering", "Voters that answered lately", of(_answering))
    metrics.gauge("dfs_ha_lease_left_seconds", "Until the leader's lease ends", of(_lease_left))
    metrics.gauge(
        "dfs_ha_lossy", "1 until a forced lead is acknowledged", of(lambda status: status.lossy)
    )
    add_letter_gauges(metrics, shown.post_state)


def add_letter_gauges(metrics: Metrics, state: Callable[[], PostState | None]) -> None:
    """Show what went through a post office; all are 0 while nobody to write to is known."""

    def of(read: Callable[[PostState], int]) -> Callable[[], float]:
        def count() -> float:
            post = state()
            return read(post) if post is not None else 0

        return count

    metrics.gauge(
        "dfs_letters_sent", "Letters of failover that got there", of(lambda post: post.sent)
    )
    metrics.gauge(
        "dfs_letters_dropped", "Letters that did not get there", of(lambda post: post.dropped)
    )
    metrics.gauge(
        "dfs_letters_received", "Letters of failover taken in", of(lambda post: post.received)
    )
    metrics.gauge(
        "dfs_letters_misdirected", "Letters to nobody here", of(lambda post: post.misdirected)
    )
    metrics.gauge(
        "dfs_letters_refused", "Letters not believed, or not read", of(lambda post: post.refused)
    )
    metrics.gauge(
        "dfs_letters_undeliverable",
        "Letters to who has no known address",
        of(lambda post: post.undeliverable),
    )


def _leads(status: HaStatus) -> float:
    return status.role == "leader" and not status.why_not_serving


def _in_sync(status: HaStatus) -> float:
    return sum(each.in_sync for each in status.members)


def _lag(status: HaStatus) -> float:
    """A leader sees all standbys, a standby itself."""
    mine = status.role != "leader"
    lags = [
        each.lag_records
        for each in status.members
        if (each.name == status.name) == mine and each.lag_records >= 0
    ]
    return max(lags, default=0 if not mine else UNKNOWN)


def _answering(status: HaStatus) -> float:
    if status.role != "leader":
        return UNKNOWN
    return sum(each.answers for each in status.voters)


def _lease_left(status: HaStatus) -> float:
    return status.lease_left_s if status.lease_left_s >= 0 else UNKNOWN
