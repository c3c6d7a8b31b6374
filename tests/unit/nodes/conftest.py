"""A register of DataNodes on a real metadata database, and DataNodes' side of the talk with it."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from dfs.base.clock import ManualClock
from dfs.base.events import RecordingEmitter
from dfs.base.records import BlockKey
from dfs.meta.session import Reader
from dfs.meta.writer import Writer
from dfs.nodes.registry import ClusterFacts, NodeRegistry
from dfs.settings.sections import LivenessConfig
from tests.unit.nodes.beat_rig import Side

CLUSTER = "c" * 32


class OneKey:
    """A ring of one key."""

    def keys_missing_from(self, ids: Sequence[int]) -> list[BlockKey]:
        key = BlockKey(key_id=4, secret=b"k" * 32, created_ms=0, expires_ms=2**62)
        return [] if key.key_id in ids else [key]


@pytest.fixture
def emit() -> RecordingEmitter:
    return RecordingEmitter()


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


@pytest.fixture
def new_side() -> Iterator[Callable[..., Side]]:
    made: list[Side] = []

    def make(*urls: str, **settings: object) -> Side:
        made.append(Side(*urls, **settings))
        return made[-1]

    yield make
    for side in made:
        side.beats.stop()
