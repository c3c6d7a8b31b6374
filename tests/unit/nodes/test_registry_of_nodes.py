import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, ForeignFolder, NodeInUse, NodeNotFound, NodeNotJoined
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import NodeId
from dfs.base.records import NodeUsage
from dfs.base.states import BlockState, NodeState, ReplicaState, VolumeState
from dfs.base.units import GiB
from dfs.meta.cluster_tables import JOIN_TOKEN, NODE, VOLUME
from dfs.meta.session import Reader
from dfs.meta.tables import BLOCK, REPLICA
from dfs.meta.writer import Writer
from dfs.nodes.orders import PER_BEAT_MAX, QUEUED_MAX
from dfs.nodes.registry import NodeRegistry
from dfs.wire.nodes_api import Beat, JoinReply, JoinRequest, NodeRegistration
from tests.builders import a_name, a_usage, a_volume

CLUSTER = "c" * 32
UUID = "0123456789abcdef" * 2

Start = Callable[[], NodeRegistry]


def a_registration(
    *, cluster: str = CLUSTER, port: int = 9866, usage: NodeUsage | None = None, volume: str = "v1"
) -> NodeRegistration:
    return NodeRegistration(
        cluster=cluster,
        host="127.0.0.1",
        grpc_port=port,
        http_port=port - 2,
        rack="/r1",
        version="1.0",
        restarts=1,
        clean_stop=True,
        usage=usage or a_usage(),
        volumes=[a_volume(volume)],
    )


def a_beat(
    *, free_bytes: int = 70 * GiB, keys: tuple[int, ...] = (4,), acknowledged: tuple[int, ...] = ()
) -> Beat:
    return Beat(
        usage=a_usage(free_bytes=free_bytes),
        volumes=[a_volume(free_bytes=free_bytes)],
        epoch=1,
        keys=list(keys),
        acknowledged=list(acknowledged),
    )


def join(registry: NodeRegistry, *, uuid: str = UUID, token: str = "") -> JoinReply:
    token = token or registry.create_join_token(1).token
    return registry.join(JoinRequest(token=token, uuid=uuid))


def joined_and_registered(registry: NodeRegistry, *, uuid: str = UUID) -> NodeId:
    reply = join(registry, uuid=uuid)
    node = NodeId(reply.node)
    registry.register(node, a_registration(port=9865 + node, volume=uuid[:8]))
    return NodeId(reply.node)


def the_state(registry: NodeRegistry) -> NodeState:
    (view,) = registry.views()
    return view.state


# ---- joining


def test_registry_lets_a_node_in_once_for_a_token_of_one_use(registry: NodeRegistry) -> None:
    token = registry.create_join_token(1).token
    reply = join(registry, token=token)
    assert registry.authenticate(reply.secret) == reply.node
    assert reply.cluster == CLUSTER
    with pytest.raises(NodeNotJoined):
        join(registry, uuid="f" * 32, token=token)


def test_registry_keeps_credentials_and_tokens_only_as_hashes(
    registry: NodeRegistry, reader: Reader
) -> None:
    token = registry.create_join_token(2).token
    secret = join(registry, token=token).secret
    with reader.view() as connection:
        stored = repr(connection.execute(NODE.select()).all())
        stored += repr(connection.execute(JOIN_TOKEN.select()).all())
    assert secret not in stored
    assert token not in stored


def test_registry_repeats_a_lost_answer_without_a_second_node_or_use(
    registry: NodeRegistry,
) -> None:
    token = registry.create_join_token(1).token
    assert join(registry, token=token) == join(registry, token=token)
    assert len(registry.views()) == 1


