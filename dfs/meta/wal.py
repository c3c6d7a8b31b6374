"""The write-ahead log of the metadata database, and when it is folded into the database file.

The log is not cut short after a fold: SQLite begins again at its start, as writing over what is
allocated costs half of what growing a file does at each fsync.  The length of the file therefore
says nothing of what is in it; SQLite tells how many pages are, but only when it folds.  Between two
folds they are foretold from the rows changed, at so many pages a row as were seen before.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dfs.base.events import Emitter, Event
from dfs.meta.session import BUSY_WAIT_MS

PAGE_BYTES: Final = 4096
_PAGES_PER_ROW_MIN: Final = 0.01


class WriteAheadLog:
    """Folds the log of one database; for the thread that writes.

    Args:
        connection: the one that writes.
        file: the database's.
        fold_bytes: about so much may be in the log while changes come.
    """

    def __init__(
        self, connection: Connection, file: Path, *, fold_bytes: int, emit: Emitter
    ) -> None:
        self._connection = connection
        raw: Any = connection.connection.driver_connection
        self._raw: sqlite3.Connection = raw
        self._file = file.with_name(file.name + "-wal")
        self._fold_pages = fold_bytes / PAGE_BYTES
        self._emit = emit
        self._folded_at = raw.total_changes
        self._pages_per_row = 1.0

    def fold_if_long(self) -> None:
        """After a commit."""
        rows = self._raw.total_changes - self._folded_at
        if rows * self._pages_per_row > self._fold_pages:
            pages = self._fold("PASSIVE")
            self._folded_at = self._raw.total_changes
            if pages:
                self._pages_per_row = max(pages / rows, _PAGES_PER_ROW_MIN)

    def fold_idle(self) -> None:
        """Fold it whole and give its room back, unless a reader is long at what it holds."""
        if not self._file.exists() or not self._file.stat().st_size:
            return
        self._raw.execute("PRAGMA busy_timeout=0")
        self.fold_whole()
        self._raw.execute(f"PRAGMA busy_timeout={BUSY_WAIT_MS}")

    def fold_whole(self) -> None:
        """Fold it whole and give its room back; waits for readers."""
        self._fold("TRUNCATE")
        self._folded_at = self._raw.total_changes

    def _fold(self, mode: str) -> int:
        """How many pages the log held; 0 where that is not known."""
        try:
            done = self._connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})").one()
        except DBAPIError as exc:
            self._emit.emit(Event.DATABASE_FAILED, reason=str(exc.orig), fatal=False)
            return 0
        return max(0, int(done[1]))
