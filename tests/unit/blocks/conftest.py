"""A NameNode's knowledge of stock, on a real metadata database."""

from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from tests.metadata_rig import MetadataRig, fresh_database
from tests.unit.blocks.stock_rig import StockRig


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One that no writer has open."""
    return fresh_database(tmp_path)


@pytest.fixture
def stock(metadata: MetadataRig, clock: ManualClock) -> StockRig:
    return StockRig(metadata.writer, metadata.reader, clock)
