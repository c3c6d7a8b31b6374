"""A real metadata database in a folder, and its one writer: what NameNode services stand on."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from dfs.base.clock import Clock, ManualClock, SystemClock
from dfs.base.events import RecordingEmitter
from dfs.meta.session import DATABASE_FILE, Reader, reader_engine, writer_engine
from dfs.meta.txn import Txn
from dfs.meta.upgrade import upgrade
from dfs.meta.writer import Writer
from dfs.settings.sections import Config

T = TypeVar("T")


@functools.cache
def _empty_database() -> bytes:
    """What migrations make, without rows: once, as each table made waits for the disk."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / DATABASE_FILE
        upgrade(file, Path(folder), SystemClock())
        return file.read_bytes()


def fresh_database(folder: Path) -> Path:
    """A database without rows."""
    file = folder / DATABASE_FILE
    file.write_bytes(_empty_database())
    return file


class MetadataRig:
    """Opened when made, on the database in the folder or a fresh one.

    Closing it fails the test if the writer ever gave up.
    """

    def __init__(
        self, folder: Path, *, config: Config | None = None, clock: Clock | None = None
    ) -> None:
        self.file = folder / DATABASE_FILE
        self.config = config or Config()
        self.clock = clock or ManualClock()
        self.emit = RecordingEmitter()
        self.fatal: list[str] = []
        self.is_fresh = not self.file.exists()
        if self.is_fresh:
            fresh_database(folder)
        self.open()

    def open(self) -> None:
        """As a starting NameNode does."""
        self.writer = Writer(
            writer_engine(self.file),
            self.file,
            clock=self.clock,
            emit=self.emit,
            config=self.config.namenode,
            limits=self.config.limits,
            on_fatal=self.fatal.append,
        )
        self.reader = Reader(reader_engine(self.file, connections=4))

    def close(self) -> None:
        """As a stopping NameNode does."""
        self.writer.close()
        self.reader.close()
        assert self.fatal == []

    def restart(self) -> None:
        """Stop and start on the same database."""
        self.close()
        self.open()

    def change(self, work: Callable[[Txn], T]) -> T:
        """Run a change."""
        return self.writer.submit(work)

    def look(self, question: Callable[[Connection], T]) -> T:
        """Ask a question."""
        with self.reader.view() as connection:
            return question(connection)
