"""What tests of several packages stand on: a clock moved by hand, a real metadata database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from tests.metadata_rig import MetadataRig


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metadata(tmp_path: Path, clock: ManualClock) -> Iterator[MetadataRig]:
    made = MetadataRig(tmp_path, clock=clock)
    yield made
    made.close()


@pytest.fixture
def writer(metadata: MetadataRig) -> Writer:
    return metadata.writer


@pytest.fixture
def reader(metadata: MetadataRig) -> Reader:
    return metadata.reader
