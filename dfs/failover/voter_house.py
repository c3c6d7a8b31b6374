"""The voter of a daemon and its post office: in a NameNode and in a DataNode alike.

The voter's row is made with the first start and is this machine's vote for good.  Whom to write to,
under which seal and by which times, the leader tells (`Correspondents`); that is kept beside the
row, because after a power cut letters come before any leader does.  Until it was told once, nothing
is sent, nothing is taken in and no voter runs: who was never told is no voter of anything.

    voter.row        promises: never forgotten, refused when damaged
    correspondents   no promise: forgotten when damaged, and told again

Newer correspondents are on the disk before they are lived by.  When the times among them differ,
the voter ends and begins again with the new ones; as after any start it holds to whom it may have
heard.  A voter whose disk failed says nothing until the process starts again, whatever it is told:
it may know what is not on the disk.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.errors import BadConfig, DfsError, Starting
from dfs.base.events import Emitter, Event, SilentEmitter
from dfs.failover.envelope import Seal
from dfs.failover.post_office import PostOffice, PostState, Take, check_book
from dfs.failover.row_file import RowFile
from dfs.failover.sealing import SECRET_BYTES_MIN
from dfs.failover.voter_host import Sender, VoterHost, open_voter
from dfs.ha.messages import Letter
from dfs.ha.rows import VoterRow
from dfs.ha.timers import Timers
from dfs.wire.ha_api import Correspondents

VOTER_FILE: Final = "voter.row"
CORRESPONDENTS_FILE: Final = "correspondents"


class _Door:
    """The way out; closed while nobody is known."""

    def __init__(self) -> None:
        self.post: PostOffice | None = None

    def send(self, letters: Sequence[Letter]) -> None:
        """See `Sender`."""
        if self.post is not None:
            self.post.send(letters)


class VoterHouse:
    """See the module.  Safe to share between threads.

    Args:
        folder: exists, is locked by this process, and is the same at each start.
        on_failure: told why the voter says nothing more; in the voter's thread, at most once.
        emit: hears when correspondents are learnt, or forgotten because they were damaged.

    Raises:
        ForeignFolder: the voter there is of another cluster.
        MetadataCorrupt, SchemaMismatch, LocalIoError: its row cannot be read, or not be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cluster: str,
        clock: Clock,
        on_failure: Callable[[str], None],
        emit: Emitter | None = None,
    ) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._emit = emit or SilentEmitter()
        self._file = open_voter(folder / VOTER_FILE, cluster=cluster)
        row = self._file.load()
        assert row is not None, "open_voter made it"
        self._row = row
        self._kept = folder / CORRESPONDENTS_FILE
        # Changes are made under it; the post office, once there, stays, and is used without.  It is
        # held while the disk writes correspondents and a voter ends, so letters do not wait for it.
        self._lock = threading.Lock()
        self._door = _Door()
        self._residents: dict[str, Take] = {row.voter: self._take}
        self._told: Correspondents | None = None
        self._timers = Timers()
        self._host: VoterHost | None = None
        self._started = self._stopped = self._failed = False
        self._recall()

    @property
    def voter(self) -> str:
        """Its uuid, to which letters are addressed."""
        return self._row.voter

    @property
    def row(self) -> VoterRow:
        """What the voter promised, as it is on the disk."""
        host = self._host
        return self._row if host is None else host.row

    @property
    def version(self) -> int:
        """Of the correspondents known; 0 while none are."""
        return self._told.version if self._told is not None else 0

    @property
    def correspondents(self) -> Correspondents | None:
        """Whom this daemon writes to, as it was told last."""
        return self._told

    @property
    def sender(self) -> Sender:
        """Where residents put letters; dropped while nobody is known."""
        return self._door

    def state(self) -> PostState | None:
        """What went through the post office; None while nobody is known."""
        return self._door.post.state() if self._door.post is not None else None

    def house(self, name: str, take: Take) -> None:
        """Hand letters for that member to `take`, which does not wait."""
        with self._lock:
            self._residents[name] = take
            if self._door.post is not None:
                self._door.post.house(name, take)

    def receive(self, raw: bytes) -> None:
        """Take an envelope in, without waiting.

        Raises:
            Starting: nobody told yet under which seal letters come.
            BadRequest, LimitExceeded, TokenRefused: see `PostOffice.receive`.
        """
        if self._door.post is None:
            raise Starting(
                "nobody has told this daemon yet who writes letters to it",
                hint="the leader tells it in answer to its next word",
            )
        self._door.post.receive(raw)

    def learn(self, told: Correspondents) -> bool:
        """Live by these from now on; False when they are not newer.  The order of effects:

        1 they are on the disk
        2 letters go to, and come from, whom they name
        3 the voter runs by their times

        Raises:
            BadConfig, LimitExceeded: they cannot be lived by; nothing changed.
            LocalIoError: they could not be kept; nothing changed here, and they may be told again.
        """
        with self._lock:
            if self._stopped or told.version <= self.version:
                return False
            timers = _checked(told)
            # A new file each time: what holds no promise may be tried again after a failure.
            RowFile(self._kept, Correspondents).keep(told)
            self._live_by(told, timers)
        self._emit.emit(
            Event.CORRESPONDENTS_LEARNT,
            version=told.version,
            names=len(told.urls),
            daemons=len(set(told.urls.values())),
        )
        return True

    def start(self) -> None:
        """Send, and let the voter run, as soon as correspondents are known."""
        with self._lock:
            self._started = True
            if self._told is not None:
                self._live_by(self._told, self._timers)

    def stop(self) -> None:
        """Say nothing more, wait for what is being written, close every connection."""
        with self._lock:
            self._stopped = True
            self._end_host()
            post = self._door.post
        if post is not None:
            post.stop()

    def _recall(self) -> None:
        """Know what was known before this start."""
        try:
            told = RowFile(self._kept, Correspondents).load()
            if told is not None:
                self._live_by(told, _checked(told))
        except DfsError as err:
            self._emit.emit(Event.CORRESPONDENTS_FORGOTTEN, file=str(self._kept), why=err.message)

    def _live_by(self, told: Correspondents, timers: Timers) -> None:
        post = self._door.post
        if post is None:
            post = PostOffice(seal=Seal(told.secret), clock=self._clock, patience_s=timers.lease_s)
            for name, take in self._residents.items():
                post.house(name, take)
            self._door.post = post
        elif self._told is not None and (self._told.secret, self._timers) != (told.secret, timers):
            post.use(Seal(told.secret), patience_s=timers.lease_s)
        if self._host is not None and timers != self._timers:
            self._end_host()
        self._told, self._timers = told, timers
        if self._started and not self._stopped:
            post.book(told.urls)
            self._begin_host()

    def _begin_host(self) -> None:
        """Unless there is one, or one failed."""
        if self._host is not None or self._failed:
            return
        try:
            host = VoterHost(
                self._file,
                timers=self._timers,
                sender=self._door,
                clock=self._clock,
                on_failure=self._fail,
            )
        except DfsError as err:
            self._fail(err.message)
            return
        self._host = host
        host.start()

    def _end_host(self) -> None:
        host = self._host
        if host is None:
            return
        if not host.stop():
            self._fail(f"a write to {self._file.path} does not come to its end")
        self._row, self._host = host.row, None

    def _take(self, letter: Letter) -> bool:
        host = self._host
        return host is not None and host.take(letter)

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(why)


def _checked(told: Correspondents) -> Timers:
    """The times among them.

    Raises:
        BadConfig, LimitExceeded: they cannot be lived by.
    """
    check_book(told.urls)
    if len(told.secret) < SECRET_BYTES_MIN:
        raise BadConfig(f"the secret for letters has fewer than {SECRET_BYTES_MIN} bytes")
    try:
        return Timers(**told.times_s)
    except (TypeError, ValueError) as exc:
        raise BadConfig(f"the times of failover that were told cannot be: {exc}") from exc
