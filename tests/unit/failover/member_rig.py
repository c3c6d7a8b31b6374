"""Machines with a member, a voter and real HTTP; their journals are in memory, and outlive them."""

import itertools
import threading
from collections import deque
from pathlib import Path
from time import monotonic

from dfs.base.clock import SystemClock
from dfs.base.errors import LocalIoError, LocalNotFound
from dfs.failover.journal_works import Stretch
from dfs.failover.member_host import MemberHost, Surroundings
from dfs.failover.row_file import RowFile
from dfs.failover.voter_host import VoterHost, open_voter
from dfs.ha.effects import Note, StandDown
from dfs.ha.ground import Conduct
from dfs.ha.messages import JournalRecord, SnapshotOffer
from dfs.ha.rows import MemberRow, Position, VoterRow, first_rows
from dfs.ha.timers import Timers
from tests.unit.failover.post_rig import WAIT_S, Daemon, eventually
from tests.unit.ha.paper_disk import Journal, make_record, requests_of

TIMERS = Timers().scaled(0.2)  # a dead leader is replaced in two seconds
NAMES = ("A", "B", "C")


class Storage:
    """What a machine's disk has beside its rows; `broken` lets nothing be written."""

    def __init__(self, snapshots: dict[str, list[JournalRecord]], *, kept: int) -> None:
        self.journal = Journal()
        self.snapshots = snapshots  # of all machines: how they are fetched is not tested here
        self.kept = kept
        self.broken = False
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def head(self) -> Position:
        return self.journal.head

    def apply(self, records: tuple[JournalRecord, ...]) -> Position:
        if self.broken:
            raise LocalIoError("the disk is broken")
        with self._lock:
            self.journal.append(records)
            return self.journal.head

    def read(self, after: Position, *, bytes_max: int) -> Stretch | None:
        assert bytes_max > 0
        with self._lock:
            journal = self.journal
            if after.txid < journal.head.txid - self.kept or not journal.has(after):
                return None
            return Stretch(tuple(journal.records[after.txid : after.txid + 5]), journal.head)

    def make_snapshot(self) -> tuple[Position, str]:
        with self._lock:
            name = f"{id(self)}-{next(self._numbers)}"
            self.snapshots[name] = list(self.journal.records)
            return self.journal.head, name

    def fetch_snapshot(self, offer: SnapshotOffer, source: str) -> None:
        assert source in NAMES
        if offer.name not in self.snapshots:
            raise LocalNotFound(f"there is no snapshot {offer.name}")

    def install_snapshot(self, name: str, *, aside: bool) -> Position:
        assert aside == (self.journal.head.txid > 0)
        with self._lock:
            self.journal = Journal(self.snapshots[name])
            return self.journal.head


