"""Whether the database file is whole: what is proven before a start, and what while it serves.

SQLite's quick check reads every page, which takes seconds for a million files.  What it looks for
comes from a stop that was not clean, or from a disk that rots.  So:

    the last stop      before serving                           while serving
    was clean          the newest journal records hash          the whole check at once
    anything else      the same, and the whole check            -
    (either)                                                    the whole check again, every day

That a stop was clean is believed of a *mark* alone: a file beside the database, written once that
was closed, with its size, its time and the head of its journal.  A start takes the mark away before
anything is written, and believes it only if the file is exactly what it says.  A run that has not
proven its database leaves no mark, so no row of short runs puts the check off for ever.

Until it is proven, nothing is deleted on its word (`why_no_deletes`).  A database found damaged is
never served on: `on_damage` ends the process, and the next start, without a mark, refuses it.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.durable import sync_folder
from dfs.base.errors import MetadataCorrupt
from dfs.base.ids import TxId
from dfs.base.units import MiB
from dfs.meta.journal import Record, check_chain, last_record
from dfs.meta.session import Reader, database_errors, quick_check, reader_engine

CHAIN_BYTES_AT_START: Final = 64 * MiB  # of the newest records; the whole check takes more
# Of the thread that checks while others serve: a quarter of a processor that they want.  No less,
# as the log of the database cannot be folded while it is read.
NICENESS: Final = 5


class _Mark(msgspec.Struct, frozen=True):
    """What the file was when it was closed."""

    size_bytes: int
    modified_ns: int
    txid: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """A pass of the whole check; `proven` False where it was broken off."""

    proven: bool
    took_s: float


class Soundness:
    """See the module.  Made, and `prove_for_start` called, while nobody has the file open.

    Args:
        on_damage: called with what was found, once.
    """

    def __init__(self, file: Path, *, clock: Clock) -> None:
        self._file = file
        self._mark_file = file.with_name(f"{file.name}.clean")
        self._clock = clock
        self._mark = self._take_mark()
        self._proven = False
        self._stopping = threading.Event()
        self._checking: sqlite3.Connection | None = None
        self.on_damage: Callable[[str], None] = lambda _reason: None

    def prove_for_start(self) -> None:
        """What must be known before anything is served.

        Raises:
            MetadataCorrupt: the database is damaged.
            DatabaseUnavailable: the disk does not let it be read.
        """
        reader = Reader(reader_engine(self._file, connections=1))
        try:
            with database_errors(f"reading {self._file}"), reader.view() as connection:
                head = last_record(connection)
                check_chain(connection, bytes_max=CHAIN_BYTES_AT_START)
        finally:
            reader.close()
        if not self._is_head(head):
            quick_check(self._file)
            self._proven = True

    def run_once(self) -> Checked:
        """The whole check, beside whoever reads and writes."""
        began_s = self._clock.monotonic_s()
        if self._stopping.is_set():
            return Checked(proven=False, took_s=0.0)
        try:
            with ThreadPoolExecutor(1, "soundness", initializer=_yield_processor) as alone:
                alone.submit(self._check_whole).result()
        except MetadataCorrupt as exc:
            if not self._stopping.is_set():
                self.on_damage(exc.message)
                raise
        else:
            self._proven = True
        return Checked(proven=self._proven, took_s=self._clock.monotonic_s() - began_s)

    def _check_whole(self) -> None:
        quick_check(self._file, hold=self._hold)
        reader = Reader(reader_engine(self._file, connections=1))
        with contextlib.closing(reader), reader.view() as connection:
            check_chain(connection)

    def why_no_deletes(self) -> str:
        """Why nothing may be deleted on this database's word yet; "" when it may."""
        return "" if self._proven else "the metadata database is still being checked"

    @property
    def is_proven(self) -> bool:
        """Whether all of it was checked in this run."""
        return self._proven

    def go_on(self) -> None:
        """Checks may begin again."""
        self._stopping.clear()

    def break_off(self) -> None:
        """End a check that is under way, and begin none until `go_on`: the database is closed."""
        self._stopping.set()
        checking = self._checking
        if checking is not None:
            with contextlib.suppress(sqlite3.Error):  # it ended just now
                checking.interrupt()

    def leave_mark(self, txid: TxId, chain_hash: bytes) -> None:
        """Say that the database was closed cleanly, with that head of its journal.

        Leaves none where it was not proven in this run, or somebody has it open.

        The order is the contract: the database is closed; the mark is on the disk under another
        name; it gets its name.  A crash in between leaves none, and the next start checks all.
        """
        if not self._proven or self._has_log():
            return
        try:
            now = self._file.stat()
        except FileNotFoundError:
            return  # taken away under us
        mark = _Mark(now.st_size, now.st_mtime_ns, txid, chain_hash)
        new = self._mark_file.with_name(f"{self._mark_file.name}.new")
        with new.open("wb") as out:
            out.write(msgspec.json.encode(mark))
            out.flush()
            os.fsync(out.fileno())
        new.replace(self._mark_file)
        sync_folder(self._file.parent)

    def _take_mark(self) -> _Mark | None:
        """The mark, if it fits the file; it is gone when this returns."""
        try:
            mark = json_reader(_Mark)(self._mark_file.read_bytes())
        except (OSError, msgspec.DecodeError):
            mark = None
        if self._mark_file.exists():
            self._mark_file.unlink()
            sync_folder(self._file.parent)
        if mark is None or not self._file.is_file():
            return None
        now = self._file.stat()
        fits = (now.st_size, now.st_mtime_ns) == (mark.size_bytes, mark.modified_ns)
        return mark if fits and not self._has_log() else None

    def _has_log(self) -> bool:
        """Whether there are transactions that were not folded back into the file."""
        wal = self._file.with_name(f"{self._file.name}-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _is_head(self, head: Record | None) -> bool:
        mark = self._mark
        if mark is None or head is None:
            return False
        return (head.txid, head.hash) == (mark.txid, mark.hash)

    def _hold(self, checking: sqlite3.Connection | None) -> None:
        self._checking = checking


def _yield_processor() -> None:
    """Let every other thread go first: this one has until tomorrow."""
    with contextlib.suppress(OSError):  # not allowed here
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
