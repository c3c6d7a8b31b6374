"""DataNodes or the NameNode missing: what is refused, what is owed, what comes back."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.ids import node_name
from dfs.wire import routes
from dfs.wire.shapes import Nothing
from tests.cluster_rig import BOTH_WAYS, RigCluster, running_cluster, wait_until
from tests.e2e.refusal_rig import Ran, User, admin_of, content

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module", params=BOTH_WAYS)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RigCluster]:
    root = tmp_path_factory.mktemp("outages")
    settings = {"give_up_s": "2s", "dead_after_s": "4s", "local_transfers": request.param}
    with running_cluster(root / "c", datanodes=2, **settings) as made:
        yield made


@pytest.fixture
def dfs(cluster: RigCluster, tmp_path: Path) -> User:
    cluster.up()
    return admin_of(cluster, tmp_path / "here")


def states(cluster: RigCluster) -> dict[str, str]:
    with cluster.client() as client:
        nodes = client.link.call(routes.NODES, Nothing()).nodes
    return {node_name(each.address.node): str(each.state) for each in nodes}


def wait_for(cluster: RigCluster, **wanted: str) -> None:
    named = {name.replace("_", "-"): state for name, state in wanted.items()}
    wait_until(lambda: named.items() <= states(cluster).items(), f"nodes are {named}")


def test_put_with_one_of_two_nodes_is_accepted_and_shows_the_debt(cluster, dfs: User) -> None:
    cluster.kill("dn-2")
    wait_for(cluster, dn_2="dead")
    ran = dfs("put", "-", "/owed", stdin=content(100_000)).done()
    assert "owe" in ran.err + ran.out
    assert dfs("cat", "/owed").done().raw == content(100_000)
    assert '"owed": 2' in dfs("put", "--json", "-", "/owed2", stdin=content(100_000)).done().out


def test_put_with_no_live_node_names_each_and_leaves_nothing(cluster, dfs: User) -> None:
    dfs("put", "-", "/read-me", stdin=content(100_000)).done()
    cluster.kill("dn-1")
    cluster.kill("dn-2")
    wait_for(cluster, dn_1="dead", dn_2="dead")
    dfs("put", "-", "/nowhere", stdin="x").refused(6, "dn-1", "dn-2", "dead")
    dfs("stat", "/nowhere").refused(3)
    ran = dfs("get", "/read-me", "back").refused(7, "/read-me")
    assert not list(dfs.here.iterdir()), ran.err
    dfs("ls", "/").done()
    cluster.up()
    wait_for(cluster, dn_1="live", dn_2="live")
    dfs("get", "/read-me", "back").done()
    assert (dfs.here / "back").read_bytes() == content(100_000)


def test_command_without_a_namenode_says_so_at_once_and_gives_up(cluster, dfs: User) -> None:
    cluster.kill("nn-1")
    ran = dfs("ls", "/").refused(6, "no answer from http://127.0.0.1", "connection refused")
    assert "trying again for 2.0s" in ran.err
    assert "is it running" in ran.err


def test_put_under_way_goes_on_when_the_namenode_is_back(cluster, dfs: User) -> None:
    """Longer away than a command would wait."""
    source = dfs.here / "big"
    source.write_bytes(content(12 << 20))
    done: list[Ran] = []
    held = len(cluster.block_files("dn-1"))
    thread = threading.Thread(target=lambda: done.append(dfs("put", str(source), "/big")))
    thread.start()
    wait_until(lambda: len(cluster.block_files("dn-1")) > held or done, "a block is stored")
    cluster.kill("nn-1")
    threading.Event().wait(4)
    cluster.start("nn-1")
    thread.join(60)
    assert done
    done[0].done()
    dfs("get", "/big", "back").done()
    assert (dfs.here / "back").read_bytes() == source.read_bytes()
