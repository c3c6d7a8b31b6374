"""What the register of DataNodes does for a NameNode that is one of several."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, ForeignFolder, NodeNotJoined
from dfs.base.ids import NodeId
from dfs.base.states import NodeState
from dfs.meta.writer import Writer
from dfs.nodes.registry import EPOCHS_AHEAD_MAX, VOTER_CHARACTERS_MAX, NodeRegistry
from dfs.settings.sections import LivenessConfig
from dfs.wire.ha_api import Correspondents
from dfs.wire.nodes_api import NodeRegistration
from tests.unit.nodes.test_registry_of_nodes import a_beat, a_registration, join

CORRESPONDENTS = Correspondents(4, b"s" * 32, {"A": "http://nn:1"}, {"A": "m"}, {"beat_s": 0.5})


def with_voter(voter: str, machine: str = "") -> NodeRegistration:
    return replace(a_registration(), voter=voter, machine=machine)


@pytest.fixture
def seen(registry: NodeRegistry) -> list[tuple[int, NodeState]]:
    """Each higher epoch that was told, and what was known of the node then."""
    told: list[tuple[int, NodeState]] = []
    registry.on_epoch_seen = lambda epoch: told.append((epoch, registry.views()[0].state))
    return told


def test_higher_epoch_is_told_before_anything_is_made_of_who_has_seen_it(
    registry: NodeRegistry, writer: Writer, seen: list[tuple[int, NodeState]]
) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, replace(a_registration(), epoch=writer.epoch))
    registry.beat(node, replace(a_beat(), epoch=writer.epoch))
    assert seen == []
    registry.beat(node, replace(a_beat(), epoch=writer.epoch + 2))
    registry.register(node, replace(a_registration(), epoch=writer.epoch + 3))
    assert [epoch for epoch, _state in seen] == [writer.epoch + 2, writer.epoch + 3]


def test_higher_epoch_of_a_registration_is_told_before_the_node_counts_as_live(
    registry: NodeRegistry, writer: Writer, seen: list[tuple[int, NodeState]]
) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, replace(a_registration(), epoch=writer.epoch + 1))
    assert seen == [(writer.epoch + 1, NodeState.JOINED)]


def test_epoch_of_another_cluster_or_one_that_cannot_be_deposes_nobody(
    registry: NodeRegistry, writer: Writer, seen: list[tuple[int, NodeState]]
) -> None:
    node = NodeId(join(registry).node)
    with pytest.raises(ForeignFolder):
        registry.register(node, replace(a_registration(cluster="d" * 32), epoch=9))
    with pytest.raises(BadRequest):
        registry.beat(node, replace(a_beat(), epoch=writer.epoch + EPOCHS_AHEAD_MAX + 1))
    assert seen == []


def test_refusal_of_who_hears_of_a_higher_epoch_ends_the_beat(
    registry: NodeRegistry, writer: Writer
) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, a_registration())

    def stand_down(epoch: int) -> None:
        raise NodeNotJoined(f"not our epoch any more: {epoch}")

    registry.on_epoch_seen = stand_down
    with pytest.raises(NodeNotJoined):
        registry.beat(node, replace(a_beat(acknowledged=(1,)), epoch=writer.epoch + 1))
    assert registry.newer.newest() is None


def test_voters_of_live_nodes_are_given_out_with_where_they_are(registry: NodeRegistry) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, with_voter("v1", "rack-7"))
    (view,) = registry.views()
    assert registry.voters() == {"v1": (f"dn-{node}", view.address.http, "rack-7")}
    registry.register(node, with_voter("v2"))
    assert registry.voters()["v2"].machine == "127.0.0.1"
    registry.register(node, with_voter(""))
    assert registry.voters() == {}


def test_voter_of_a_node_that_is_silent_or_was_only_read_from_the_database_is_not_given_out(
    registry: NodeRegistry, clock: ManualClock, start: Callable[[], NodeRegistry]
) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, with_voter("v1"))
    clock.advance(LivenessConfig().stale_after_s + 1)
    registry.tick_once()
    assert registry.voters() == {}
    registry.beat(node, a_beat())
    assert set(registry.voters()) == {"v1"}
    assert start().voters() == {}


@pytest.mark.parametrize(
    "registration",
    [with_voter("v" * (VOTER_CHARACTERS_MAX + 1)), with_voter("v1", "m" * 300)],
    ids=["voter", "machine"],
)
def test_voter_that_cannot_be_is_refused(
    registry: NodeRegistry, registration: NodeRegistration
) -> None:
    node = NodeId(join(registry).node)
    with pytest.raises(BadRequest):
        registry.register(node, registration)


def test_correspondents_are_sent_to_who_knows_older_ones_and_to_nobody_else(
    registry: NodeRegistry,
) -> None:
    node = NodeId(join(registry).node)
    assert registry.register(node, a_registration()).correspondents is None
    assert registry.beat(node, a_beat()).correspondents is None
    registry.correspondents = lambda: CORRESPONDENTS
    for version, told in ((0, CORRESPONDENTS), (3, CORRESPONDENTS), (4, None), (5, None)):
        beat = replace(a_beat(), correspondents=version)
        assert registry.beat(node, beat).correspondents == told


def test_namenodes_in_an_answer_are_those_of_now(registry: NodeRegistry) -> None:
    node = NodeId(join(registry).node)
    registry.register(node, a_registration())
    assert registry.beat(node, a_beat()).namenodes == ["http://127.0.0.1:1"]
    registry.namenodes = lambda: ("http://a:1", "http://b:1")
    assert registry.beat(node, a_beat()).namenodes == ["http://a:1", "http://b:1"]
