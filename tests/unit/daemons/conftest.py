"""A NameNode that a test plays, and DataNodes that are processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.datanode_rig import NOW_MS
from tests.fake_namenode import FakeNamenode
from tests.unit.daemons.daemon_rig import Daemon


@pytest.fixture
def namenode() -> Iterator[FakeNamenode]:
    fake = FakeNamenode()
    fake.now_ms = NOW_MS
    yield fake
    fake.close()


@pytest.fixture
def start(namenode: FakeNamenode) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def begin(folder: Path, *flags: str, **more: object) -> Daemon:
        made.append(Daemon(folder, "--namenode", namenode.url, *flags, **more))
        return made[-1]

    yield begin
    for daemon in made:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait()
        if daemon.process.stdout is not None:
            daemon.process.stdout.close()
        assert "bug.unhandled" not in daemon.log.read_text()
