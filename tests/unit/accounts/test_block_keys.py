"""The ring rotates on time, older tokens go on verifying, expired keys are gone."""

import pytest

from dfs.accounts.block_keys import BlockKeys, TokenWish
from dfs.base.errors import TokenRefused
from dfs.base.events import Event
from dfs.base.ids import NodeId
from dfs.base.records import NodeAddress
from dfs.settings.sections import NamenodeConfig
from dfs.wire.tokens import (
    CLOCK_TOLERANCE_MS,
    Mode,
    check_peer,
    check_token,
    read_token,
    receipt_holds,
    sign_receipt,
)
from tests.builders import a_name, a_truth
from tests.metadata_rig import MetadataRig

LIFE_S = 36_000.0
CONFIG = NamenodeConfig(block_key_life_s=LIFE_S, block_token_life_s=600.0)


def _keys(metadata: MetadataRig) -> BlockKeys:
    return BlockKeys(
        metadata.writer, metadata.reader, metadata.clock, CONFIG, "c1", emit=metadata.emit
    )


def _mint(keys: BlockKeys) -> bytes:
    return keys.mint(user="ada", mode=Mode.READ, name=a_name(), length_max=100, path="/a")


def test_ring_is_empty_until_the_first_rotation(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    assert keys.ring().ids() == []
    with pytest.raises(TokenRefused):
        _mint(keys)
    assert keys.rotate_once().made == 1
    assert keys.ring().ids() == [1]
    assert [event for event, _ in metadata.emit.events] == [Event.KEYS_ROTATED]


def test_rotation_does_nothing_before_it_is_due(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    txid = metadata.writer.txid
    metadata.clock.advance(LIFE_S - 1)
    assert not keys.rotate_once()
    assert metadata.writer.txid == txid
    metadata.clock.advance(1)
    assert keys.rotate_once().made == 2


def test_token_says_what_it_was_minted_for(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    token = read_token(_mint(keys), keys.ring(), now_ms=metadata.clock.now_ms())
    check_token(token, cluster="c1", name=a_name(), modes=frozenset({Mode.READ}))
    assert (token.user, token.length_max_bytes) == ("ada", 100)


def test_tokens_of_a_batch_come_in_order(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    wishes = [TokenWish(a_name(block), 100, f"/{block}") for block in range(1, 50)]
    raw = keys.mint_many(user="ada", mode=Mode.WRITE, wishes=wishes)
    read = [read_token(one, keys.ring(), now_ms=metadata.clock.now_ms()) for one in raw]
    assert [token.block for token in read] == list(range(1, 50))


def test_older_token_verifies_after_a_rotation(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    metadata.clock.advance(LIFE_S - 1)
    raw = _mint(keys)
    metadata.clock.advance(1)
    assert keys.rotate_once().made == 2
    assert read_token(raw, keys.ring(), now_ms=metadata.clock.now_ms()).key_id == 1
    assert keys.ring().newest().key_id == 2


def test_token_is_refused_when_it_expired(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    raw = _mint(keys)
    metadata.clock.advance(600 + CLOCK_TOLERANCE_MS / 1000 + 1)
    with pytest.raises(TokenRefused, match="expired"):
        read_token(raw, keys.ring(), now_ms=metadata.clock.now_ms())


def test_receipt_of_a_long_write_holds_two_lives_later_and_not_three(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    receipt = sign_receipt(a_truth(), node=NodeId(1), epoch=1, key=keys.ring().newest())
    for _ in range(2):
        metadata.clock.advance(LIFE_S)
        keys.rotate_once()
    assert receipt_holds(receipt, keys.ring())
    metadata.clock.advance(LIFE_S)
    assert not receipt_holds(receipt, keys.ring())  # even before the pass that drops the row
    assert keys.rotate_once().dropped == 1
    assert keys.ring().ids() == [2, 3, 4]


def test_datanode_is_sent_the_keys_it_lacks(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    metadata.clock.advance(LIFE_S)
    keys.rotate_once()
    assert [key.key_id for key in keys.keys_missing_from([])] == [1, 2]
    assert [key.key_id for key in keys.keys_missing_from([1])] == [2]
    assert keys.keys_missing_from([2, 1]) == []


def test_restarted_namenode_signs_with_the_same_keys(metadata: MetadataRig) -> None:
    first = _keys(metadata)
    first.rotate_once()
    raw = _mint(first)
    again = _keys(metadata)
    assert not again.rotate_once()
    assert read_token(raw, again.ring(), now_ms=metadata.clock.now_ms()).key_id == 1


def test_key_ids_are_never_used_twice(metadata: MetadataRig) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    metadata.clock.advance(10 * LIFE_S)
    report = keys.rotate_once()
    assert (report.made, report.dropped) == (2, 1)


def test_renewed_key_outnumbers_every_one_that_was_made_before(metadata: MetadataRig) -> None:
    """DataNodes sign with the highest they know, which may be of a history that was lost."""
    keys = _keys(metadata)
    keys.rotate_once()
    for _ in range(3):
        highest = max(keys.ring().ids())
        metadata.clock.advance(1)
        before_ms = metadata.clock.now_ms()
        keys.renew()
        assert max(keys.ring().ids()) >= before_ms
        assert max(keys.ring().ids()) > highest


def test_token_names_the_targets_that_a_datanode_may_call_and_no_others(
    metadata: MetadataRig,
) -> None:
    keys = _keys(metadata)
    keys.rotate_once()
    named = (NodeAddress(NodeId(1), "10.0.0.1", 1, 2), NodeAddress(NodeId(2), "10.0.0.2", 1, 2))
    wish = TokenWish(a_name(), 100, "/a", named)
    (raw,) = keys.mint_many(user="ada", mode=Mode.WRITE, wishes=[wish])
    token = read_token(raw, keys.ring(), now_ms=metadata.clock.now_ms())
    for each in named:
        check_peer(token, node=each.node, address=each.grpc)
    for node, address in ((1, "10.0.0.2:1"), (3, "10.0.0.1:1"), (1, "10.0.0.1:11")):
        with pytest.raises(TokenRefused, match=f"does not name dn-{node} at {address}"):
            check_peer(token, node=node, address=address)
