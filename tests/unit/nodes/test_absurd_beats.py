import msgspec
import pytest

from dfs.base.errors import BadRequest
from dfs.nodes.registry import NodeRegistry
from tests.unit.nodes.test_registry_of_nodes import a_beat, a_registration, joined_and_registered


def test_registry_refuses_an_epoch_that_nobody_can_have_seen(registry: NodeRegistry) -> None:
    """Believed and accepted, it would be the last: no database holds the number after it."""
    node = joined_and_registered(registry)
    absurd = (1 << 63) - 1
    with pytest.raises(BadRequest):
        registry.beat(node, msgspec.structs.replace(a_beat(), epoch=absurd))
    with pytest.raises(BadRequest):
        registry.register(node, msgspec.structs.replace(a_registration(), epoch=absurd))
    assert registry.newer.newest() is None
