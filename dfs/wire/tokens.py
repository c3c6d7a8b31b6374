"""Pure: block tokens and receipts, signed with HMAC-SHA256 under the cluster's block keys.

A token lets its bearer do one thing (read, write, copy or delete) to one generation of one block
until it expires; the fields follow HDFS's BlockTokenIdentifier plus generation and length.  A
receipt is a DataNode's word, signed under the same ring, that it holds a block.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from dfs.base.decoding import msgpack_reader
from dfs.base.errors import TokenRefused
from dfs.base.ids import BlockId, Generation, InodeId, NodeId, node_name
from dfs.base.records import BlockKey, BlockName, BlockTruth, Receipt

CLOCK_TOLERANCE_MS: Final = 60_000
_SIGNATURE_BYTES: Final = 32
_DIGEST_BYTES: Final = 16


class Mode(StrEnum):
    """What a token allows."""

    READ = "r"
    WRITE = "w"
    COPY = "c"  # read on the source of a copy
    DELETE = "d"  # given by a NameNode to itself, never to a client


class BlockToken(msgspec.Struct, frozen=True, array_like=True):
    """What a token says.

    `path_digest` binds the file name that an upload may put in the label.  `peer_digests` are the
    joined digests of the only peers that a DataNode may connect to at the bearer's word: the
    targets of a write, the source of a copy.  Without them a writer could send any DataNode to any
    address.  A bearer may use some of them and in any order.  `window` is the `(offset, length)` of
    the block beside which nothing may be read: a block may hold files that the bearer may not see.
    Without one the whole block may.
    """

    key_id: int
    expires_ms: int
    cluster: str
    user: str
    mode: Mode
    block: BlockId
    generation: Generation
    file: InodeId
    number: int
    length_max_bytes: int
    path_digest: bytes
    peer_digests: bytes = b""
    window: tuple[int, int] | None = None


class KeyRing:
    """Block keys by id; the newest signs.  Immutable: make another when keys change."""

    def __init__(self, keys: Iterable[BlockKey] = ()) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._newest = max(self._keys.values(), key=lambda key: key.key_id, default=None)

    def ids(self) -> list[int]:
        """The ids of the keys held, in order."""
        return sorted(self._keys)

    def newest(self) -> BlockKey:
        """The key that signs now.

        Raises:
            TokenRefused: the ring is empty (no NameNode has sent its keys yet).
        """
        if self._newest is None:
            raise TokenRefused("no block keys here yet", hint="try again in a few seconds")
        return self._newest

    def find(self, key_id: int) -> BlockKey | None:
        """The key of that id, if held."""
        return self._keys.get(key_id)


def digest_path(path: str) -> bytes:
    """The 16 bytes by which a token binds a path."""
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]


def digest_peer(node: int, address: str) -> bytes:
    """The 16 bytes by which a token binds a node together with its `host:port`."""
    return hashlib.sha256(f"{node} {address}".encode()).digest()[:_DIGEST_BYTES]


def sign_token(token: BlockToken, key: BlockKey) -> bytes:
    """The token as it travels: payload, then signature."""
    assert token.key_id == key.key_id
    payload = msgspec.msgpack.encode(token)
    return payload + _mac(key, b"token", payload)


def read_token(raw: bytes, ring: KeyRing, *, now_ms: int) -> BlockToken:
    """The token, if its signature holds and it has not expired.

    Raises:
        TokenRefused: absent, malformed, of an unknown key, forged, or expired.
    """
    if len(raw) <= _SIGNATURE_BYTES:
        raise TokenRefused("a block token is needed")
    payload, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    try:
        token = msgpack_reader(BlockToken)(payload)
    except msgspec.MsgspecError:
        raise TokenRefused("the block token is malformed") from None
    key = ring.find(token.key_id)
    if key is None or not hmac.compare_digest(signature, _mac(key, b"token", payload)):
        raise TokenRefused("the block token's signature does not hold")
    if now_ms > token.expires_ms + CLOCK_TOLERANCE_MS:
        raise TokenRefused("the block token has expired")
    return token


def key_id_of(raw: bytes) -> int | None:
    """The key a token says it is signed with; believed only after `read_token`."""
    try:
        return msgpack_reader(BlockToken)(raw[:-_SIGNATURE_BYTES]).key_id
    except msgspec.MsgspecError:
        return None


def check_token(
    token: BlockToken, *, cluster: str, name: BlockName, modes: frozenset[Mode]
) -> None:
    """Refuse a token that is good but for something else.

    Raises:
        TokenRefused: another cluster, block, generation, place or mode.
    """
    if token.cluster != cluster:
        raise TokenRefused("the block token is of another cluster")
    if BlockName(token.file, token.number, token.block, token.generation) != name:
        raise TokenRefused("the block token is for another block")
    if token.mode not in modes:
        raise TokenRefused(f"the block token does not allow this (it is for mode {token.mode!s})")


def check_window(token: BlockToken, ranges: Sequence[tuple[int, int]]) -> None:
    """Refuse to read what lies outside the token's window; no ranges mean the whole block.

    Raises:
        TokenRefused: some of it does.
    """
    if token.window is None:
        return
    first, length = token.window
    if not ranges or any(at < first or at + count > first + length for at, count in ranges):
        raise TokenRefused(f"the block token is for bytes {first} to {first + length} alone")


def check_peer(token: BlockToken, *, node: int, address: str) -> None:
    """Refuse to connect to a peer that the token does not name.

    Raises:
        TokenRefused: it names others, or none.
    """
    bound, wanted = token.peer_digests, digest_peer(node, address)
    if all(bound[at : at + _DIGEST_BYTES] != wanted for at in range(0, len(bound), _DIGEST_BYTES)):
        raise TokenRefused(f"the block token does not name {node_name(NodeId(node))} at {address}")


def sign_receipt(truth: BlockTruth, *, node: NodeId, epoch: int, key: BlockKey) -> Receipt:
    """A DataNode's signed word that it holds that block, fsynced."""
    bare = Receipt(
        truth.block, truth.generation, truth.length_bytes, truth.hash, node, epoch, key.key_id, b""
    )
    return replace(bare, signature=_receipt_mac(bare, key))


def receipt_holds(receipt: Receipt, ring: KeyRing) -> bool:
    """Whether a DataNode of this cluster signed it."""
    key = ring.find(receipt.key_id)
    return key is not None and hmac.compare_digest(receipt.signature, _receipt_mac(receipt, key))


def _receipt_mac(receipt: Receipt, key: BlockKey) -> bytes:
    fields = (
        receipt.block,
        receipt.generation,
        receipt.length_bytes,
        receipt.hash,
        receipt.node,
        receipt.epoch,
    )
    return _mac(key, b"receipt", msgspec.msgpack.encode(fields))


def _mac(key: BlockKey, purpose: bytes, payload: bytes) -> bytes:
    return hmac.digest(key.secret, purpose + b"\0" + payload, "sha256")
