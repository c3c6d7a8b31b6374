from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.entropy import Random
from dfs.client import DfsClient
from dfs.client.namenode_link import NamenodeLink
from dfs.settings.sections import ClientConfig, Config, NamenodeConfig
from tests.fake_catalog import TOKEN, FakeCatalog
from tests.fake_datanode import FakeDataNode

MakeClient = Callable[..., DfsClient]


@pytest.fixture
def nodes() -> Iterator[list[FakeDataNode]]:
    """Three DataNodes that work."""
    made = [FakeDataNode(number) for number in (1, 2, 3)]
    yield made
    for node in made:
        node.stop()


@pytest.fixture
def catalog(nodes: list[FakeDataNode]) -> Iterator[FakeCatalog]:
    """A NameNode with small blocks, and a home directory."""
    made = FakeCatalog(nodes, block_size=1 << 20)
    made._make("/data", 0o755, parents=True)
    yield made
    made.close()


@pytest.fixture
def connect_to(tmp_path: Path) -> Iterator[MakeClient]:
    """Makes clients that are logged in, do not sleep, and keep their state below `tmp_path`."""
    made: list[DfsClient] = []

    def connect(
        *catalogs: FakeCatalog | str, token: str = TOKEN, clock=None, **settings: object
    ) -> DfsClient:
        client_settings = {
            "give_up_s": 5.0,
            "transfer_give_up_s": 9.0,
            "timeout_s": 10.0,
            "stall_s": 10.0,
        } | settings
        config = Config(
            client=ClientConfig(**client_settings), namenode=NamenodeConfig(lease_soft_s=0.15)
        )
        urls = tuple(each if isinstance(each, str) else each.url for each in catalogs)
        clock, rng = clock or ManualClock(), Random(3)
        link = NamenodeLink(urls, config=config.client, clock=clock, rng=rng, token=token)
        made.append(
            DfsClient(link, config=config, clock=clock, rng=rng, state_folder=tmp_path / "state")
        )
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def client(catalog: FakeCatalog, connect_to: MakeClient) -> DfsClient:
    """Logged in to the catalog."""
    return connect_to(catalog)


class Watching:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.files = self.size_bytes = self.moved = 0
        self.done: list[tuple[str, int, str]] = []
        self.notes: list[str] = []

    def started(self, files: int, size_bytes: int) -> None:
        self.files, self.size_bytes = files, size_bytes

    def advanced(self, size_bytes: int) -> None:
        self.moved += size_bytes

    def file_done(self, path: str, size_bytes: int, error) -> None:
        self.done.append((path, size_bytes, error.code if error else ""))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def watching() -> Watching:
    return Watching()
