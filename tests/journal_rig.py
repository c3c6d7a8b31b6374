"""A history of a NameNode, its journal, and the database of another that follows."""

from pathlib import Path

from sqlalchemy import select

from dfs.base.ids import TxId
from dfs.meta.cluster_tables import SETTING
from dfs.meta.journal import Record, records_after
from dfs.meta.replay import replay
from dfs.meta.session import Reader, reader_engine, writer_engine
from dfs.meta.table_digests import Digests, digest_now
from tests.metadata_rig import MetadataRig, fresh_database
from tests.namespace_rig import NamespaceRig


def live(rig: NamespaceRig) -> None:
    """A bit of everything that changes a namespace."""
    rig.mkdir("/a/b", parents=True)
    for number in range(4):
        rig.put(f"/a/f{number}", b"x" * (100 + number))
    rig.copy("/a", "/c", recursive=True)
    rig.move("/a/f0", "/a/b/f0")
    rig.move("/a/f1", "/a/f2", overwrite=True)
    rig.put("/a/f1", b"again")
    rig.remove("/a/f3")
    rig.put("/a/f3", b"anew")
    rig.remove("/c", recursive=True, skip_trash=True)
    rig.advance(100_000)
    rig.purge()
    rig.create("/a/under-way")


def set_to(rig: MetadataRig, value: str) -> None:
    """A transaction that says so."""
    rig.change(lambda txn: txn.put(SETTING, {"key": "said", "value": value}))


def journal_of(rig: MetadataRig) -> list[Record]:
    """All of it."""
    return rig.look(lambda connection: list(records_after(connection, TxId(0), limit=1_000_000)))


def digests_of(reader: Reader) -> Digests:
    """Of all tables, as of now."""
    return digest_now(reader, stopped=lambda: False)


class FollowerDatabase:
    """A database that is written from a journal alone."""

    def __init__(self, folder: Path) -> None:
        self.file = fresh_database(folder)
        self.engine = writer_engine(self.file)
        self.connection = self.engine.connect()
        self.reader = Reader(reader_engine(self.file, connections=2))

    def replay(self, *records: Record) -> int:
        return replay(self.connection, records).txid

    def said(self) -> str | None:
        with self.reader.view() as connection:
            wanted = select(SETTING.c.value).where(SETTING.c.key == "said")
            return connection.execute(wanted).scalar()

    def close(self) -> None:
        self.reader.close()
        self.connection.close()
        self.engine.dispose()
