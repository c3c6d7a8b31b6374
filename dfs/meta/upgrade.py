"""Brings a database file to the schema of this program, and says how far it is from it.

Alembic applies the revisions; this module finds the scripts (beside the package in a checkout,
inside it when installed), makes and checks a backup first, and keeps alembic's and SQLAlchemy's
exceptions to itself.  All revisions of an upgrade stand in one transaction: a crash in the middle
leaves the file as it was.  It must be called while no NameNode has the file open.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection, event, inspect

import dfs
from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import LocalIoError, MetadataCorrupt, SchemaMismatch
from dfs.meta.session import copy_database, database_errors, reader_engine, writer_engine

SCRIPTS: Final = "migrations"
_VERSION_TABLE: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class Current:
    """The file has the schema of this program."""

    revision: str


@dataclass(frozen=True, slots=True)
class Behind:
    """The file has an older schema; `revisions` lead from it to ours, in order."""

    revision: str
    revisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """The file has a schema that this program does not know."""

    revision: str


@dataclass(frozen=True, slots=True)
class Empty:
    """There is no file, or nothing in it."""


SchemaState = Current | Behind | Ahead | Empty


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did; `backup` is None where there was nothing to lose."""

    before: str
    after: str
    backup: Path | None


def schema_state(file: Path, *, scripts: Path | None = None) -> SchemaState:
    """How the schema of that file compares with the program's.  Changes nothing.

    Args:
        scripts: another folder of migration scripts than the program's own.

    Raises:
        MetadataCorrupt: the file is no database of ours, or cannot be read.
    """
    if not file.exists() or file.stat().st_size == 0:
        return Empty()
    with database_errors(f"reading {file}"), _look(file) as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        tables = set(inspect(connection).get_table_names()) - {_VERSION_TABLE}
    if revision is not None:
        return _compare(revision, _scripts(scripts))
    if tables:
        raise MetadataCorrupt(f"{file} is a database, but not one of DFS")
    return Empty()


def require_current(file: Path, *, scripts: Path | None = None) -> None:
    """Refuse to serve a database of another schema.

    Raises:
        SchemaMismatch: it is older (upgrade it) or newer (install the newer program).
        MetadataCorrupt: as `schema_state`.
    """
    match schema_state(file, scripts=scripts):
        case Behind(revision, revisions):
            raise SchemaMismatch(
                f"{file} has schema {revision}, this program needs {revisions[-1]}",
                hint="run: dfs-namenode upgrade (it makes a backup first)",
            )
        case Ahead(revision):
            raise SchemaMismatch(
                f"{file} has schema {revision}, made by a newer DFS than this one",
                hint="install the version of DFS that wrote it, or newer",
            )


def upgrade(file: Path, backup_dir: Path, clock: Clock, *, scripts: Path | None = None) -> Upgraded:
    """Bring the file to this program's schema; make it where there is none.

    The order is the contract:

    1 a copy of the file exists in `backup_dir` and has passed SQLite's check
    2 all revisions are applied in one transaction, and committed

    Raises:
        SchemaMismatch: the file is newer than the program.
        MetadataCorrupt: the file cannot be read, or a revision failed (nothing of it remains).
        LocalIoError: the backup cannot be written.
    """
    match schema_state(file, scripts=scripts):
        case Current(revision):
            return Upgraded(revision, revision, None)
        case Ahead():
            require_current(file, scripts=scripts)
            raise AssertionError("a newer schema is always refused")
        case Empty():
            return Upgraded("", _apply(file, scripts), None)
        case Behind(revision):
            backup = _back_up(file, backup_dir, revision, clock)
            crashpoint.reach("nn.upgrade.backed_up")
            return Upgraded(revision, _apply(file, scripts), backup)


def downgrade(file: Path, revision: str, *, scripts: Path | None = None) -> None:
    """Take the file back to an older schema (`base` empties it).  For tests and rescue.

    Raises:
        MetadataCorrupt: a revision failed; nothing of it remains.
    """
    with database_errors(f"downgrading {file}"), _change(file) as connection:
        command.downgrade(_config(scripts, connection), revision)


def scripts_folder() -> Path:
    """Where the migration scripts are: in the installed package, else beside it in a checkout."""
    package = Path(dfs.__file__).parent
    inside = package / SCRIPTS
    return inside if inside.is_dir() else package.parent / SCRIPTS


def _compare(revision: str, scripts: ScriptDirectory) -> SchemaState:
    head = _head(scripts)
    if revision == head:
        return Current(revision)
    try:
        steps = [step.revision for step in scripts.iterate_revisions(head, revision)]
    except (CommandError, RevisionError):
        return Ahead(revision)
    return Behind(revision, tuple(reversed(steps)))


def _head(scripts: ScriptDirectory) -> str:
    head = scripts.get_current_head()
    assert head is not None
    return head


def _back_up(file: Path, folder: Path, revision: str, clock: Clock) -> Path:
    at = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = folder / f"{file.stem}-schema-{revision}-{at}{file.suffix}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.touch(mode=0o600, exist_ok=False)  # it holds password hashes and block keys
    except OSError as exc:
        raise LocalIoError(f"cannot write the backup {target}: {exc.strerror}") from exc
    copy_database(file, target)
    return target


def _apply(file: Path, scripts: Path | None) -> str:
    with database_errors(f"upgrading {file}"), _change(file) as connection:
        command.upgrade(_config(scripts, connection), "head")
    crashpoint.reach("nn.upgrade.committed")
    return _head(_scripts(scripts))


@contextlib.contextmanager
def _change(file: Path) -> Iterator[Connection]:
    """One transaction on the file, tables included: SQLite can undo those too."""
    engine = writer_engine(file)
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextlib.contextmanager
def _look(file: Path) -> Iterator[Connection]:
    engine = reader_engine(file, connections=1)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _config(scripts: Path | None, connection: Connection | None = None) -> Config:
    config = Config()
    folder = str(scripts or scripts_folder())
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _scripts(scripts: Path | None) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(scripts))
