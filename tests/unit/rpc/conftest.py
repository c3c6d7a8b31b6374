from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.datanode_rig import RigNode


@pytest.fixture
def new_node(tmp_path: Path) -> Iterator[Callable[..., RigNode]]:
    """Makes DataNodes 1, 2, 3 ...; all end with the test, and none may have had a bug."""
    made: list[RigNode] = []

    def make(**settings: object) -> RigNode:
        number = len(made) + 1
        made.append(RigNode(tmp_path / f"dn-{number}", node=number, **settings))
        return made[-1]

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(new_node: Callable[..., RigNode]) -> RigNode:
    return new_node()