class NameNode:
    """Serves clients: each change is a word that is to be in the journal for good."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.host: MemberHost
        self.notes: list[str] = []
        self.acknowledged: set[str] = set()
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._unanswered: list[JournalRecord] = []
        self._epoch = 0
        self._stopping = False
        self._writer = threading.Thread(target=self._write, name="toy writer", daemon=True)

    def start(self, host: MemberHost) -> None:
        self.host = host
        self._writer.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._writer.join(10)

    def ask(self, word: str) -> bool:
        """Have it done, and wait for the answer for a while; False: nobody knows."""
        with self._changed:
            if not self._epoch or self.host.why_no_service():
                return False
            self._waiting.append(word)
            self._changed.notify_all()
            self._changed.wait_for(lambda: word in self.acknowledged or not self._epoch, 1.0)
            return word in self.acknowledged

    # What a member tells its NameNode.

    def lead(self, epoch: int) -> None:
        with self._changed:
            self._epoch = epoch
            self._changed.notify_all()

    def stand_down(self, why: StandDown) -> None:
        with self._changed:
            assert why.epoch == self._epoch
            self._epoch = 0
            self._waiting.clear()
            self._unanswered.clear()
            self._changed.notify_all()

    def acknowledge(self, txid: int) -> None:
        with self._changed:
            for record in self._unanswered:
                if record.txid <= txid:
                    self.acknowledged |= set(requests_of(record))
            self._changed.notify_all()

    def confirm_reads(self, number: int) -> None:
        raise AssertionError(number)

    def note(self, note: Note) -> None:
        self.notes.append(f"{note.kind}: {note.text}")

    # The thread that writes.

    def _write(self) -> None:
        while (record := self._next()) is not None:
            verdict = self.host.propose(record)
            if not verdict.commit:
                continue
            with self._changed:
                self._unanswered.append(record)
            try:
                head = self.storage.apply((record,))
            except LocalIoError as err:
                self.host.commit_failed(err.message)
            else:
                self.host.committed(head)

    def _next(self) -> JournalRecord | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or (self._epoch and (self._waiting or self._is_first()))
            )
            if self._stopping:
                return None
            words = [word for word in self._waiting if word not in self.storage.journal.done]
            self._waiting.clear()
            return make_record(self.storage.head(), self._epoch, words)

    def _is_first(self) -> bool:
        return self.storage.head().epoch != self._epoch


class Machine:
    """A member and a voter behind one port."""

    def __init__(self, folder: Path, name: str, storage: Storage) -> None:
        self.folder, self.name, self.storage = folder, name, storage
        self.failures: list[str] = []
        self.port = 0
        self.up = False

    def listen(self) -> None:
        self.daemon = Daemon(port=self.port)
        self.port = self.daemon.server.port

    def start(self, urls: dict[str, str]) -> None:
        post, clock = self.daemon.post, SystemClock()
        self.namenode = NameNode(self.storage)
        around = Surroundings(
            journal=self.storage,
            service=self.namenode,
            sender=post,
            clock=clock,
            on_failure=self.failures.append,
        )
        file = RowFile(self.folder / "member", MemberRow)
        conduct = Conduct(peers=tuple(each for each in NAMES if each != self.name))
        self.member = MemberHost(file, around, timers=TIMERS, conduct=conduct)
        self.voter = VoterHost(
            open_voter(self.folder / "voter", cluster="c"),
            timers=TIMERS,
            sender=post,
            clock=clock,
            on_failure=self.failures.append,
        )
        for host in (self.member, self.voter):
            post.house(host.name, host.take)
        post.book(urls)
        self.namenode.start(self.member)
        self.voter.start()
        self.member.start()
        self.up = True

    def stop(self) -> None:
        if self.up:
            self.up = False
            self.member.stop()
            self.voter.stop()
            self.namenode.stop()
            self.daemon.close()

    @property
    def serves(self) -> bool:
        return self.up and not self.member.why_no_service()

    @property
    def words(self) -> list[str]:
        return [word for record in self.storage.journal.records for word in requests_of(record)]


class Cluster:
    """Three of them; A is in sync from the beginning."""

    def __init__(self, folder: Path, *, kept: int = 1_000) -> None:
        first, voters = first_rows(cluster="c", member="A", voters=tuple(f"v{n}" for n in NAMES))
        snapshots: dict[str, list[JournalRecord]] = {}
        self.machines = {}
        for name, voter in zip(NAMES, voters, strict=True):
            home = folder / name
            home.mkdir()
            RowFile(home / "voter", VoterRow).keep(voter)
            row = MemberRow(name, "c", first.promised, first.voters, first.config)
            RowFile(home / "member", MemberRow).keep(row)
            self.machines[name] = Machine(home, name, Storage(snapshots, kept=kept))
        for machine in self.machines.values():
            machine.listen()
        for machine in self.machines.values():
            machine.start(self._urls())
        self._numbers = itertools.count()
        self.acknowledged: list[str] = []

    def _urls(self) -> dict[str, str]:
        urls = {name: f"http://127.0.0.1:{each.port}" for name, each in self.machines.items()}
        return urls | {f"v{name}": url for name, url in urls.items()}

    def close(self) -> None:
        for machine in self.machines.values():
            machine.stop()

    def leader(self) -> Machine:
        """Whoever serves, once somebody does."""
        eventually(lambda: any(each.serves for each in self.machines.values()))
        return next((each for each in self.machines.values() if each.serves), None) or self.leader()

    def restart(self, machine: Machine) -> None:
        machine.listen()
        machine.start(self._urls())

    def write(self, count: int) -> None:
        """As a client does: again and again, to whoever leads, until it is acknowledged."""
        for number in itertools.islice(self._numbers, count):
            word, until_s = f"w{number}", monotonic() + WAIT_S
            while not self.leader().namenode.ask(word):
                assert monotonic() < until_s, f"{word} is never acknowledged"
            self.acknowledged.append(word)

    def sync(self) -> tuple[str, ...]:
        return self.leader().member.row.config.sync
