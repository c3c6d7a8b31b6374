"""`/health`, `/stock` and `/metrics` of a DataNode, served by waitress on loopback."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import ErrorKind, PortInUse
from dfs.base.ids import BlockId, Generation, InodeId, NodeId
from dfs.base.records import BlockName
from dfs.blockstore.disk_mover import DiskMover
from dfs.blockstore.scrubber import Scrubber
from dfs.daemons.datanode_face import DatanodeFace, Upkeep
from dfs.daemons.datanode_voter import DatanodeVoter
from dfs.settings.sections import Config, DatanodeConfig, ScrubConfig
from dfs.web.datanode_app import create_app
from dfs.web.errors import HTTP_STATUS
from dfs.web.http_server import HttpLimits, HttpServer
from dfs.wire.nodes_api import BEAT_NOW_PATH
from tests.datanode_rig import PATH, RigNode, ref, upload_messages

BLOCKS = 5


def upkeep_of(node: RigNode) -> Upkeep:
    clock, log = SystemClock(), node.log
    return Upkeep(
        Scrubber(node.store, config=ScrubConfig(), clock=clock, emit=log),
        DiskMover(node.store, bytes_per_s=1 << 20, clock=clock, emit=log),
        DatanodeVoter(clock=clock, emit=log),
    )


class Web:
    def __init__(self, node: RigNode) -> None:
        self.face = DatanodeFace(
            node.store,
            upkeep_of(node),
            node.standing,
            node.traffic,
            node.metrics,
            clock=SystemClock(),
            config=Config(),
        )
        self.face.stage = "serving"
        self.server = HttpServer(
            create_app(self.face, node.log),
            host="127.0.0.1",
            port=0,
            limits=HttpLimits(threads=2),
            clock=SystemClock(),
        )
        self.server.start()

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def json(self, path: str) -> dict:
        status, body = self.get(path)
        assert status == 200, body
        return json.loads(body)


@pytest.fixture
def node(tmp_path) -> Iterator[RigNode]:
    made = RigNode(tmp_path / "dn")
    for number in range(BLOCKS):
        name = BlockName(InodeId(21), number, BlockId(70 + number), Generation(9))
        made.stub.UploadBlock(upload_messages(b"x" * (number + 1), block=ref(name=name)))
    yield made
    made.close()


@pytest.fixture
def web(node: RigNode) -> Iterator[Web]:
    made = Web(node)
    yield made
    made.server.stop(1)


def test_health_says_space_uptime_volumes_and_work(web: Web) -> None:
    health = web.json("/health")
    assert (health["status"], health["node"], health["in_flight"]) == ("ok", "dn-1", 0)
    assert health["used_bytes"] > 0
    assert 0 < health["free_bytes"] <= health["total_bytes"]
    assert health["uptime_s"] >= 0
    assert health["durability"] == "fsync"
    (volume,) = health["volumes"]
    assert (volume["state"], volume["blocks"]) == ("online", BLOCKS)


def test_health_says_unsafe_when_sync_is_off(node: RigNode) -> None:
    face = DatanodeFace(
        node.store,
        upkeep_of(node),
        node.standing,
        node.traffic,
        type(node.metrics)(),
        clock=SystemClock(),
        config=Config(datanode=DatanodeConfig(sync=False)),
    )
    assert face.health().durability.startswith("UNSAFE")


def test_health_of_a_node_that_has_not_joined(web: Web, node: RigNode) -> None:
    node.standing.node, web.face.stage = NodeId(0), "joining"
    health = web.json("/health")
    assert (health["status"], health["node"]) == ("joining", "dn-?")


def test_stock_lists_every_block_once_in_pages(web: Web) -> None:
    numbers, after = [], ""
    for _ in range(BLOCKS):
        page = web.json(f"/stock?limit=2&after={after}")
        assert len(page["blocks"]) <= 2
        numbers += [block["number"] for block in page["blocks"]]
        after = page["next"]
        if not after:
            break
    assert numbers == list(range(BLOCKS))


def test_stock_says_what_a_block_is(web: Web) -> None:
    first = web.json("/stock")["blocks"][0]
    assert (first["file"], first["number"], first["length_bytes"]) == (21, 0, 1)
    assert (first["generation"], first["state"], len(first["hash"])) == (9, "final", 32)
    assert first["verified_ms"] >= 0


def test_node_that_has_not_joined_beats_nobody_when_asked_to(web: Web) -> None:
    assert web.json(BEAT_NOW_PATH) == {"beats": False}
    assert web.get(BEAT_NOW_PATH, "POST", b"")[0] == 405


@pytest.mark.parametrize("page", ["/stock", "/health", "/metrics", BEAT_NOW_PATH])
def test_page_that_anyone_may_ask_names_no_file(web: Web, page: str) -> None:
    _, body = web.get(page)
    assert PATH.encode() not in body
    assert b"anna" not in body


def test_metrics_are_in_prometheus_text(web: Web) -> None:
    status, body = web.get("/metrics")
    assert status == 200
    assert b'dfs_datanode_calls_total{call="upload",outcome="ok"} 5.0' in body
    assert b"dfs_datanode_blocks 5.0" in body


REFUSALS = [
    ("/nothing", "GET", 404),
    ("/health", "POST", 405),
    ("/stock?limit=0", "GET", 400),
    ("/stock?limit=10001", "GET", 400),
    ("/stock?limit=many", "GET", 400),
    ("/stock?after=../etc/passwd", "GET", 400),
    ("/stock?after=21/zz.zz.zz", "GET", 400),
]


@pytest.mark.parametrize(("path", "method", "status"), REFUSALS)
def test_refusal_is_json_with_its_status(web: Web, path: str, method: str, status: int) -> None:
    got, body = web.get(path, method)
    assert got == status
    assert json.loads(body)["error"]["code"] == "bad_request"


def test_body_beyond_the_limit_is_refused(web: Web) -> None:
    try:
        status, _ = web.get("/health", "POST", b"x" * (1 << 20))
    except (urllib.error.URLError, ConnectionError):
        return  # hung up on before all was sent
    assert status == 413


def test_bug_answers_500_without_a_stack(web: Web, node: RigNode) -> None:
    web.face.jobs = lambda: 1 / 0
    status, body = web.get("/health")
    assert status == 500
    assert b"Traceback" not in body
    assert b"division" not in body
    assert len(node.log.bugs) == 1
    node.log.bugs.clear()


def test_port_in_use_is_said(web: Web, node: RigNode) -> None:
    with pytest.raises(PortInUse):
        HttpServer(
            create_app(web.face, node.log),
            host="127.0.0.1",
            port=web.server.port,
            limits=HttpLimits(threads=1),
            clock=SystemClock(),
        )


def test_stop_lets_a_request_under_way_be_answered(web: Web) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> tuple[()]:
        begun.set()
        go_on.wait(10)
        return ()

    web.face.jobs = slow
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(web.get("/health")[0]))
    asking.start()
    begun.wait(10)
    stopping = threading.Thread(target=lambda: web.server.stop(10))
    stopping.start()
    go_on.set()
    asking.join(10)
    stopping.join(10)
    assert answers == [200]


def test_every_kind_has_an_http_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorKind)
