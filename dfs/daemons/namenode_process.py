"""The composition root of a NameNode: what lives as long as its process, built by hand.

    port       one front, which answers as a reign or as what follows (`namenode_helm.py`)
    member     decides whether this NameNode leads (`dfs.failover.member_host`)
    voter      of this machine, and the post office of both (`dfs.failover.voter_house`)
    helm       reigns begin and end; what a reign consists of: `namenode_reign.py`

The order of a start: take the port, open what follows, let the voter and the member speak.  A
NameNode alone leads with the member's first tick, and takes requests once it does.  The order of a
stop: answer what runs and accept nothing more, close the reign (what is queued is still committed,
which takes the member), let the member and the voter fall silent, leave the mark of a clean stop.
"""

from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import DatabaseUnavailable, DfsError, NotLeader, Starting
from dfs.base.events import Event
from dfs.base.ids import Epoch, TxId
from dfs.daemons.lifecycle import StopRequest, allow_open_files, announce
from dfs.daemons.namenode_ballot import Ballot
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.namenode_following import Company, Following
from dfs.daemons.namenode_helm import Helm
from dfs.daemons.namenode_journal import HeldJournal
from dfs.daemons.namenode_looks import Looks
from dfs.daemons.namenode_reign import Premises, Reign
from dfs.failover.desk import FailoverDesk, Lead
from dfs.failover.digest_wire import DIGEST_PATH, DigestDesk
from dfs.failover.envelope import ENVELOPE_BYTES_MAX, LETTERS_PATH
from dfs.failover.journal_store import JournalStore, StoreSurroundings
from dfs.failover.member_host import MemberHost, Surroundings
from dfs.failover.notes import Notes
from dfs.failover.roll import is_member_name
from dfs.failover.shipping import MemberShipping
from dfs.failover.snapshot_wire import SNAPSHOT_PATH, SnapshotDesk, SnapshotFetcher, SnapshotSeal
from dfs.failover.snapshots import Shelf
from dfs.failover.steward import Steward
from dfs.failover.verifier import Verifier
from dfs.ha.effects import EpochSeen, ReadBarrier
from dfs.ha.ground import Conduct
from dfs.ha.messages import Letter
from dfs.meta.soundness import Soundness
from dfs.observe.audit import AuditTrail
from dfs.observe.logs import Log
from dfs.settings.sections import Config
from dfs.web.front import Front
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.letters import letters_address, sealed_address

PROGRAM: Final = "dfs-namenode"
DRAIN_S: Final = 10.0
FILES_BESIDE: Final = 200  # the database's, by every reader, and connections to DataNodes
READY_S: Final = 30.0  # a NameNode alone is waited for so long before it says that it is ready
RAISE_S: Final = 30.0


