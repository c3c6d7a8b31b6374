"""A reader's views: each a snapshot of its own, over connections that stay open."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from dfs.base.errors import DatabaseUnavailable, Overloaded, PathNotFound
from dfs.meta import session
from dfs.meta.cluster_tables import SETTING
from dfs.meta.txn import Txn
from tests.metadata_rig import MetadataRig

CONNECTIONS = 4  # of the rig's reader


@pytest.fixture
def database(tmp_path: Path) -> Iterator[MetadataRig]:
    made = MetadataRig(tmp_path)
    yield made
    made.close()


def _put_new(txn: Txn) -> None:
    txn.put(SETTING, {"key": "new", "value": "1"})


def _settings(database: MetadataRig) -> int:
    with database.reader.view() as connection:
        return int(connection.execute(select(func.count()).select_from(SETTING)).scalar_one())


def test_view_does_not_see_what_commits_while_it_lasts_and_the_next_one_does(
    database: MetadataRig,
) -> None:
    before = _settings(database)
    with database.reader.view() as connection:
        count = select(func.count()).select_from(SETTING)
        assert connection.execute(count).scalar_one() == before
        database.change(_put_new)
        assert connection.execute(count).scalar_one() == before
        with database.reader.view() as later:
            assert later.execute(count).scalar_one() == before + 1
    assert _settings(database) == before + 1


def test_snapshot_ends_with_a_view_that_a_refusal_left(database: MetadataRig) -> None:
    before = _settings(database)

    def refused(connection: Connection) -> None:
        connection.execute(select(SETTING)).first()  # a cursor that is not read to its end
        raise PathNotFound("none")

    with pytest.raises(PathNotFound):
        database.look(refused)
    database.change(_put_new)
    assert _settings(database) == before + 1


def test_connection_of_a_failed_statement_is_not_used_again(database: MetadataRig) -> None:
    with database.reader.view() as first:
        failed = first
    with database.reader.view() as again:
        assert again is failed, "the one used last"
    with pytest.raises(OperationalError):
        database.look(lambda connection: connection.execute(text("SELECT nothing FROM nowhere")))
    with database.reader.view() as connection:
        assert connection is not failed
    assert _settings(database) >= 0


def test_views_write_nothing(database: MetadataRig) -> None:
    database.change(_put_new)
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        database.look(lambda connection: connection.execute(SETTING.delete()))
    assert _settings(database) == 1


def test_view_too_many_is_refused_after_a_wait_and_let_in_when_one_ends(
    database: MetadataRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PLACE_WAIT_S", 0.05)
    views = [database.reader.view() for _ in range(CONNECTIONS)]
    for view in views:
        view.__enter__()
    with pytest.raises(Overloaded), database.reader.view():
        pass
    views.pop().__exit__(None, None, None)
    assert _settings(database) >= 0
    for view in views:
        view.__exit__(None, None, None)


def test_reader_that_was_closed_opens_the_file_anew(database: MetadataRig) -> None:
    database.change(_put_new)
    with database.reader.view() as connection:
        before = connection
        database.reader.close()
        assert connection.execute(select(SETTING)).first() is not None, "a view under way goes on"
    with database.reader.view() as connection:
        assert connection is not before
    assert _settings(database) > 0


def test_many_threads_share_few_connections(database: MetadataRig) -> None:
    wrong: list[object] = []

    def look() -> None:
        for _ in range(50):
            try:
                _settings(database)
            except (OperationalError, sqlite3.Error) as exc:
                wrong.append(exc)

    threads = [threading.Thread(target=look) for _ in range(3 * CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
