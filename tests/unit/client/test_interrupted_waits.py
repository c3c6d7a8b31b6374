"""Ctrl-C while the main thread waits, the signal having gone to another thread.

The kernel may give SIGINT to any thread, and only the main one runs Python's handler: where it
sleeps without a time-out, nothing wakes it.
"""

import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.client import DfsClient, GetOptions, PutOptions
from dfs.client.batches import all_of, run_batches
from dfs.transfer.window import Window
from tests.fake_catalog import FakeCatalog
from tests.fake_datanode import FakeDataNode

HANGS_S = 20.0  # what a main thread that hears nothing waits for; the test has failed by then
STILL = 5  # looks at a thread, one after the other, that must find it at the same place
MIB = 1 << 20


class Hanging:
    """Work that gets the SIGINT when the main thread sleeps, and does not end by itself."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.timed_out = False
        self._lock = threading.Lock()

    def __call__(self, *_given: object) -> bool:
        self.begun.set()
        with self._lock:
            if not self.ended.is_set() and not self.timed_out:
                wait_asleep(threading.main_thread())
                signal.raise_signal(signal.SIGINT)  # in this thread
                self.timed_out = not self.ended.wait(HANGS_S)
        return True


def wait_asleep(thread: threading.Thread) -> None:
    """Until that thread stands where it stood for a while: it waits for something."""
    assert thread.ident is not None
    seen: list[tuple[int, int]] = []
    while len(seen) < STILL or len(set(seen[-STILL:])) > 1:
        frame = sys._current_frames()[thread.ident]
        seen.append((id(frame), frame.f_lasti))
        time.sleep(0.02)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.ended.set()


@pytest.fixture
def patient(catalog: FakeCatalog, connect_to) -> DfsClient:
    """A client that waits longer for DataNodes than a test does."""
    return connect_to(catalog, stall_s=4 * HANGS_S)


def assert_heard(wait: Callable[[], object], hanging: Hanging) -> None:
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert not hanging.timed_out, "the main thread slept on"


# --- waits by themselves ------------------------------------------------------------------------


def test_run_batches_hears_an_interrupt_that_another_thread_got(hanging: Hanging) -> None:
    assert_heard(lambda: run_batches([[1]], hanging, at_once=1, stop=hanging.ended.set), hanging)


@pytest.mark.parametrize("failing", [False, True], ids=["all at work", "one failed"])
def test_all_of_hears_an_interrupt_that_another_thread_got(
    hanging: Hanging, *, failing: bool
) -> None:
    def work(number: int) -> None:
        if failing and not number:
            hanging.begun.wait()
            raise ZeroDivisionError
        hanging()

    def heard(*given: object) -> None:
        hanging.ended.set()  # what all_of began is waited for in any case
        signal.default_int_handler(*given)

    before = signal.signal(signal.SIGINT, heard)
    try:
        assert_heard(lambda: all_of(work, [0, 1], at_once=2), hanging)
    finally:
        signal.signal(signal.SIGINT, before)


def test_window_hears_an_interrupt_that_another_thread_got(hanging: Hanging) -> None:
    window = Window(pieces_max=1)

    def make() -> None:
        hanging()
        window.finish()

    maker = threading.Thread(target=make)
    maker.start()
    try:
        assert_heard(lambda: list(window), hanging)
    finally:
        hanging.ended.set()
        maker.join()


# --- transfers ----------------------------------------------------------------------------------


def local_files(folder: Path, count: int, size: int) -> list[Path]:
    made = [folder / f"f{number}" for number in range(count)]
    for path in made:
        path.write_bytes(path.name.encode() * (size // 2))
    return made


def hang(nodes: list[FakeDataNode], hanging: Hanging) -> None:
    """Have every DataNode hang at what is asked of it next."""
    for node in nodes:
        node.tokens_valid = hanging


@pytest.mark.parametrize(
    "options", [PutOptions(), PutOptions(pack=False)], ids=["of packs", "of blocks"]
)
def test_put_hears_an_interrupt_that_another_thread_got(
    patient: DfsClient,
    catalog: FakeCatalog,
    nodes: list[FakeDataNode],
    tmp_path: Path,
    hanging: Hanging,
    options: PutOptions,
) -> None:
    files = local_files(tmp_path, 5, 1_000)
    hang(nodes, hanging)
    assert_heard(lambda: patient.put(files, "/data", options=options), hanging)
    assert not catalog.writes


@pytest.mark.parametrize("blocks", [1, 40], ids=["at its end", "for a free slot"])
def test_put_of_a_stream_hears_an_interrupt_that_another_thread_got(
    patient: DfsClient,
    catalog: FakeCatalog,
    nodes: list[FakeDataNode],
    hanging: Hanging,
    blocks: int,
) -> None:
    hang(nodes, hanging)
    stream = io.BytesIO(bytes(blocks * MIB))
    assert_heard(lambda: patient.put_stream(stream, "/data/f"), hanging)
    assert "/data/f" not in catalog.entries


def get_tree(client: DfsClient, folder: Path) -> None:
    client.get(["/data"], folder / "back", options=GetOptions(recursive=True))


def read_many(client: DfsClient, _folder: Path) -> None:
    list(client.read_many(["/data/f0", "/data/f1"]))


def cat_many(client: DfsClient, _folder: Path) -> None:
    list(client.get_streams(["/data/f0", "/data/f1"], io.BytesIO()))


def cat(client: DfsClient, _folder: Path) -> None:
    client.get_stream("/data/f0", io.BytesIO())


def read(client: DfsClient, _folder: Path) -> None:
    client.read_bytes("/data/f0")


def verify(client: DfsClient, _folder: Path) -> None:
    list(client.verify("/data"))


@pytest.mark.parametrize("size", [1_000, 6 * MIB], ids=["small files", "large files"])
@pytest.mark.parametrize("act", [get_tree, read_many, cat_many, cat, read, verify])
def test_reading_hears_an_interrupt_that_another_thread_got(
    patient: DfsClient,
    nodes: list[FakeDataNode],
    tmp_path: Path,
    hanging: Hanging,
    act: Callable[[DfsClient, Path], None],
    size: int,
) -> None:
    assert patient.put(local_files(tmp_path, 2, size), "/data").ok
    hang(nodes, hanging)
    assert_heard(lambda: act(patient, tmp_path), hanging)
