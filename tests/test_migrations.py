"""The migrations make the tables that the models declare, keep data, and can be taken back."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Integer, LargeBinary, MetaData, Table, create_engine, func, insert, select

from dfs.base.clock import ManualClock
from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.base.errors import LocalIoError, MetadataCorrupt, SchemaMismatch
from dfs.meta import upgrade as up
from dfs.meta.schema import Base
from dfs.meta.session import quick_check

ROOT = Path(__file__).resolve().parents[1]
# What a row of ones would not satisfy.
VALID = {
    "inode": {"kind": "file"},
    "stray": {"kind": "orphan"},
    "block": {"state": "committed", "hash": b"h" * 16},
    "replica": {"state": "live"},
}
LATER = '''"""Keep a note beside each setting."""

import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{head}"


def upgrade() -> None:
    with op.batch_alter_table("setting") as batch:
        batch.add_column(sa.Column("note", sa.Text(), nullable=True))
    {then}


def downgrade() -> None:
    with op.batch_alter_table("setting") as batch:
        batch.drop_column("note")
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dfs.sqlite"


def _upgrade(file: Path, scripts: Path | None = None) -> up.Upgraded:
    return up.upgrade(file, file.parent / "backup", ManualClock(), scripts=scripts)


def _scripts_with_a_later_revision(folder: Path, *, then: str = "pass") -> Path:
    scripts = folder / "scripts"
    shutil.copytree(up.scripts_folder(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    head = max(path.name for path in (scripts / "versions").glob("[0-9]*.py")).split("_")[0]
    (scripts / "versions" / "9999_later.py").write_text(LATER.format(head=head, then=then))
    return scripts


def _tables(file: Path) -> dict[str, set[str]]:
    """The lines of each CREATE statement: their order is the writer's business."""
    with closing(sqlite3.connect(file)) as raw:
        found = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {
        name: {line.strip().rstrip(",").replace('"', "") for line in sql.splitlines()}
        for name, sql in found
        if not name.startswith("alembic")
    }


def _fill(file: Path) -> dict[str, int]:
    """One row in each table; how many rows each has."""
    engine = create_engine(f"sqlite:///{file}")
    metadata = MetaData()
    metadata.reflect(engine)
    tables = [t for t in metadata.sorted_tables if t.name != "alembic_version"]
    with engine.begin() as connection:
        for table in tables:
            connection.execute(insert(table), _a_row(table))
    engine.dispose()
    return _counts(file)


def _a_row(table: Table) -> dict[str, object]:
    kinds = {c.name: c.type for c in table.columns}
    row: dict[str, object] = {
        name: 1 if isinstance(kind, Integer) else b"1" if isinstance(kind, LargeBinary) else "1"
        for name, kind in kinds.items()
    }
    return row | VALID.get(table.name, {})


def _counts(file: Path) -> dict[str, int]:
    engine = create_engine(f"sqlite:///{file}")
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        found = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name != "alembic_version"
        }
    engine.dispose()
    return found


