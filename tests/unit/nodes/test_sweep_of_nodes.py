import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dfs.base.clock import ManualClock
from dfs.base.events import Event, RecordingEmitter
from dfs.base.ids import NodeId
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.registry import NodeRegistry
from dfs.nodes.sweep import HealthSweep
from dfs.settings.sections import LivenessConfig
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinRequest, NodeRegistration
from tests.builders import a_usage, a_volume

CLUSTER = "c" * 32


class Daemon:
    """An HTTP server that answers `/health` as a test says."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the server's own name
                self.send_response(daemon.status if self.path == "/health" else 404)
                self.send_header("Content-Length", str(len(daemon.body)))
                self.end_headers()
                self.wfile.write(daemon.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self, node: int, status: str = "ok") -> None:
        self.body = json.dumps({"status": status, "node": f"dn-{node}"}).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    yield made
    made.stop()


@pytest.fixture
def sweep(
    writer: Writer,
    reader: Reader,
    registry: NodeRegistry,
    clock: ManualClock,
    emit: RecordingEmitter,
) -> HealthSweep:
    return HealthSweep(
        writer,
        reader,
        presence=registry.presence,
        link=HttpLink(timeout_s=5),
        clock=clock,
        emit=emit,
        config=LivenessConfig(sweep_reports_keep=3),
    )


@pytest.fixture
def node_at(registry: NodeRegistry) -> Callable[[int], NodeId]:
    """Joins and registers a node whose HTTP port is the one given."""

    def make(port: int) -> NodeId:
        token = registry.create_join_token(1).token
        number = len(registry.views())
        node = NodeId(registry.join(JoinRequest(token=token, uuid=f"{number:032x}")).node)
        registry.register(node, registration_at(port, f"v{number}"))
        return node

    return make


def registration_at(port: int, volume: str) -> NodeRegistration:
    return NodeRegistration(
        cluster=CLUSTER,
        host="127.0.0.1",
        grpc_port=9866 + int(volume[1:]),
        http_port=port,
        rack="/r1",
        version="1",
        restarts=0,
        clean_stop=True,
        usage=a_usage(),
        volumes=[a_volume(volume)],
    )


def test_sweep_stores_and_logs_what_a_node_says(
    sweep: HealthSweep, daemon: Daemon, node_at: Callable[[int], NodeId], emit: RecordingEmitter
) -> None:
    node = node_at(daemon.port)
    daemon.says(node)
    report = sweep.run_once()
    assert (report.asked, report.reachable, report.ok) == (1, 1, 1)
    (stored,) = sweep.reports(node=node, limit=10)
    assert stored.ok
    assert json.loads(stored.detail)["status"] == "ok"
    assert Event.NODE_SWEPT in [event for event, _ in emit.events]


def test_sweep_tells_apart_a_node_that_cannot_be_reached(
    sweep: HealthSweep,
    registry: NodeRegistry,
    daemon: Daemon,
    node_at: Callable[[int], NodeId],
    emit: RecordingEmitter,
) -> None:
    node = node_at(daemon.port)
    daemon.says(node)
    daemon.stop()
    report = sweep.run_once()
    assert (report.asked, report.reachable) == (1, 0)
    assert not registry.views()[0].reachable
    assert not sweep.reports(node=None, limit=10)[0].ok
    assert Event.NODE_UNREACHABLE in [event for event, _ in emit.events]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"status": "ok", "node": "dn-77"}', "dn-77 answers"),
        (b"<html>", "not a DataNode"),
    ],
)
def test_sweep_is_not_fooled_by_somebody_else_at_the_address(
    sweep: HealthSweep,
    registry: NodeRegistry,
    daemon: Daemon,
    node_at: Callable[[int], NodeId],
    body: bytes,
    why: str,
) -> None:
    node_at(daemon.port)
    daemon.body = body
    assert sweep.run_once().reachable == 0
    assert why in sweep.reports(node=None, limit=1)[0].detail
    assert not registry.views()[0].reachable


def test_sweep_sees_a_node_with_a_failed_disk_as_reachable_but_not_well(
    sweep: HealthSweep, daemon: Daemon, node_at: Callable[[int], NodeId]
) -> None:
    daemon.says(node_at(daemon.port), status="degraded")
    report = sweep.run_once()
    assert (report.reachable, report.ok) == (1, 0)


def test_sweep_keeps_a_bounded_number_of_reports_for_each_node(
    sweep: HealthSweep, daemon: Daemon, node_at: Callable[[int], NodeId], clock: ManualClock
) -> None:
    first, second = node_at(daemon.port), node_at(daemon.port)
    daemon.says(first)
    for _ in range(5):
        clock.advance(60)
        sweep.run_once()
    reports = sweep.reports(node=first, limit=100)
    assert len(reports) == 3
    assert len(sweep.reports(node=None, limit=100)) == 6
    assert [r.at_ms for r in reports] == sorted((r.at_ms for r in reports), reverse=True)
    assert all(not r.ok for r in sweep.reports(node=second, limit=100))


def test_sweep_asks_nobody_when_no_node_has_registered(
    sweep: HealthSweep, registry: NodeRegistry
) -> None:
    token = registry.create_join_token(1).token
    registry.join(JoinRequest(token=token, uuid="1" * 32))
    assert sweep.run_once().asked == 0


def test_node_that_registers_again_is_reachable_whatever_a_sweep_found_before(
    registry: NodeRegistry, node_at: Callable[[int], NodeId]
) -> None:
    node = node_at(1)
    registry.presence.mark_reachable({node: False})
    registry.register(node, registration_at(1, "v0"))
    assert registry.views()[0].reachable
