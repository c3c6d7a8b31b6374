"""Several NameNodes and DataNodes as real processes that fail over, and what must be true of them.

Times of failover are a tenth of the usual ones.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from dfs.base.clock import SystemClock
from dfs.base.errors import DfsError
from dfs.client import DfsClient, connect
from dfs.local.admin_session import AdminSession
from dfs.local.roster import Folder
from dfs.meta.session import Reader, reader_engine
from dfs.meta.table_digests import Digests, digest_now
from dfs.wire import routes
from dfs.wire.ha_api import HaOrderReply, HaOrderRequest, HaStatus
from dfs.wire.http_link import HttpLink
from dfs.wire.shapes import Nothing
from tests.cluster_rig import wait_until
from tests.ha_processes import HaProcesses
from tests.metadata_checks import check_metadata
from tests.netns import Network

T = TypeVar("T")
LEASE_S = 0.8
JOINS_MAX = 50


class HaRig(HaProcesses):
    """A cluster in a folder.  Not thread-safe: one thread starts and kills.

    Args:
        settings: keys of the settings of tests and other values for them.
        network: one host a machine, and one for the clients; None is loopback.
    """

    def __init__(
        self,
        root: Path,
        settings: Mapping[str, str],
        *,
        machines: int = 3,
        network: Network | None = None,
    ) -> None:
        super().__init__(root, settings, machines=machines, network=network)
        enter = (lambda: None) if network is None else network.hosts[machines].enter
        self._there = ThreadPoolExecutor(4, "dfs-there", initializer=enter)
        self._link = HttpLink(timeout_s=2.0, connections=4)

    def client(self) -> DfsClient:
        """A client in this process; on loopback only."""
        assert self.network is None, "a client of a network runs on its last host"
        return connect(self.urls, config=self.config, token=self.token, environment=self.variables)

    def found(self, namenodes: int | None = None) -> None:
        """Make the cluster and have everybody in it join; with so many NameNodes of those planned.

        It is in sync, with as many voters as machines, when this returns.
        """
        names = self.namenodes[:namenodes]
        self.start(names[0])
        self._log_in()
        begun = {name: self.launch(name) for name in self.datanodes}
        for name in names[1:]:
            self.start(name)  # one after the other: they are numbered as they come
        others = ",".join(self.daemons[name].url for name in self.namenodes[1:])
        if others:  # with an empty folder it would make another cluster
            self.daemons[names[0]].first[:] = ["--role", "standby", "--peers", others]
        for name, said in begun.items():
            self.await_ready(name, said)
        self.await_sync(names)

    def close(self) -> None:
        """End everything that was started."""
        self.end()
        self._link.close()
        self._there.shutdown()

    # ---- failover

    def status(self, name: str) -> HaStatus | None:
        """How it sees failover; None when it does not say."""
        with contextlib.suppress(DfsError):
            return self._ask(name, routes.HA_STATUS, Nothing())
        return None

    def leader(self) -> str | None:
        """The daemon that leads and serves; None while none does."""
        running = [name for name in self.namenodes if self.is_up(name)]
        with ThreadPoolExecutor(len(running) or 1) as pool:  # one that is frozen costs a time-out
            said = dict(zip(running, pool.map(self.status, running), strict=True))
        leading = [
            (status.epoch, name)
            for name, status in said.items()
            if status and status.role == "leader" and not status.why_not_serving
        ]
        return max(leading)[1] if leading else None

    def is_up(self, name: str) -> bool:
        """Whether its process runs."""
        return self.daemons[name].is_running

    def await_leader(self, *, among: Sequence[str] = (), within_s: float = 60.0) -> str:
        """Wait until one leads, and is one of those."""
        found: list[str] = []

        def leads() -> bool:
            leader = self.leader()
            found[:] = [leader] if leader is not None and (leader in among or not among) else []
            return bool(found)

        wait_until(leads, f"one of {list(among) or 'all'} leads", within_s=within_s)
        return found[0]

    def await_sync(
        self, names: Sequence[str] = (), *, voters: int | None = None, within_s: float = 90.0
    ) -> str:
        """Wait until those NameNodes are in sync, and each machine votes; who leads."""
        wanted = {self.daemons[name].url for name in names or self.namenodes}
        count = self._voters_expected(wanted) if voters is None else voters
        found: list[str] = []

        def is_in_sync() -> bool:
            leader = self.leader()
            status = self.status(leader) if leader else None
            if status is None:
                return False
            found[:] = [leader or ""]
            in_sync = {line.url for line in status.members if line.in_sync and not line.lag_records}
            told = [self.status(name) for name in names or self.namenodes]
            follows = all(each is not None and each.leader == status.name for each in told)
            return follows and wanted <= in_sync and len(status.voters) >= count

        try:
            wait_until(is_in_sync, f"{sorted(wanted)} are in sync", within_s=within_s)
        except AssertionError as exc:
            seen = {name: self.status(name) for name in self.namenodes}
            raise AssertionError(f"{exc}: {seen}") from exc
        return found[0]

    def _voters_expected(self, namenodes: Collection[str]) -> int:
        """One a machine; two machines have that of the leader, and one NameNode has none."""
        machines = len({name[3:] for name in self.daemons})
        return 0 if len(namenodes) == 1 else 1 if machines == 2 else machines

    def order(self, name: str, order: str, **more: Any) -> HaOrderReply:
        """Have a NameNode do something.

        Raises:
            DfsError: it does not.
        """
        request = HaOrderRequest(order=order, **more)
        url = self.daemons[name].url
        link = HttpLink(timeout_s=20.0, connections=1)

        def ask() -> HaOrderReply:
            return link.call(url, routes.HA_ORDER, request, credential=self.token)

        with contextlib.closing(link):
            return self._there.submit(ask).result()

    def switch_over(self, to: str) -> HaOrderReply:
        """The leader hands over, or says why not.

        Raises:
            DfsError: it was not there to hand over.
        """
        return self.order(self.await_leader(), "switchover", member=self.member(to))

    def member(self, name: str) -> str:
        """What the cluster calls that NameNode."""
        status = self.status(self.await_leader())
        assert status is not None
        return next(line.name for line in status.members if line.url == self.daemons[name].url)

    # ---- what must be true

    def txid_of(self, name: str) -> int:
        """The newest record in the database of a NameNode, whether it runs or not."""
        file = f"file:{self.daemons[name].database}?mode=ro"
        with contextlib.closing(sqlite3.connect(file, uri=True)) as live:
            return int(live.execute("SELECT max(txid) FROM journal").fetchone()[0])

    def check_tables(self, names: Sequence[str] = ()) -> None:
        """All NameNodes have the same tables at the same place of the journal, and sound ones."""
        wanted = list(names or self.namenodes)
        found: list[Digests] = []

        def are_at_one_place() -> bool:
            found[:] = [self._digests(name) for name in wanted]
            return len({each.place for each in found}) == 1

        try:
            wait_until(are_at_one_place, "the journals end at one place", within_s=90)
        except AssertionError as exc:
            places = dict(zip(wanted, (each.place for each in found), strict=True))
            raise AssertionError(f"{exc}: {places}") from exc
        for name, digests in zip(wanted, found, strict=True):
            wrong = [t for t, d in digests.tables.items() if d != found[0].tables[t]]
            assert not wrong, f"{name} differs from {wanted[0]} in {wrong}"
            self._check_metadata(name)

    def _digests(self, name: str) -> Digests:
        reader = Reader(reader_engine(self.daemons[name].database, connections=1))
        with contextlib.closing(reader):
            return digest_now(reader, stopped=lambda: False)

    def _check_metadata(self, name: str) -> None:
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        file = f"file:{self.daemons[name].database}?mode=ro"
        with contextlib.closing(sqlite3.connect(file, uri=True)) as live:
            live.backup(copy)
        engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
        with engine.connect() as connection:
            check_metadata(connection)
        engine.dispose()

    # ---- inside

    def _log_in(self) -> None:
        first = self.daemons["nn-1"]
        session = AdminSession(
            Folder(self.root), config=self.config, clock=SystemClock(), namenode=first.folder
        )

        def ask() -> None:
            with contextlib.closing(session):
                self.token = session.open().token
                self.join_token = session.join_token(uses=JOINS_MAX)

        self._there.submit(ask).result()

    def _ask(self, name: str, route: routes.Route[Any, T], body: Any) -> T:
        url = self.daemons[name].url
        call: Callable[[], T] = lambda: self._link.call(url, route, body, credential=self.token)  # noqa: E731
        return self._there.submit(call).result()


@contextlib.contextmanager
def running_rig(
    root: Path,
    *,
    machines: int = 3,
    namenodes: int | None = None,
    network: Network | None = None,
    **settings: str,
) -> Iterator[HaRig]:
    """A cluster that is ended at the end, whatever happened; its logs are shown when a test fails.

    Args:
        namenodes: of those planned, how many are started.
        settings: keys of the settings of tests and other values for them.
    """
    rig = HaRig(root, settings, machines=machines, network=network)
    began_s = time.monotonic()
    try:
        rig.found(namenodes)
        print(f"the cluster stands after {time.monotonic() - began_s:.1f} s", flush=True)
        yield rig
        if bugs := rig.bugs():
            pytest.fail(f"bugs in the logs of the daemons: {bugs[:3]}")
    except BaseException:
        print(rig.last_words(), flush=True)
        raise
    finally:
        rig.close()
