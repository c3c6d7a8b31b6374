"""A put or a get during which the lead changes goes on, whichever of its questions it meets."""

import io
import os
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import NotLeader, StaleEpoch
from dfs.client import DfsClient, GetOptions, PutOptions
from tests.fake_catalog import FakeCatalog

MIB = 1 << 20
TREE = PutOptions(recursive=True)
RESUMED = PutOptions(recursive=True, resume=True)
OUTAGE = 17  # refusals: longer than a listing is waited for, shorter than a transfer is
LARGE = 5 * MIB + 17


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Small files, a large one, and a directory that is closed when it is filled."""
    top = tmp_path / "tree"
    (top / "closed").mkdir(parents=True)
    for number in range(9):
        (top / f"small{number}").write_bytes(b"%d" % number * 100)
    (top / "closed" / "large").write_bytes(os.urandom(LARGE))
    (top / "closed").chmod(0o500)
    return top


def _without_a_leader(catalog: FakeCatalog, *questions: str) -> None:
    for question in questions:
        catalog.refusals[question] = [NotLeader("an election")] * OUTAGE


def _is_there(catalog: FakeCatalog, tree: Path, target: str) -> None:
    for path in tree.rglob("*"):
        if path.is_file():
            remote = f"{target}/{path.relative_to(tree).as_posix()}"
            assert catalog.content(remote) == path.read_bytes()


@pytest.mark.parametrize(
    "question", ["mkdir", "create", "allocate", "complete", "begin", "commit", "chmod"]
)
def test_put_goes_on(catalog, connect_to, tree, question: str) -> None:
    clock = ManualClock()
    client = connect_to(catalog, clock=clock)
    _without_a_leader(catalog, question)
    report = client.put([tree], "/data/t", options=TREE)
    assert report.ok, report.failed
    assert catalog.requests[question] > OUTAGE
    assert clock.monotonic_s() > 5, "a listing would have been given up"
    _is_there(catalog, tree, "/data/t")


@pytest.mark.parametrize("question", ["create", "complete", "begin", "commit", "mkdir"])
def test_put_whose_answer_is_lost_in_the_change_is_done_once(
    catalog, client: DfsClient, tree, question: str
) -> None:
    catalog.answers_lost[question] = 1
    catalog.refusals[question] = [StaleEpoch("taken over by another")]
    report = client.put([tree], "/data/t", options=TREE)
    assert report.ok, report.failed
    assert report.files == 10
    _is_there(catalog, tree, "/data/t")


@pytest.mark.parametrize("question", ["stat", "checksum"])
def test_resumed_put_goes_on(catalog, connect_to, tree, question: str) -> None:
    client = connect_to(catalog)
    client.put([tree], "/data", options=TREE)
    for path in tree.rglob("small*"):
        os.utime(path, (1, 1))
    looked = catalog.requests[question]

    def look_at_the_target(*_: object) -> None:
        _without_a_leader(catalog, question)

    watch = _Begun(look_at_the_target)
    report = client.put([tree], "/data", options=RESUMED, progress=watch)
    assert report.ok, report.failed
    assert report.skipped == 10
    assert catalog.requests[question] > looked + OUTAGE


def test_stream_goes_on(catalog, connect_to) -> None:
    client = connect_to(catalog)
    _without_a_leader(catalog, "allocate", "complete")
    data = os.urandom(3 * MIB)
    client.put_stream(io.BytesIO(data), "/data/f")
    assert catalog.content("/data/f") == data


@pytest.mark.parametrize("question", ["locate", "locate_many"])
def test_get_goes_on(catalog, connect_to, tree, tmp_path: Path, question: str) -> None:
    client = connect_to(catalog)
    client.put([tree], "/data/t", options=TREE)
    _without_a_leader(catalog, question)
    report = client.get(["/data/t"], tmp_path / "back", options=GetOptions(recursive=True))
    assert report.ok, report.failed
    assert (tmp_path / "back" / "closed" / "large").stat().st_size == LARGE


def test_read_that_has_begun_goes_on_when_its_tokens_expire_in_an_outage(
    catalog, connect_to, tree
) -> None:
    client = connect_to(catalog)
    client.put([tree], "/data/t", options=TREE)
    with client.open("/data/t/closed/large") as source:
        begun = source.read(10)
        catalog.expire_tokens()
        _without_a_leader(catalog, "locate")
        source.seek(3 * MIB)
        rest = source.readall()
    whole = (tree / "closed" / "large").read_bytes()
    assert (begun, rest) == (whole[:10], whole[3 * MIB :])


def test_leases_are_renewed_again_after_an_outage(catalog, connect_to) -> None:
    client = connect_to(catalog)
    out = client.open("/data/f", "wb")
    out.write(b"x" * 100)
    _without_a_leader(catalog, "renew")
    with catalog.asked:
        assert catalog.asked.wait_for(lambda: catalog.requests["renew"] > OUTAGE + 1, 20)
    out.close()
    assert catalog.content("/data/f") == b"x" * 100


class _Begun:
    """A progress that acts when the moving begins."""

    def __init__(self, act) -> None:
        self._act = act

    def started(self, files: int, size_bytes: int) -> None:
        self._act()

    def advanced(self, size_bytes: int) -> None: ...

    def file_done(self, path: str, size_bytes: int, error) -> None: ...

    def note(self, text: str) -> None: ...
