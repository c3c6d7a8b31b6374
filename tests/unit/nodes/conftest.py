"""A real metadata database for each test, and a register of DataNodes on it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dfs.base.clock import ManualClock
from dfs.base.events import RecordingEmitter, SilentEmitter
from dfs.base.records import BlockKey
from dfs.meta.schema import Base
from dfs.meta.session import DATABASE_FILE, Reader, reader_engine, writer_engine
from dfs.meta.writer import Writer
from dfs.nodes.registry import ClusterFacts, NodeRegistry
from dfs.settings.sections import LimitsConfig, LivenessConfig, NamenodeConfig

CLUSTER = "c" * 32


class OneKey:
    """A ring of one key."""

    def keys_missing_from(self, ids: Sequence[int]) -> list[BlockKey]:
        key = BlockKey(key_id=4, secret=b"k" * 32, created_ms=0, expires_ms=2**62)
        return [] if key.key_id in ids else [key]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def emit() -> RecordingEmitter:
    return RecordingEmitter()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: each table made costs an fsync."""
    file = tmp_path_factory.mktemp("empty") / DATABASE_FILE
    engine = writer_engine(file)
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def writer(tmp_path: Path, clock: ManualClock, empty_database: Path) -> Iterator[Writer]:
    file = tmp_path / DATABASE_FILE
    shutil.copy(empty_database, file)
    engine = writer_engine(file)
    made = Writer(
        engine,
        file,
        clock=clock,
        emit=SilentEmitter(),
        config=NamenodeConfig(),
        limits=LimitsConfig(),
        on_fatal=pytest.fail,
    )
    yield made
    made.close()


@pytest.fixture
def reader(tmp_path: Path, writer: Writer) -> Iterator[Reader]:
    made = Reader(reader_engine(tmp_path / DATABASE_FILE, connections=4))
    yield made
    made.close()


@pytest.fixture
def start(
    writer: Writer, reader: Reader, clock: ManualClock, emit: RecordingEmitter
) -> Callable[[], NodeRegistry]:
    """Makes the register, as each start of a NameNode does."""

    def make() -> NodeRegistry:
        return NodeRegistry(
            writer,
            reader,
            clock=clock,
            emit=emit,
            config=LivenessConfig(),
            keys=OneKey(),
            facts=ClusterFacts(
                cluster=CLUSTER,
                namenodes=("http://127.0.0.1:1",),
                block_tokens=True,
                join_token_life_s=3600.0,
            ),
        )

    return make


@pytest.fixture
def registry(start: Callable[[], NodeRegistry]) -> NodeRegistry:
    return start()
