"""A real metadata database for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.events import SilentEmitter
from dfs.meta.schema import Base
from dfs.meta.session import DATABASE_FILE, Reader, reader_engine, writer_engine
from dfs.meta.writer import Writer
from dfs.settings.sections import LimitsConfig, NamenodeConfig
from tests.unit.blocks.stock_rig import StockRig


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each table made costs an fsync."""
    file = tmp_path_factory.mktemp("empty") / DATABASE_FILE
    engine = writer_engine(file)
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / DATABASE_FILE))


@pytest.fixture
def writer(database: Path, clock: ManualClock) -> Iterator[Writer]:
    engine = writer_engine(database)
    made = Writer(
        engine,
        database,
        clock=clock,
        emit=SilentEmitter(),
        config=NamenodeConfig(),
        limits=LimitsConfig(),
        on_fatal=pytest.fail,
    )
    yield made
    made.close()


@pytest.fixture
def reader(database: Path, writer: Writer) -> Iterator[Reader]:
    made = Reader(reader_engine(database, connections=4))
    yield made
    made.close()


@pytest.fixture
def stock(writer: Writer, reader: Reader, clock: ManualClock) -> StockRig:
    return StockRig(writer, reader, clock)
