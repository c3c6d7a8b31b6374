"""Watching failover for the checks of health: what only shows over time, and who runs what.

The core says how things are now; here is remembered since when, in the memory of one reign.  Looked
at every second (`look_once`); the other NameNodes are asked what they run with every sweep
(`ask_once`).  Decides nothing.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Set
from typing import Final, Protocol

import msgspec

from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.errors import DfsError
from dfs.failover.post_office import PostState
from dfs.upkeep.failover_facts import (
    FailoverFacts,
    LeaseFacts,
    LetterFacts,
    StandbyFacts,
    VoterFacts,
)
from dfs.wire.ha_api import HaStatus, MemberLine

LETTERS_S: Final = 600.0  # a letter refused longer ago is no news
LOOKS_KEPT: Final = 60
_REFUSALS: Final = range(400, 500)
_HEARD: Final = frozenset({"standby", "leader"})


class FailoverSeen(Protocol):
    """Who knows how failover stands; `dfs.failover.desk.FailoverDesk` is the one in use."""

    def status(self) -> HaStatus:
        """As of now."""
        ...

    def post_state(self) -> PostState | None:
        """What went through the post office; None while nobody is known."""
        ...


class Fetch(Protocol):
    """A plain GET; `dfs.wire.http_link.HttpLink` is the one in use."""

    def fetch(self, url: str) -> bytes:
        """The body; raises a DfsError when there is no answer, or a refusal."""
        ...


class _Answer(msgspec.Struct):
    """What is read of another NameNode's `/health`."""

    version: str


class FailoverWatch:
    """See the module.  Safe to share between threads.

    Args:
        node_machines: where DataNodes live.
        lease_s: how long a lease is when it is new.
    """

    def __init__(
        self,
        seen: FailoverSeen,
        *,
        node_machines: Callable[[], Set[str]],
        lease_s: float,
        clock: Clock,
    ) -> None:
        self._seen = seen
        self._node_machines = node_machines
        self._lease_s = lease_s
        self._clock = clock
        self._lock = threading.Lock()
        self._sought_s: dict[str, float] = {}  # since when each member and voter is looked for
        self._behind_s: dict[str, float] = {}  # since when each member is not in sync
        self._voters: tuple[str, ...] = ()
        self._voters_s = clock.monotonic_s()
        self._is_low: deque[bool] = deque(maxlen=LOOKS_KEPT)
        self._refused: deque[tuple[float, int]] = deque()
        self._versions: Mapping[str, str] = {}

    def look_once(self) -> None:
        """Remember since when things are as they are."""
        status, post, now_s = self._seen.status(), self._seen.post_state(), self._clock_s()
        with self._lock:
            self._remember(status, post, now_s)
            if status.lease_left_s >= 0:
                self._is_low.append(status.lease_left_s < self._lease_s / 2)

    def ask_once(self, link: Fetch) -> None:
        """Ask every other NameNode which version it runs."""
        status = self._seen.status()
        self._versions = {
            each.name: version
            for each in status.members
            if each.name != status.name and each.url and (version := _version_at(link, each.url))
        }

    def facts(self) -> FailoverFacts:
        """How failover stands now."""
        status, post, now_s = self._seen.status(), self._seen.post_state(), self._clock_s()
        with self._lock:
            self._remember(status, post, now_s)
            return FailoverFacts(
                mode=status.mode,
                why=status.why,
                lossy=status.lossy,
                standbys=[
                    self._standby(each, now_s)
                    for each in status.members
                    if each.name != status.name
                ],
                voters=[
                    VoterFacts(
                        each.voter,
                        each.daemon,
                        each.machine,
                        self._silent_s(each.voter, each.silent_s, now_s),
                    )
                    for each in status.voters
                ],
                voters_since_s=now_s - self._voters_s,
                machines=len(self._machines(status)),
                letters=self._letters(post),
                lease=LeaseFacts(len(self._is_low), sum(self._is_low)),
            )

    def _clock_s(self) -> float:
        return self._clock.monotonic_s()

    def _remember(self, status: HaStatus, post: PostState | None, now_s: float) -> None:
        names = [each.name for each in status.members] + [each.voter for each in status.voters]
        self._sought_s = {each: self._sought_s.get(each, now_s) for each in names}
        self._behind_s = {
            each.name: self._behind_s.get(each.name, now_s)
            for each in status.members
            if not each.in_sync
        }
        voters = tuple(each.voter for each in status.voters)
        if voters != self._voters:
            self._voters, self._voters_s = voters, now_s
        self._refused.append((now_s, post.refused if post is not None else 0))
        # The newest that is older than that stays: what came since is counted from there.
        while len(self._refused) > 1 and self._refused[1][0] <= now_s - LETTERS_S:
            self._refused.popleft()

    def _standby(self, line: MemberLine, now_s: float) -> StandbyFacts:
        return StandbyFacts(
            name=line.name,
            machine=line.machine,
            heard=line.role in _HEARD,
            in_sync=line.in_sync,
            silent_s=self._silent_s(line.name, line.silent_s, now_s),
            lag_records=line.lag_records,
            behind_s=now_s - self._behind_s.get(line.name, now_s),
            mistrusted=line.mistrusted,
            version=self._versions.get(line.name, ""),
        )

    def _silent_s(self, name: str, silent_s: float, now_s: float) -> float:
        return silent_s if silent_s >= 0 else now_s - self._sought_s[name]

    def _machines(self, status: HaStatus) -> Set[str]:
        members = {each.machine for each in status.members if each.role in _HEARD}
        return members | {each.machine for each in status.voters} | self._node_machines()

    def _letters(self, post: PostState | None) -> LetterFacts:
        if post is None:
            return LetterFacts()
        errors = [each.error for each in post.daemons if each.status in _REFUSALS]
        lately = self._refused[-1][1] - self._refused[0][1]
        return LetterFacts(max(0, lately), LETTERS_S, errors)


def _version_at(link: Fetch, url: str) -> str:
    """Empty when it does not say."""
    try:
        return json_reader(_Answer)(link.fetch(f"{url}/health")).version
    except (DfsError, msgspec.MsgspecError):
        return ""