class NamenodeProcess:
    """One NameNode, from its folder to its port.

    Args:
        ballot: its member's row and its voter, from `namenode_ballot`.

    Raises:
        PortInUse, BadConfig: it cannot listen.
        DfsError: its database or its rows cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        folder: NamenodeFolder,
        *,
        log: Log,
        clock: Clock,
        soundness: Soundness,
        ballot: Ballot,
    ) -> None:
        self._config = config
        self._folder = folder
        self._log = log
        self._clock = clock
        self._soundness = soundness
        self._ballot = ballot
        self._fatal = ""
        self._stop: StopRequest | None = None
        audit = config.logging.audit_file
        self._audit = AuditTrail(Path(audit) if audit else folder.audit, clock=clock)
        company = Company(config=config, folder=folder, log=log, clock=clock, audit=self._audit)
        self.following = Following(company)
        self.front = Front(
            {}, self.following.front, log.exception, body_bytes_max=config.limits.body_bytes_max
        )
        self.http = self._http()
        try:
            self._build(company)
        except BaseException:
            self.http.stop(0)
            raise

    def _http(self) -> HttpServer:
        config = self._config
        limits = HttpLimits(
            threads=config.namenode.threads,
            connections_max=self._connections_max(),
            body_bytes_max=max(config.limits.body_bytes_max, ENVELOPE_BYTES_MAX),
            header_bytes_max=config.limits.header_bytes_max,
        )
        host, port = config.namenode.host, config.namenode.port
        return HttpServer(self.front, host=host, port=port, limits=limits, clock=self._clock)

    def _connections_max(self) -> int:
        """As many as the settings allow, and the system lets this process have open."""
        wanted = self._config.limits.connections_max
        return min(wanted, max(1, allow_open_files(wanted + FILES_BESIDE) - FILES_BESIDE))

    def _build(self, company: Company) -> None:
        config, clock, log, ballot = self._config, self._clock, self._log, self._ballot
        self.house = ballot.open_house(clock=clock, emit=log, on_failure=self._on_fatal)
        self.place = ballot.place(config, port=self.http.port, voter=self.house.voter)
        notes = Notes()
        self.helm = Helm(
            self.front,
            self.following,
            notes=notes,
            clock=clock,
            emit=log,
            on_failure=self._on_fatal,
        )
        shelf, seal = Shelf(self._folder.root), SnapshotSeal(self._secret)
        self.store = JournalStore(
            self._folder.root,
            self._folder.database,
            shelf=shelf,
            around=StoreSurroundings(
                fetcher=SnapshotFetcher(self._url_of, seal=seal, clock=clock),
                clock=clock,
                emit=log,
                fold_bytes=config.namenode.checkpoint_bytes,
                let_go=self.following.close,
                on_fatal=self._on_fatal,
            ),
        )
        self.host = MemberHost(
            ballot.member,
            Surroundings(
                journal=HeldJournal(self.store, self.helm, self.following),
                service=self.helm,
                sender=self.house.sender,
                clock=clock,
                on_failure=self._on_fatal,
            ),
            timers=ballot.timers,
            conduct=self._conduct(),
        )
        self.house.house(self.place.name, self._take)
        automatic = config.ha.voters == "auto"
        self.steward = Steward(self.place, self.host, self.house, automatic=automatic)
        self.desk = FailoverDesk(
            self.place,
            self.host,
            notes,
            roll=lambda: self.steward.roll,
            lead=Lead(self.helm.writer, self._refusal_of_reads, self.steward.learn),
            clock=clock,
            emit=log,
        )
        self.digests = DigestDesk(self.store, self._secret)
        self.desk.verifier = Verifier(
            self.host,
            self.digests,
            writer=self.helm.writer,
            standbys=self._standbys,
            secret=self._secret,
            clock=clock,
        )
        self.desk.post_state = self.house.state
        self._shipping = MemberShipping(self.host, self._not_committed)
        self.following.host, self.following.desk = self.host, self.desk
        self.following.steward = self.steward
        self.helm.premises = self._premises
        self._looks = Looks(
            company, self.host, helm=self.helm, following=self.following, store=self.store
        )
        self._listen(SnapshotDesk(shelf, seal))

    def _listen(self, snapshots: SnapshotDesk) -> None:
        """What this port answers, whoever leads."""
        self.front.always(
            {
                LETTERS_PATH: letters_address(self.house.receive),
                SNAPSHOT_PATH: sealed_address(snapshots.answer),
                DIGEST_PATH: sealed_address(self.digests.answer),
            }
        )

    def _conduct(self) -> Conduct:
        told = self.house.correspondents
        ha = self._config.ha
        others = tuple(
            name
            for name in (told.urls if told else ())
            if is_member_name(name) and name != self._ballot.name
        )
        return Conduct(peers=others, may_shrink=ha.two_machines == "shrink", preferred=ha.preferred)

    def _secret(self) -> bytes:
        told = self.house.correspondents
        if told is None:
            raise Starting(
                "this NameNode was not told yet under which seal the cluster writes",
                hint="the leader tells it with its next word; see: dfs-admin ha status",
            )
        return told.secret

    def _take(self, letter: Letter) -> bool:
        """A letter for the member; one from somebody whom nobody knows any more is not read."""
        told = self.house.correspondents
        if told is not None and letter.sender not in told.urls:
            return False
        return self.host.take(letter)

    def _standbys(self) -> dict[str, str]:
        members = self.steward.roll.members
        return {name: each.url for name, each in members.items() if name != self.place.name}

    def _url_of(self, member: str) -> str:
        told = self.house.correspondents
        return told.urls.get(member, "") if told else ""

    # ---- what reigns are built on

    def _premises(self, epoch: int) -> Premises:
        self.store.release()
        row = self.host.row
        return Premises(
            config=self._config,
            folder=self._folder,
            cluster=self.place.cluster,
            log=self._log,
            clock=self._clock,
            soundness=self._soundness,
            audit=self._audit,
            failover=self.desk,
            epoch=Epoch(epoch),
            takes_over=bool(row.voters.voters) and not row.config.lossy,
            shipping=self._shipping,
            on_fatal=self._on_fatal,
            steward=self.steward,
            lead_above=self._lead_above,
            on_epoch_seen=self._on_epoch_seen,
            correspondents=lambda: self.house.correspondents,
        )

    def _lead_above(self, seen: int) -> int:
        """Begin anew in an epoch above that one; which."""
        self.host.tell(EpochSeen(seen + 1))  # as if somebody had seen the next: it gives up ours
        end_s = self._clock.monotonic_s() + RAISE_S
        while self._clock.monotonic_s() < end_s:
            reign = self.helm.reign
            if reign is not None and reign.database.writer.epoch > seen:
                return int(reign.database.writer.epoch)
            self._clock.sleep(0.02)
        raise NotLeader("another NameNode leads now", details=self.following.whom_to_ask())

    def _on_epoch_seen(self, epoch: int) -> None:
        """A DataNode has seen a higher epoch: of another leader, where there are voters to elect
        one; else of a history that this database does not have, which the regression guard knows.
        """
        if self.host.row.voters.voters:
            self.host.tell(EpochSeen(epoch))

    def _refusal_of_reads(self) -> DfsError | None:
        why = self.host.why_no_service()
        if not why and self._config.ha.reads == "strict" and self.host.row.voters.voters:
            confirmed = self.helm.await_confirmation(
                lambda number: self.host.tell(ReadBarrier(number))
            )
            why = "" if confirmed else "voters did not confirm that this NameNode leads"
        return NotLeader(why, details=self.following.whom_to_ask()) if why else None

    def _not_committed(self, reason: str) -> DfsError:
        return NotLeader(reason, details=self.following.whom_to_ask())

    # ---- running

    @property
    def reign(self) -> Reign:
        """The one that serves, for who knows that one does."""
        reign = self.helm.reign
        assert reign is not None
        return reign

    def start(self) -> None:
        """Follow or lead.  Where nobody else could lead, nobody is answered before it does."""
        alone = self.host.row.is_alone
        if not alone:
            self.http.start()  # others may need the vote of this machine, or its journal
        self.helm.start()
        self.house.start()
        self.host.start()
        self._looks.start()
        self.digests.start()
        if alone:
            self._await_reign()
            self.http.start()

    def _await_reign(self) -> None:
        end_s = self._clock.monotonic_s() + READY_S
        while not self.helm.served.wait(0.05) and not self._fatal:
            if self._clock.monotonic_s() > end_s:
                return

    def run(self, stop: StopRequest) -> None:
        """Serve until asked to stop, then drain.

        Raises:
            DatabaseUnavailable: the database failed; the next start recovers what was committed.
        """
        self._stop = stop
        try:
            self.start()
            if self._fatal:
                stop.ask(self._fatal)
            else:
                self._say_ready()
            stop.wait()
            reign = self.helm.reign
            if reign is not None:
                reign.standing.stopping = True
            self._log.emit(Event.DAEMON_STOPPING, why=stop.signal_name)
        finally:
            self.close()
        if self._fatal:
            raise DatabaseUnavailable(self._fatal)

    def close(self) -> None:
        """Let what runs be answered, then commit and close."""
        self.http.stop(DRAIN_S)
        self._looks.stop()
        self.digests.stop()
        self._soundness.break_off()
        self.helm.stop(self.host.stop)
        self.house.stop()
        if not self._fatal and self._folder.database.exists():
            head = self.store.head()
            self.store.release()
            self._soundness.leave_mark(TxId(head.txid), head.hash)
        self._audit.close()
        self._log.emit(Event.DAEMON_STOPPED, clean=not self._fatal)

    def _say_ready(self) -> None:
        http = f"{self._config.namenode.host}:{self.http.port}"
        epoch, txid = self.following.head()
        self._log.emit(
            Event.DAEMON_STARTED, http=http, cluster=self.place.cluster, epoch=epoch, txid=txid
        )
        announce(f"{PROGRAM} ready: http {http} cluster {self.place.cluster}")

    def _on_fatal(self, reason: str) -> None:
        """Nothing can be trusted any more: end, and let the next start recover."""
        self._fatal = self._fatal or reason
        if self._stop is not None:
            self._stop.ask(reason)
