"""A real metadata database for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from tests.metadata_rig import MetadataRig, fresh_database
from tests.unit.blocks.stock_rig import StockRig


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return fresh_database(tmp_path)


@pytest.fixture
def metadata(database: Path, clock: ManualClock) -> Iterator[MetadataRig]:
    made = MetadataRig(database.parent, clock=clock)
    yield made
    made.close()


@pytest.fixture
def writer(metadata: MetadataRig) -> Writer:
    return metadata.writer


@pytest.fixture
def reader(metadata: MetadataRig) -> Reader:
    return metadata.reader


@pytest.fixture
def stock(metadata: MetadataRig, clock: ManualClock) -> StockRig:
    return StockRig(metadata.writer, metadata.reader, clock)
