"""A namespace over a real database for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespace_rig import NamespaceRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[NamespaceRig]:
    made = NamespaceRig(tmp_path)
    yield made
    made.close()
