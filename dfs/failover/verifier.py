"""Whether the standbys' tables equal the leader's: asked on a schedule, and by an operator.

    1 in the writer's thread, so that no transaction begins: our tables are opened as of the newest
      one, and every standby is asked to open its own.  One in sync has just that transaction
    2 the writer goes on; all digest at the same time, each from its own snapshot
    3 they are compared, and the member is told (`DigestsCompared`)

A standby that lags, or does not answer, is not compared, and that is said.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from dfs.base.clock import Clock
from dfs.base.entropy import new_id
from dfs.base.errors import DfsError
from dfs.base.units import format_duration
from dfs.failover.digest_wire import Asked, Digest, DigestDesk, Told, ask
from dfs.failover.member_host import MemberHost
from dfs.ha.digests import Comparison, Finding, compare
from dfs.ha.effects import DigestsCompared
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

POLL_S: Final = 0.2
PATIENCE_S: Final = 600.0  # a hundred million rows


class Verified(NamedTuple):
    """What a comparison showed.

    Attributes:
        lines: one about each standby.
        unproven: the standbys of which it was not shown that their tables equal ours: they differ,
            lag or did not answer.
    """

    lines: list[str]
    unproven: tuple[str, ...]


class Verifier:
    """See the module.  By the leader.  Safe to share between threads: one comparison at a time, as
    a standby that is asked to begin another ends the one before.

    Args:
        writer: of the reign; None while there is none.
        standbys: their base URLs by name.
        secret: the cluster's.
    """

    def __init__(
        self,
        host: MemberHost,
        desk: DigestDesk,
        *,
        writer: Callable[[], Writer | None],
        standbys: Callable[[], Mapping[str, str]],
        secret: Callable[[], bytes],
        clock: Clock,
    ) -> None:
        self._host = host
        self._desk = desk
        self._writer = writer
        self._standbys = standbys
        self._secret = secret
        self._clock = clock
        self._comparing = threading.Lock()
        self._line = ""
        self._differing: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What came of the newest comparison; empty before the first."""
        return self._line

    @property
    def differing(self) -> tuple[str, ...]:
        """The standbys whose tables differed then."""
        return self._differing

    def verify(self) -> Verified:
        """Compare with every standby, once the comparison before has ended.

        Raises:
            DfsError: the lead was lost, or our own tables cannot be read.
        """
        with self._comparing:
            return self._verify()

    def _verify(self) -> Verified:
        writer, standbys = self._writer(), dict(self._standbys())
        if writer is None or not standbys:
            return Verified([], ())
        began_s, number = self._clock.monotonic_s(), new_id()
        ours, begun = writer.submit(lambda txn: self._open_all(txn, number, standbys))
        mine = ours.wait(PATIENCE_S)
        lines, differing, unproven = [], list[str](), list[str]()
        for name, told in begun.items():
            finding = self._finding(mine, self._await(standbys[name], told))
            self._host.tell(DigestsCompared(name, finding))
            if finding.comparison is Comparison.DIFFERENT:
                differing.append(name)
            if finding.comparison is not Comparison.EQUAL:
                unproven.append(name)
            lines.append(f"{name}: {_said(finding)}")
        self._differing = tuple(differing)
        took = format_duration(self._clock.monotonic_s() - began_s)
        self._line = f"{'; '.join(lines)} (in {took})"
        return Verified(lines, tuple(unproven))

    def _open_all(
        self, _txn: Txn, number: str, standbys: Mapping[str, str]
    ) -> tuple[Digest, dict[str, Told]]:
        """In the writer's thread: nothing is committed meanwhile."""
        ours = self._desk.begin(number)
        ours.open()
        secret, begun = self._secret(), {}
        for name, url in standbys.items():
            try:
                begun[name] = ask(url, Asked(number, begin=True), secret=secret)
            except DfsError as err:
                begun[name] = Told(number, ours.told().position, failed=err.message)
        return ours, begun

    def _await(self, url: str, told: Told) -> Told:
        end_s = self._clock.monotonic_s() + PATIENCE_S
        while told.digests is None and not told.failed and self._clock.monotonic_s() < end_s:
            self._clock.sleep(POLL_S)
            try:
                told = ask(url, Asked(told.number, begin=False), secret=self._secret())
            except DfsError as err:
                told = Told(told.number, told.position, failed=err.message)
        return told

    def _finding(self, ours: Told, theirs: Told) -> Finding:
        failed = ours.failed or theirs.failed
        if failed or ours.digests is None or theirs.digests is None:
            return Finding(Comparison.NOT_COMPARABLE, failed or "it took too long")
        return compare(ours.digests, theirs.digests)


def _said(finding: Finding) -> str:
    if finding.comparison is Comparison.EQUAL:
        return finding.reason
    return f"{finding.comparison.value}: {finding.reason}"
