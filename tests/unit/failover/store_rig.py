"""NameNodes with real databases: one that leads, and others that follow by their journal stores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from dfs.base.clock import Clock, SystemClock
from dfs.base.events import RecordingEmitter
from dfs.failover.journal_store import JournalStore, StoreSurroundings
from dfs.failover.snapshot_wire import SNAPSHOT_PATH, SnapshotDesk, SnapshotFetcher, SnapshotSeal
from dfs.failover.snapshots import Shelf
from dfs.ha.messages import JournalRecord, SnapshotOffer
from dfs.ha.rows import Position
from dfs.meta.session import DATABASE_FILE
from dfs.web.front import Front
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.web.letters import sealed_address
from tests.metadata_rig import MetadataRig

SECRET = b"s" * 32
FOLD_BYTES = 1 << 20
NO_END = 1 << 40


class Store:
    """A journal store in a folder of its own, and what is around it."""

    def __init__(
        self,
        data: Path,
        *,
        urls: dict[str, str] | None = None,
        clock: Clock | None = None,
        secret: bytes = SECRET,
        room: Callable[[Path], int] | None = None,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        data.mkdir(exist_ok=True)
        self.data = data
        self.file = data / DATABASE_FILE
        self.clock = clock or SystemClock()
        self.emit = RecordingEmitter()
        self.fatal: list[str] = []
        self.progress: list[tuple[int, int]] = []
        self.shelf = Shelf(data, room=room) if room else Shelf(data)
        fetcher = SnapshotFetcher(
            lambda name: (urls or {}).get(name, ""),
            seal=SnapshotSeal(lambda: secret),
            clock=self.clock,
            progress=lambda done, total: self.progress.append((done, total)),
        )
        self.journal = JournalStore(
            data,
            self.file,
            shelf=self.shelf,
            around=StoreSurroundings(
                fetcher=fetcher,
                clock=self.clock,
                emit=self.emit,
                fold_bytes=FOLD_BYTES,
                let_go=let_go,
                on_fatal=self.fatal.append,
            ),
        )

    def names(self) -> set[str]:
        """What is in the folder, but for the log of the database."""
        return {
            each.name for each in self.data.iterdir() if not each.name.endswith(("-wal", "-shm"))
        }

    def diverged(self) -> list[Path]:
        return sorted(self.data.glob("diverged-*"))

    def close(self) -> None:
        self.journal.release()


@contextmanager
def serving(store: Store, *, desk: Callable[[bytes], bytes] | None = None) -> Iterator[str]:
    """Give snapshots over HTTP; yields the address."""
    bugs: list[Exception] = []
    answer = desk or SnapshotDesk(store.shelf, SnapshotSeal(lambda: SECRET)).answer
    served = {SNAPSHOT_PATH: sealed_address(answer)}
    front = Front(served, Flask("rest"), lambda _path, exc: bugs.append(exc))
    clock = SystemClock()
    server = HttpServer(front, host="127.0.0.1", port=0, limits=HttpLimits(threads=2), clock=clock)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop(drain_s=1)
        assert bugs == []


def head_of(rig: MetadataRig) -> Position:
    txid, digest = rig.writer.head
    return Position(txid, rig.writer.epoch, digest)


def stream(source: Store, target: Store, *, bytes_max: int = NO_END) -> None:
    """Catch the target up by records."""
    while True:
        stretch = source.journal.read(target.journal.head(), bytes_max=bytes_max)
        assert stretch is not None
        if not stretch.records:
            return
        target.journal.apply(stretch.records)


def records_of(source: Store, after: Position) -> tuple[JournalRecord, ...]:
    stretch = source.journal.read(after, bytes_max=NO_END)
    assert stretch is not None
    return stretch.records


def seed(source: Store, target: Store, *, aside: bool = False) -> Position:
    """Give the target a snapshot of the source, past the network."""
    position, name = source.journal.make_snapshot()
    part = target.shelf.begin(name, 0)
    part.write_bytes(source.shelf.find(name).read_bytes())
    target.shelf.take_in(part, name, position)
    assert target.journal.install_snapshot(name, aside=aside) == position
    return position


def offer_of(position: Position, name: str) -> SnapshotOffer:
    return SnapshotOffer(position.epoch, position, name)