def test_registry_makes_one_node_of_many_requests_at_once(registry: NodeRegistry) -> None:
    token = registry.create_join_token(1).token
    replies: list[JoinReply] = []
    threads = [
        threading.Thread(target=lambda: replies.append(join(registry, token=token)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({reply.secret for reply in replies}) == 1


def test_registry_refuses_an_expired_token(registry: NodeRegistry, clock: ManualClock) -> None:
    token = registry.create_join_token(1, life_s=10).token
    clock.advance(10)
    with pytest.raises(NodeNotJoined):
        join(registry, token=token)


@pytest.mark.parametrize(("uses", "life_s"), [(0, None), (1001, None), (1, 0.0), (1, 1e9)])
def test_registry_refuses_senseless_join_tokens(
    registry: NodeRegistry, uses: int, life_s: float | None
) -> None:
    with pytest.raises(BadRequest):
        registry.create_join_token(uses, life_s)


@pytest.mark.parametrize("uuid", ["", "x" * 32, "A" * 32, "0" * 31])
def test_registry_refuses_a_uuid_that_is_none(registry: NodeRegistry, uuid: str) -> None:
    with pytest.raises(BadRequest):
        join(registry, uuid=uuid)


def test_registry_refuses_a_second_node_with_the_uuid_of_one_in_service(
    registry: NodeRegistry,
) -> None:
    joined_and_registered(registry)
    with pytest.raises(ForeignFolder):
        join(registry)


def test_registry_gives_a_new_credential_to_a_node_that_never_started(
    registry: NodeRegistry,
) -> None:
    first, second = join(registry), join(registry)
    assert first.node == second.node
    assert registry.authenticate(second.secret) == second.node
    with pytest.raises(NodeNotJoined):
        registry.authenticate(first.secret)


# ---- registering


def test_registry_keeps_the_first_total_and_free_space_for_ever(
    registry: NodeRegistry, start: Start
) -> None:
    node = joined_and_registered(registry)
    registry.register(node, a_registration(usage=a_usage(free_bytes=1, total_bytes=2)))
    for each in (registry, start()):
        (view,) = each.views()
        assert (view.first_total_bytes, view.first_free_bytes) == (100 * GiB, 80 * GiB)


def test_registry_follows_a_node_to_its_new_address(registry: NodeRegistry, start: Start) -> None:
    node = joined_and_registered(registry)
    registry.register(node, a_registration(port=7777))
    assert registry.address(node).grpc == "127.0.0.1:7777"
    assert start().address(node).grpc == "127.0.0.1:7777"


def test_registry_refuses_a_node_of_another_cluster(registry: NodeRegistry) -> None:
    reply = join(registry)
    with pytest.raises(ForeignFolder):
        registry.register(NodeId(reply.node), a_registration(cluster="d" * 32))


def test_registry_refuses_a_volume_that_another_node_registered(registry: NodeRegistry) -> None:
    joined_and_registered(registry, uuid="a" * 32)
    other = join(registry, uuid="b" * 32)
    with pytest.raises(ForeignFolder):
        registry.register(NodeId(other.node), a_registration(volume="a" * 8))


@pytest.mark.parametrize("wrong", [{"host": ""}, {"grpc_port": 0}, {"rack": "r1"}])
def test_registry_refuses_a_registration_without_an_address(
    registry: NodeRegistry, wrong: dict[str, object]
) -> None:
    fields = {name: getattr(a_registration(), name) for name in NodeRegistration.__struct_fields__}
    reply = join(registry)
    with pytest.raises(BadRequest):
        registry.register(NodeId(reply.node), NodeRegistration(**fields | wrong))


def test_registry_forgets_volumes_that_a_node_has_no_more(
    registry: NodeRegistry, reader: Reader
) -> None:
    node = joined_and_registered(registry)
    registry.register(node, a_registration(volume="new"))
    with reader.view() as connection:
        assert [row.uuid for row in connection.execute(VOLUME.select())] == ["new"]


# ---- beats


def test_registry_shows_the_usage_of_the_last_beat(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    registry.beat(node, a_beat(free_bytes=5 * GiB))
    (view,) = registry.views()
    assert view.usage.free_bytes == 5 * GiB
    assert view.usage.at_ms > 0
    assert view.writable_volumes == 1
    assert view.replicas == 10


def test_registry_counts_volumes_that_take_writes(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    beat = a_beat()
    beat.volumes[:] = [a_volume(state=VolumeState.READ_ONLY)]
    registry.beat(node, beat)
    assert registry.views()[0].writable_volumes == 0


def test_registry_sends_keys_only_to_those_who_lack_them(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    assert registry.beat(node, a_beat(keys=(4,))).keys == []
    assert [key.key_id for key in registry.beat(node, a_beat(keys=())).keys] == [4]


def test_registry_answers_a_registration_with_all_keys_and_facts(registry: NodeRegistry) -> None:
    reply = registry.register(NodeId(join(registry).node), a_registration())
    assert [key.key_id for key in reply.keys] == [4]
    assert (reply.registered, reply.block_tokens, reply.epoch) == (True, True, 1)
    assert reply.namenodes == ["http://127.0.0.1:1"]


def test_registry_asks_a_node_to_register_again_after_a_restart_of_the_namenode(
    registry: NodeRegistry, start: Start
) -> None:
    node = joined_and_registered(registry)
    again = start()
    assert the_state(again) is NodeState.JOINED
    assert not again.beat(node, a_beat()).registered
    assert the_state(again) is NodeState.LIVE
    again.register(node, a_registration())
    assert again.beat(node, a_beat()).registered


def test_registry_does_not_count_beats_of_a_node_that_never_registered(
    registry: NodeRegistry,
) -> None:
    node = NodeId(join(registry).node)
    assert not registry.beat(node, a_beat()).registered
    assert the_state(registry) is NodeState.JOINED


# ---- liveness


def test_registry_notes_stale_dead_and_back(
    registry: NodeRegistry, clock: ManualClock, emit: RecordingEmitter
) -> None:
    node = joined_and_registered(registry)
    clock.advance(31)
    assert registry.tick_once().stale == (node,)
    registry.beat(node, a_beat())
    assert the_state(registry) is NodeState.LIVE
    clock.advance(700)
    report = registry.tick_once()
    assert (report.stale, report.dead) == ((node,), (node,))
    assert report.states[NodeState.DEAD] == 1
    assert not registry.beat(node, a_beat()).registered
    assert the_state(registry) is NodeState.DEAD
    registry.register(node, a_registration())
    assert the_state(registry) is NodeState.LIVE
    seen = [event for event, _ in emit.events]
    assert seen.count(Event.NODE_BACK) == 2
    assert seen.count(Event.NODE_LOST) == 1


def test_registry_gives_every_node_time_to_be_heard_after_a_restart(
    registry: NodeRegistry, start: Start, clock: ManualClock
) -> None:
    joined_and_registered(registry)
    clock.advance(10_000)
    again = start()
    assert again.tick_once().dead == ()
    assert the_state(again) is NodeState.JOINED


def test_registry_views_are_one_object_while_nothing_changes(
    registry: NodeRegistry, clock: ManualClock
) -> None:
    node = joined_and_registered(registry)
    before = registry.views()
    clock.advance(0.5)
    assert registry.views() is before
    registry.beat(node, a_beat())
    assert registry.views() is not before


def test_registry_views_show_silence_as_it_grows(
    registry: NodeRegistry, clock: ManualClock
) -> None:
    joined_and_registered(registry)
    clock.advance(12)
    assert registry.views()[0].silent_s == 12


# ---- commands


def test_registry_repeats_commands_until_they_are_acknowledged(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    assert registry.enqueue(node, "delete", a_name(9), reason="test")
    assert registry.enqueue(node, "delete", a_name(9)), "ordered already: not added again"
    (command,) = registry.beat(node, a_beat()).commands
    assert registry.beat(node, a_beat()).commands == [command]
    assert (command.verb, command.block, command.epoch) == ("delete", a_name(9), 1)
    assert registry.beat(node, a_beat(acknowledged=(command.command,))).commands == []
    assert registry.presence.take_acknowledged() == [(node, command)]
    assert registry.presence.take_acknowledged() == []


def test_registry_never_uses_a_command_number_of_an_earlier_run(
    registry: NodeRegistry, start: Start
) -> None:
    node = joined_and_registered(registry)
    registry.enqueue(node, "report")
    (old,) = registry.beat(node, a_beat()).commands
    again = start()
    again.register(node, a_registration())
    again.enqueue(node, "report")
    (new,) = again.beat(node, a_beat(acknowledged=(old.command,))).commands
    assert new.command != old.command


def test_registry_bounds_commands_in_the_queue_and_in_a_beat(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    taken = [registry.enqueue(node, "delete", a_name(n)) for n in range(1, QUEUED_MAX + 2)]
    assert taken == [True] * QUEUED_MAX + [False]
    assert len(registry.beat(node, a_beat()).commands) == PER_BEAT_MAX


def test_registry_lets_commands_that_are_never_done_hold_up_no_others(
    registry: NodeRegistry,
) -> None:
    node = joined_and_registered(registry)
    for n in range(1, PER_BEAT_MAX + 1):  # on a disk that takes no writes any more, say
        registry.enqueue(node, "delete", a_name(n))
    registry.enqueue(node, "report")
    registry.beat(node, a_beat())
    assert "report" in {command.verb for command in registry.beat(node, a_beat()).commands}


def test_registry_gives_no_commands_to_a_node_that_must_register(
    registry: NodeRegistry, start: Start
) -> None:
    node = joined_and_registered(registry)
    again = start()
    again.enqueue(node, "delete", a_name(1))
    assert again.beat(node, a_beat()).commands == []


# ---- freshness


def test_registry_knows_the_stock_of_a_node_only_by_a_full_report_of_its_registration(
    registry: NodeRegistry,
) -> None:
    node = joined_and_registered(registry)
    presence = registry.presence
    assert presence.fresh() == frozenset()
    first = presence.registration(node)
    presence.note_full_report(node, first)
    assert presence.fresh() == {node}
    registry.register(node, a_registration())
    presence.note_full_report(node, first)
    assert presence.fresh() == frozenset(), "a report of the life before says nothing"


# ---- removing


def kill(registry: NodeRegistry, clock: ManualClock) -> None:
    clock.advance(700)
    registry.tick_once()


def put_block(writer: Writer, *holders: int) -> None:
    block = {
        "id": 1,
        "generation": 1,
        "length_bytes": 5,
        "hash": b"h" * 16,
        "state": BlockState.COMMITTED,
        "file": 7,
        "number": 0,
        "replication": 2,
        "created_ms": 0,
        "acked": "",
    }
    replica = {"block": 1, "generation": 1, "state": ReplicaState.LIVE, "verified_ms": 0}
    writer.submit(lambda txn: txn.put(BLOCK, block))
    writer.submit(lambda txn: txn.put(REPLICA, *(replica | {"node": node} for node in holders)))


def test_registry_removes_a_dead_node_and_knows_it_no_more(
    registry: NodeRegistry, start: Start, clock: ManualClock
) -> None:
    reply = join(registry)
    registry.register(NodeId(reply.node), a_registration())
    kill(registry, clock)
    registry.remove(f"dn-{reply.node}")
    for each in (registry, start()):
        assert each.views() == ()
        with pytest.raises(NodeNotJoined):
            each.authenticate(reply.secret)
    with pytest.raises(NodeNotJoined):
        registry.beat(NodeId(reply.node), a_beat())
    with pytest.raises(NodeNotJoined):
        registry.register(NodeId(reply.node), a_registration())
    assert join(registry).node != reply.node, "an id is never used twice"


def test_registry_refuses_to_remove_a_node_that_is_not_dead(
    registry: NodeRegistry, start: Start
) -> None:
    node = joined_and_registered(registry)
    for each in (registry, start()):
        with pytest.raises(NodeInUse):
            each.remove(f"dn-{node}")
    registry.remove(f"dn-{node}", force=True)
    assert registry.views() == ()


def test_registry_refuses_to_remove_the_holder_of_an_only_copy(
    registry: NodeRegistry, writer: Writer, clock: ManualClock
) -> None:
    node = joined_and_registered(registry, uuid="a" * 32)
    put_block(writer, node, 999)  # 999 is no node any more: its copy counts for nothing
    kill(registry, clock)
    with pytest.raises(NodeInUse, match="only known copy of 1 blocks"):
        registry.remove(f"dn-{node}")
    other = joined_and_registered(registry, uuid="b" * 32)
    put_block(writer, node, other)
    registry.remove(f"dn-{node}")


def test_registry_does_not_count_copies_on_nodes_that_are_not_heard(
    registry: NodeRegistry, writer: Writer, clock: ManualClock
) -> None:
    node = joined_and_registered(registry, uuid="a" * 32)
    other = joined_and_registered(registry, uuid="b" * 32)
    put_block(writer, node, other)
    kill(registry, clock)
    for each in (node, other):
        with pytest.raises(NodeInUse, match="only known copy of 1 blocks"):
            registry.remove(f"dn-{each}")


@pytest.mark.parametrize("state", [s for s in ReplicaState if s is not ReplicaState.LIVE])
def test_registry_does_not_count_copies_that_may_be_no_good(
    registry: NodeRegistry, writer: Writer, clock: ManualClock, state: ReplicaState
) -> None:
    node = joined_and_registered(registry, uuid="a" * 32)
    kill(registry, clock)
    other = joined_and_registered(registry, uuid="b" * 32)
    put_block(writer, node, other)
    doubtful = {"block": 1, "node": other, "generation": 1, "state": state, "verified_ms": 0}
    writer.submit(lambda txn: txn.put(REPLICA, doubtful))
    with pytest.raises(NodeInUse, match="only known copy of 1 blocks"):
        registry.remove(f"dn-{node}")


def test_registry_does_not_know_a_node_that_never_was(registry: NodeRegistry) -> None:
    with pytest.raises(NodeNotFound):
        registry.remove("dn-5")
    with pytest.raises(NodeNotFound):
        registry.address(NodeId(5))


def test_registry_shows_a_node_that_does_not_answer_the_sweep(registry: NodeRegistry) -> None:
    node = joined_and_registered(registry)
    registry.presence.mark_reachable({node: False, NodeId(99): False})
    (view,) = registry.views()
    assert not view.reachable
    assert replace(view, reachable=True).state is NodeState.LIVE
