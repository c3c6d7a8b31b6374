"""What happened to a block is remembered in order, and forgotten when it is old."""

import pytest

from dfs.base.clock import ManualClock
from dfs.base.ids import BlockId, Generation, NodeId
from dfs.blocks import history
from dfs.blocks.history import BlockEvent, What, note, read, trim
from tests.metadata_rig import MetadataRig


def an_event(what: What, *, block: int = 1, node: int = 2) -> BlockEvent:
    return BlockEvent(BlockId(block), Generation(5), what, NodeId(node), "repair", "from dn-1")


def tell(metadata: MetadataRig, *events: BlockEvent) -> None:
    metadata.change(lambda txn: note(txn, events))


def test_history_is_read_in_the_order_it_happened(
    metadata: MetadataRig, clock: ManualClock
) -> None:
    tell(metadata, an_event(What.CORRUPT), an_event(What.COPIED))
    clock.advance(1)
    tell(metadata, an_event(What.HEALED), an_event(What.COPIED, block=9))
    found = metadata.look(lambda connection: read(connection, BlockId(1)))
    assert [event.what for event in found] == [What.CORRUPT, What.COPIED, What.HEALED]
    assert found[2].at_ms == found[0].at_ms + 1000
    assert found[0].detail == "from dn-1"


def test_history_gives_the_newest_when_asked_for_few(metadata: MetadataRig) -> None:
    for what in (What.CORRUPT, What.COPIED, What.HEALED):
        tell(metadata, an_event(what))
    found = metadata.look(lambda connection: read(connection, BlockId(1), limit=2))
    assert [event.what for event in found] == [What.COPIED, What.HEALED]


def test_history_is_trimmed_by_age_and_its_ids_still_grow(
    metadata: MetadataRig, clock: ManualClock
) -> None:
    tell(metadata, an_event(What.CORRUPT))
    clock.advance(100)
    limit_ms = clock.now_ms()
    assert trim(metadata.writer, older_than_ms=limit_ms) == 1
    tell(metadata, an_event(What.COPIED))
    assert trim(metadata.writer, older_than_ms=limit_ms) == 0
    found = metadata.look(lambda connection: read(connection, BlockId(1)))
    assert [event.what for event in found] == [What.COPIED]


def test_history_is_bounded_by_number_and_trimmed_in_steps(
    metadata: MetadataRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TRIM_ROWS_MAX", 4)
    tell(metadata, *(an_event(What.COPIED, block=block) for block in range(1, 26)))
    monkeypatch.setattr(history, "TRIM_STEPS_MAX", 3)
    assert trim(metadata.writer, older_than_ms=0, events_max=10) == 12
    assert trim(metadata.writer, older_than_ms=0, events_max=10) == 3
    assert trim(metadata.writer, older_than_ms=0, events_max=10) == 0
    kept = metadata.look(
        lambda connection: [n for n in range(1, 26) if read(connection, BlockId(n))]
    )
    assert kept == list(range(16, 26)), "the newest stay"


def test_history_is_not_journaled(metadata: MetadataRig) -> None:
    before = metadata.writer.txid
    tell(metadata, an_event(What.CORRUPT))
    assert metadata.writer.txid == before