def test_upgraded_database_is_what_the_models_declare(file: Path) -> None:
    _upgrade(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_upgraded_database_has_the_constraints_of_the_models(file: Path, tmp_path: Path) -> None:
    _upgrade(file)
    declared = tmp_path / "declared.sqlite"
    engine = create_engine(f"sqlite:///{declared}")
    Base.metadata.create_all(engine)
    engine.dispose()
    assert _tables(file) == _tables(declared)


def test_every_table_of_the_models_takes_a_row_after_the_upgrade(file: Path) -> None:
    _upgrade(file)
    assert _fill(file) == dict.fromkeys(Base.metadata.tables, 1)


def test_first_upgrade_makes_the_file_without_a_backup(file: Path) -> None:
    assert up.schema_state(file) == up.Empty()
    done = _upgrade(file)
    assert (done.before, done.backup) == ("", None)
    assert up.schema_state(file) == up.Current(done.after)
    up.require_current(file)


def test_second_upgrade_does_nothing(file: Path) -> None:
    first = _upgrade(file)
    assert _upgrade(file) == up.Upgraded(first.after, first.after, None)


def test_upgrade_keeps_the_data_and_a_checked_backup_of_it(file: Path, tmp_path: Path) -> None:
    old = _upgrade(file).after
    before = _fill(file)
    scripts = _scripts_with_a_later_revision(tmp_path)
    assert up.schema_state(file, scripts=scripts) == up.Behind(old, ("later",))
    done = _upgrade(file, scripts)
    assert (done.before, done.after) == (old, "later")
    assert _counts(file) == before
    assert done.backup is not None
    assert done.backup.stat().st_mode & 0o777 == 0o600
    quick_check(done.backup)
    assert _counts(done.backup) == before
    assert up.schema_state(done.backup) == up.Current(old)


UPGRADE_AS_A_PROGRAM = """
import os, sys
from pathlib import Path
from dfs.base import crashpoint
from dfs.base.clock import SystemClock
from dfs.meta.upgrade import upgrade
crashpoint.arm(os.environ)
file, scripts = map(Path, sys.argv[1:])
upgrade(file, file.parent / "backup", SystemClock(), scripts=scripts)
"""


@pytest.mark.parametrize("point", ["nn.upgrade.backed_up", "nn.upgrade.committed"])
def test_upgrade_that_was_cut_off_is_finished_by_the_next(
    point: str, file: Path, tmp_path: Path
) -> None:
    _upgrade(file)
    before = _fill(file)
    scripts = _scripts_with_a_later_revision(tmp_path)
    cut = subprocess.run(
        [sys.executable, "-c", UPGRADE_AS_A_PROGRAM, str(file), str(scripts)],
        env={**os.environ, "DFS_CRASHPOINT": point},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert cut.returncode == CRASH_EXIT_CODE
    assert _upgrade(file, scripts).after == "later"
    assert _counts(file) == before


def test_downgrade_takes_a_revision_back_with_the_data(file: Path, tmp_path: Path) -> None:
    old = _upgrade(file).after
    before, tables = _fill(file), _tables(file)
    scripts = _scripts_with_a_later_revision(tmp_path)
    _upgrade(file, scripts)
    up.downgrade(file, old, scripts=scripts)
    assert (_counts(file), _tables(file)) == (before, tables)


def test_downgrade_to_base_leaves_nothing_and_upgrades_again(file: Path) -> None:
    _upgrade(file)
    up.downgrade(file, "base")
    assert _tables(file) == {}
    assert up.schema_state(file) == up.Empty()
    _upgrade(file)
    up.require_current(file)


def test_failed_revision_leaves_the_file_as_it_was(file: Path, tmp_path: Path) -> None:
    old = _upgrade(file).after
    before, tables = _fill(file), _tables(file)
    scripts = _scripts_with_a_later_revision(tmp_path, then='op.execute("no such statement")')
    with pytest.raises(MetadataCorrupt, match="upgrading"):
        _upgrade(file, scripts)
    assert up.schema_state(file) == up.Current(old)
    assert (_counts(file), _tables(file)) == (before, tables)


def test_newer_database_is_refused_by_serve_and_by_upgrade(file: Path, tmp_path: Path) -> None:
    _upgrade(file)
    _upgrade(file, _scripts_with_a_later_revision(tmp_path))
    assert up.schema_state(file) == up.Ahead("later")
    with pytest.raises(SchemaMismatch, match="newer"):
        up.require_current(file)
    with pytest.raises(SchemaMismatch, match="newer"):
        _upgrade(file)


def test_older_database_is_refused_by_serve_with_the_command(file: Path, tmp_path: Path) -> None:
    _upgrade(file)
    with pytest.raises(SchemaMismatch) as caught:
        up.require_current(file, scripts=_scripts_with_a_later_revision(tmp_path))
    assert "dfs-namenode upgrade" in caught.value.hint


@pytest.mark.parametrize("content", [b"not a database at all, but long enough", b"SQLite format 3"])
def test_file_that_is_no_database_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content * 100)
    with pytest.raises(MetadataCorrupt, match=r"dfs\.sqlite"):
        up.schema_state(file)


def test_database_of_another_program_is_refused(file: Path) -> None:
    with closing(sqlite3.connect(file)) as raw:
        raw.execute("CREATE TABLE song (name TEXT)")
    with pytest.raises(MetadataCorrupt, match="not one of DFS"):
        up.schema_state(file)


def test_upgrade_changes_nothing_when_the_backup_cannot_be_written(
    file: Path, tmp_path: Path
) -> None:
    old = _upgrade(file).after
    (tmp_path / "backup").write_text("a file where the folder should be")
    with pytest.raises(LocalIoError, match="backup"):
        _upgrade(file, _scripts_with_a_later_revision(tmp_path))
    assert up.schema_state(file) == up.Current(old)
