"""One NameNode for a module's tests; they use users and paths of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namenode_rig import NamenodeRig


@pytest.fixture(scope="module")
def namenode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamenodeRig]:
    folder: Path = tmp_path_factory.mktemp("namenode")
    rig = NamenodeRig(folder / "data")
    yield rig
    bugs = [line for line in rig.log_lines() if line["event"] == "bug.unhandled"]
    rig.stop()
    assert bugs == []


@pytest.fixture(scope="module")
def admin(namenode: NamenodeRig) -> str:
    return namenode.admin()


@pytest.fixture(scope="module")
def ada(namenode: NamenodeRig) -> str:
    return namenode.user("ada")
