"""Fixtures of the block store's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.blockstore.disk_rig import DiskRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DiskRig]:
    """A store on one empty folder, joined to a cluster, without fsyncs."""
    made = DiskRig(tmp_path)
    yield made
    made.store.close(clean=False)
