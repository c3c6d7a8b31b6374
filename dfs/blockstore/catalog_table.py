"""The table of a catalog: its rows, its schema, how its file is opened, what SQLite's errors mean.

Invariants
    C1  (block, generation) is unique: a volume holds a block's generation once.
    C2  a row in state FINAL or FOUND means a published file of `size_bytes`, fsynced before it.
    C3  a row in state CORRUPT means a file in quarantine.
    C4  a row in state DELETING means a delete that was begun; recovery finishes it.
    C5  `passed` is the newest pass of the scrubber that need not read the block any more: it read
        it, or the block was written (every byte verified on its way in) while that pass ran.
    C6  `reread` is 0 until the file was read back once since it was written.

A catalog of another schema is as good as a damaged one: it is moved aside and rebuilt.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dfs.base.errors import DiskFull, LocalIoError, MetadataCorrupt
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName, BlockTruth, StockEntry
from dfs.base.states import StoredState

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS block (
    block       INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    file        INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    length      INTEGER NOT NULL CONSTRAINT length_positive CHECK (length >= 0),
    size        INTEGER NOT NULL CONSTRAINT size_holds_length CHECK (size >= length),
    hash        BLOB NOT NULL CONSTRAINT hash_is_xxh3_128 CHECK (length(hash) = 16),
    state       TEXT NOT NULL
                CONSTRAINT state_known CHECK (state IN ('final', 'found', 'corrupt', 'deleting')),
    path        TEXT NOT NULL,
    verified_ms INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    passed      INTEGER NOT NULL,
    reread      INTEGER NOT NULL,
    CONSTRAINT c1 PRIMARY KEY (block, generation)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS block_by_name ON block (file, number, block, generation);
CREATE INDEX IF NOT EXISTS block_by_bucket ON block (file & 255);
CREATE INDEX IF NOT EXISTS block_by_mtime ON block (mtime_ns);
CREATE INDEX IF NOT EXISTS block_by_pass ON block (passed, verified_ms)
    WHERE state IN ('final', 'found');
CREATE INDEX IF NOT EXISTS block_unread ON block (created_ms)
    WHERE reread = 0 AND state IN ('final', 'found');
CREATE TABLE IF NOT EXISTS suspect (
    block       INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    file        INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    PRIMARY KEY (block, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scrub (
    key         TEXT NOT NULL PRIMARY KEY,
    value       INTEGER NOT NULL
) WITHOUT ROWID;
"""
SCHEMA_VERSION: Final = 2
COLUMNS: Final = (
    "file, number, block, generation, length, size, hash, state, path,"
    " verified_ms, created_ms, mtime_ns, inode, passed, reread"
)
_PRAGMAS: Final = (
    "PRAGMA busy_timeout=5000",
    "PRAGMA cell_size_check=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA mmap_size=0",
)


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One block file as the catalog knows it."""

    name: BlockName
    length_bytes: int
    size_bytes: int  # of the whole file: content, label, trailer
    hash: bytes
    state: StoredState
    path: str
    verified_ms: int
    created_ms: int
    mtime_ns: int = 0
    inode: int = 0  # of the local file system: reading in this order spares the disk's head
    passed: int = 0
    reread: bool = False

    @property
    def truth(self) -> BlockTruth:
        """What the bytes must be."""
        return BlockTruth(self.name.block, self.name.generation, self.length_bytes, self.hash)

    def entry(self, volume: str) -> StockEntry:
        """The row as it is reported."""
        return StockEntry(
            self.name,
            self.length_bytes,
            self.hash,
            self.state,
            self.verified_ms,
            self.path,
            volume,
        )


def open_reader(file: Path) -> sqlite3.Connection:
    """A read-only connection; it works beside a running daemon."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    for pragma in (*_PRAGMAS, "PRAGMA query_only=ON"):
        connection.execute(pragma)
    return connection


def open_writer(file: Path, *, sync: bool) -> sqlite3.Connection:
    """The one connection that writes; makes the table where there is none.

    Raises:
        MetadataCorrupt: SQLite finds the file damaged.
    """
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            *_PRAGMAS,
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={'NORMAL' if sync else 'OFF'}",
            "PRAGMA wal_autocheckpoint=0",
        ):
            connection.execute(pragma)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise MetadataCorrupt(f"{file} fails SQLite's quick check: {verdict}")
        _require_schema(connection, file)
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _require_schema(connection: sqlite3.Connection, file: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if tables.fetchone()[0] and version != SCHEMA_VERSION:
        raise MetadataCorrupt(f"{file} is of schema {version}, not {SCHEMA_VERSION}")


@contextlib.contextmanager
def sqlite_errors(file: Path) -> Iterator[None]:
    """SQLite's words in ours: full, damaged, or unreadable."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as exc:
        name = getattr(exc, "sqlite_errorname", "")
        if name.startswith("SQLITE_FULL"):
            raise DiskFull(f"no room for the catalog {file}") from exc
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
            raise MetadataCorrupt(f"{file}: {exc}") from exc
        raise LocalIoError(f"{file}: {exc}") from exc


def values_of(row: CatalogRow) -> tuple[object, ...]:
    """The row in the order of `COLUMNS`."""
    name = row.name
    return (
        name.file,
        name.number,
        name.block,
        name.generation,
        row.length_bytes,
        row.size_bytes,
        row.hash,
        row.state.value,
        row.path,
        row.verified_ms,
        row.created_ms,
        row.mtime_ns,
        row.inode,
        row.passed,
        row.reread,
    )


def row_from(
    found: tuple[int, int, int, int, int, int, bytes, str, str, int, int, int, int, int, int],
) -> CatalogRow:
    """The row that was selected as `COLUMNS`."""
    file, number, block, generation, length, size, digest, state, path, verified, born, *rest = (
        found
    )
    name = BlockName(InodeId(file), number, BlockId(block), Generation(generation))
    mtime_ns, inode, passed, reread = rest
    return CatalogRow(
        name,
        length,
        size,
        digest,
        StoredState(state),
        path,
        verified,
        born,
        mtime_ns,
        inode,
        passed,
        bool(reread),
    )
