"""Letters arrive as they were written, or are refused with an error of ours."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfs.base.errors import BadRequest, DfsError, LimitExceeded, TokenRefused
from dfs.failover import envelope
from dfs.failover.envelope import ENVELOPE_BYTES_MAX, LETTERS_MAX, Seal, write_letter
from dfs.failover.sealing import Sealing
from dfs.ha.messages import Append, Canvass, JournalRecord, Letter
from dfs.ha.rows import START
from tests.unit.failover.letter_strategies import KINDS, LETTERS, of

SECRET = b"s" * 32
SEAL = Seal(SECRET)
LETTER = Letter("c", "A", "v1", Canvass((1, 0)))


def sealed(content: bytes) -> bytes:
    """Whatever a member might seal."""
    return Sealing(SECRET, envelope.KIND).close(content)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_every_kind_of_letter_arrives_as_it_was_written(kind: Any, data: st.DataObject) -> None:
    letter = Letter("c", "A", "B", data.draw(of(kind)))
    opened = SEAL.open(SEAL.close([write_letter(letter)]))
    assert opened == ([letter], [])
    assert type(opened.letters[0].body) is kind


@settings(max_examples=40)
@given(letters=st.lists(LETTERS, min_size=1, max_size=5))
def test_letters_arrive_in_order(letters: list[Letter]) -> None:
    assert SEAL.open(SEAL.close(map(write_letter, letters))).letters == letters


@settings(max_examples=40)
@given(raw=st.binary(max_size=200))
def test_what_is_no_envelope_is_refused(raw: bytes) -> None:
    with pytest.raises(DfsError):
        SEAL.open(raw)


@settings(max_examples=40)
@given(letter=LETTERS, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_envelope_with_any_bit_flipped_is_refused(letter: Letter, at: int, bit: int) -> None:
    raw = bytearray(SEAL.close([write_letter(letter)]))
    raw[at % len(raw)] ^= 1 << bit
    with pytest.raises((BadRequest, TokenRefused)):
        SEAL.open(bytes(raw))


@settings(max_examples=40)
@given(content=st.binary(max_size=200))
def test_sealed_rubbish_is_refused_in_words(content: bytes) -> None:
    try:
        opened = SEAL.open(sealed(content))
    except BadRequest:
        return
    assert opened.letters == []


@settings(max_examples=40)
@given(letter=LETTERS, at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.integers(0, 9))
def test_sealed_letter_that_is_spoiled_raises_nothing_else(
    letter: Letter, at: int, bit: int, cut: int
) -> None:
    content = bytearray(msgspec.msgpack.encode([msgspec.Raw(write_letter(letter))]))
    content[at % len(content)] ^= 1 << bit
    try:
        opened = SEAL.open(sealed(bytes(content[: len(content) - cut])))
    except BadRequest:
        return
    assert all(isinstance(each, Letter) for each in opened.letters)


@pytest.mark.parametrize("deep", [b"\x91", b"\x81\xa1x", b"\xdc\x00\x01"])
def test_letters_nested_without_end_are_refused(deep: bytes) -> None:
    with pytest.raises(BadRequest):
        SEAL.open(sealed(deep * 100_000))
    with pytest.raises(BadRequest):
        SEAL.open(sealed(b"\x91\x81\xa1x" + deep * 5_000 + b"\xc0"))


def test_letter_of_an_unknown_kind_is_refused_and_the_others_are_read() -> None:
    body = {"cluster": "c", "sender": "A", "to": "v1", "body": {"type": "Bribe"}}
    opened = SEAL.open(SEAL.close([write_letter(LETTER), msgspec.msgpack.encode(body)]))
    assert opened.letters == [LETTER]
    assert "Bribe" in opened.refused[0]


def test_letter_of_another_cluster_or_of_nobody_is_refused() -> None:
    raw = Seal(b"t" * 32).close([write_letter(LETTER)])
    with pytest.raises(TokenRefused):
        SEAL.open(raw)


def test_letters_of_another_version_are_refused_in_words() -> None:
    raw = bytearray(SEAL.close([write_letter(LETTER)]))
    raw[4] = 2
    with pytest.raises(BadRequest, match="letters of version 2; this program reads version 1"):
        SEAL.open(bytes(raw))


def test_envelopes_are_bounded() -> None:
    with pytest.raises(LimitExceeded):
        SEAL.open(b"DFSL" + bytes(ENVELOPE_BYTES_MAX))
    record = JournalRecord(1, 1, b"", b"", 0, bytes(ENVELOPE_BYTES_MAX))
    with pytest.raises(LimitExceeded):
        write_letter(Letter("c", "A", "B", Append(1, START, (record,), START)))
    many = msgspec.msgpack.encode([msgspec.Raw(write_letter(LETTER))] * (LETTERS_MAX + 1))
    with pytest.raises(BadRequest):
        SEAL.open(sealed(many))
