"""The clients of failover tests, against one NameNode that dies and comes back."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.client import DfsClient, connect
from tests.cluster_rig import RigCluster, running_cluster, wait_until
from tests.failover_writers import Layout, Workload, count_by_answer, impatient, lost_files
from tests.histories import Answer, Operation, Verb, from_lines
from tests.history_checker import violations
from tests.history_violations import Kind

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    with running_cluster(tmp_path_factory.mktemp("writers"), datanodes=2) as made:
        yield made


def impatient_client(cluster: RigCluster) -> DfsClient:
    return connect(config=impatient(cluster.config, give_up_s=2.0), environment=cluster.variables)


@contextlib.contextmanager
def at_work(cluster: RigCluster, root: str, history: list[Operation]) -> Iterator[None]:
    """Clients are at work; afterwards everything was looked at once more."""
    work = Workload(lambda: impatient_client(cluster), root=root, seed=1, note=history.append)
    work.prepare()
    stop = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(work.run, stop)
        try:
            yield
        finally:
            stop.set()
        running.result()
    work.settle()


def wait_for_more(history: list[Operation], count: int = 400, *answers: Answer) -> None:
    """Until so many more operations were answered, in one of these ways."""
    begun = len(history)

    def are_told() -> bool:
        new = history[begun:]
        return sum(not answers or one.answer in answers for one in new) >= count

    wait_until(are_told, f"{count} more operations end: {answers}")


def assert_right(cluster: RigCluster, history: list[Operation]) -> None:
    counts = count_by_answer(history)
    for verb in Verb:
        assert counts[verb, Answer.OK] >= 5, counts
    found = violations(history)
    assert not found, "\n".join(map(str, found[:5]))
    with cluster.client() as client:
        assert lost_files(client, history) == []


def test_what_clients_are_told_while_a_namenode_dies_and_comes_back_is_right(
    cluster: RigCluster,
) -> None:
    history: list[Operation] = []
    with at_work(cluster, "/here", history):
        for _ in range(2):
            wait_for_more(history)
            cluster.kill("nn-1")
            wait_for_more(history, 5, Answer.UNKNOWN)
            cluster.start("nn-1")
        wait_for_more(history)
    assert_right(cluster, history)


def test_everything_is_answered_while_nothing_bad_happens(cluster: RigCluster) -> None:
    history: list[Operation] = []
    with at_work(cluster, "/calm", history):
        wait_for_more(history)
    assert_right(cluster, history)
    assert [str(one) for one in history if one.answer is Answer.UNKNOWN] == []


def test_what_is_lost_behind_the_back_of_clients_is_found(cluster: RigCluster) -> None:
    """The alarm is tried: a file is gone, and a register and another file hold something else."""
    history: list[Operation] = []
    layout = Layout("/robbed")
    with at_work(cluster, layout.root, history):
        wait_for_more(history)
    removed = {one.path for one in history if one.verb is Verb.REMOVE}
    kept = [one.path for one in history if one.verb is Verb.ADD and one.path not in removed]
    with cluster.client() as client:
        client.remove(kept[0])
        client.write_bytes(kept[1], b"other bytes")
        client.write_bytes(layout.contents[0], b"other bytes")
        assert len(lost_files(client, history)) == 2
    Workload(cluster.client, root=layout.root, seed=1, note=history.append).settle()
    found = {(each.kind, each.path) for each in violations(history)}
    assert found == {(Kind.LOST_NAME, kept[0]), (Kind.PHANTOM, layout.contents[0])}


def test_the_program_leaves_a_history_however_it_ends(cluster: RigCluster, tmp_path: Path) -> None:
    diary = tmp_path / "history"
    words = ["--out", str(diary), "--seconds", "60", "--seed", "2", "--root", "/there"]
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.failover_writers", *words],
        cwd=ROOT,
        env=cluster.variables,
        stdout=subprocess.PIPE,
    )
    with running:
        assert running.stdout.readline() == b"ready\n"
        wait_until(lambda: len(diary.read_bytes().splitlines()) > 900, "operations are done")
        running.kill()
    with diary.open("rb") as lines:
        history = from_lines(lines)
    assert any(one.answer is Answer.UNKNOWN for one in history)
    work = Workload(cluster.client, root="/there", seed=2, note=history.append)
    work.settle()
    assert_right(cluster, history)
