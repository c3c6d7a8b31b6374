"""What tests of several packages stand on: a clock moved by hand, a real metadata database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dfs.base.clock import ManualClock
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from tests.metadata_rig import MetadataRig

# How long an example takes says something of the machine's load only; `timeout` bounds a test.
settings.register_profile("dfs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dfs")


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
