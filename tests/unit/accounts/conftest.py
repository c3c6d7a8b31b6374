"""A real database with one writer, a clock moved by hand, and Argon2id at its cheapest."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from dfs.base.clock import ManualClock
from dfs.base.events import RecordingEmitter
from dfs.meta import tables
from dfs.meta.schema import Base
from dfs.meta.session import Reader, reader_engine, writer_engine
from dfs.meta.writer import Writer
from dfs.settings.sections import LimitsConfig, NamenodeConfig

assert tables  # its import declares half of the tables


@dataclass(frozen=True)
class Meta:
    """What a service of the NameNode is built from."""

    writer: Writer
    reader: Reader
    clock: ManualClock
    emit: RecordingEmitter
    file: Path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables without rows: made once, as every statement of it waits for the disk."""
    file = tmp_path_factory.mktemp("empty") / "dfs.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def meta(tmp_path: Path, empty_database: Path) -> Iterator[Meta]:
    file = tmp_path / "dfs.sqlite"
    shutil.copy(empty_database, file)
    engine = writer_engine(file)
    clock, emit = ManualClock(), RecordingEmitter()
    writer = Writer(
        engine,
        file,
        clock=clock,
        emit=emit,
        config=NamenodeConfig(),
        limits=LimitsConfig(),
        on_fatal=lambda reason: pytest.fail(reason),
    )
    reader = Reader(reader_engine(file, connections=8))
    yield Meta(writer, reader, clock, emit, file)
    writer.close()
    reader.close()
