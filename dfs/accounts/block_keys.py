"""The ring of block keys on the NameNode: made, rotated, handed to DataNodes, signed with.

A key signs for one life (`block_key_life_s`) and verifies for two more, so that the receipts of a
file that was written for hours still hold when it is completed.  Keys are journaled: a standby
signs and verifies with the same ones.  What a token says and how it is checked: `dfs.wire.tokens`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from dfs.base.clock import Clock
from dfs.base.entropy import new_secret
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockKey, BlockName, NodeAddress
from dfs.meta.cluster_tables import BLOCK_KEY
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import NamenodeConfig
from dfs.wire.tokens import BlockToken, KeyRing, Mode, digest_path, digest_peer, sign_token

SEQUENCE_NAME: Final = "block_key"
LIVES_TO_EXPIRY: Final = 3
NUMBERS_SKIPPED: Final = 1 << 20  # more than keys are made in the life of a cluster
_NEVER_MS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class RotationReport:
    """What a pass did; false when nothing was due."""

    made: int = 0  # id of the new key
    dropped: int = 0

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.made or self.dropped)


@dataclass(frozen=True, slots=True)
class TokenWish:
    """One block of a batch of tokens.

    `length_max_bytes`, `path` and `peers` bind what an upload may do; a reader's are not looked at.
    `window` binds a reader to an `(offset, length)` of the block.
    """

    name: BlockName
    length_max_bytes: int
    path: str
    peers: tuple[NodeAddress, ...] = ()  # whom the DataNode may connect to for it
    window: tuple[int, int] | None = None  # None: the whole block


@dataclass(frozen=True, slots=True)
class _Held:
    """The keys that are good now, until the first of them expires."""

    keys: tuple[BlockKey, ...]
    ring: KeyRing
    until_ms: int


class BlockKeys:
    """See the module.

    Args:
        cluster: the cluster's id, named in every token.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        config: NamenodeConfig,
        cluster: str,
        *,
        emit: Emitter,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._emit = emit
        self._cluster = cluster
        self._key_life_ms = int(config.block_key_life_s * 1000)
        self._token_life_ms = int(config.block_token_life_s * 1000)
        self._held = _hold((), now_ms=0)
        self.reload()

    def reload(self) -> None:
        """Read the keys again, after something else than this object changed them."""
        with self._reader.view() as connection:
            self._held = _hold(_select_keys(connection), now_ms=self._clock.now_ms())

    def ring(self) -> KeyRing:
        """Every key that has not expired; the newest signs."""
        return self._current().ring

    def keys_missing_from(self, ids: Sequence[int]) -> list[BlockKey]:
        """The keys a DataNode lacks that says it has `ids`."""
        return [key for key in self._current().keys if key.key_id not in ids]

    def mint(self, *, user: str, mode: Mode, name: BlockName, length_max: int, path: str) -> bytes:
        """A token for one block.

        Raises:
            TokenRefused: there is no key yet (`rotate_once` has never run).
        """
        wish = TokenWish(name, length_max, path)
        return self.mint_many(user=user, mode=mode, wishes=[wish])[0]

    def mint_many(self, *, user: str, mode: Mode, wishes: Iterable[TokenWish]) -> list[bytes]:
        """A token for each wish, in order.

        Raises:
            TokenRefused: as `mint`.
        """
        key = self.ring().newest()
        expires_ms = self._clock.now_ms() + self._token_life_ms
        return [self._sign(wish, user, mode, expires_ms, key) for wish in wishes]

    def rotate_once(self) -> RotationReport:
        """Make the first key or the next one when due; drop those that expired."""
        report = self._writer.submit(self._rotate)
        if report:
            self._emit.emit(Event.KEYS_ROTATED, made=report.made, dropped=report.dropped)
        return report

    def renew(self) -> None:
        """Make a key now, under a number above every one that a DataNode can know a key by.

        DataNodes sign with the key of the highest number they know.  The same old copy of the
        database may be gone on from more than once, so the number is taken from the clock.
        """

        def write(txn: Txn) -> int:
            keys = _select_keys(txn.connection)
            following = txn.take(SEQUENCE_NAME) + 1
            ahead = txn.now_ms - following
            txn.take(SEQUENCE_NAME, ahead if ahead > 0 else NUMBERS_SKIPPED)
            fresh = self._new_key(txn)
            txn.put(BLOCK_KEY, _row(fresh))
            held = _hold([*keys, fresh], now_ms=txn.now_ms)
            txn.after_commit(lambda: self._hold_now(held))
            return fresh.key_id

        self._emit.emit(Event.KEYS_ROTATED, made=self._writer.submit(write), dropped=0)

    def _rotate(self, txn: Txn) -> RotationReport:
        keys = _select_keys(txn.connection)
        expired = [key for key in keys if key.expires_ms <= txn.now_ms]
        fresh = self._next_key(txn, keys)
        report = RotationReport(made=fresh[0].key_id if fresh else 0, dropped=len(expired))
        if report:
            txn.put(BLOCK_KEY, *(_row(key) for key in fresh))
            txn.drop(BLOCK_KEY, *((key.key_id,) for key in expired))
            held = _hold([*keys, *fresh], now_ms=txn.now_ms)
            txn.after_commit(lambda: self._hold_now(held))
        return report

    def _next_key(self, txn: Txn, keys: Sequence[BlockKey]) -> list[BlockKey]:
        newest_ms = max((key.created_ms for key in keys), default=-self._key_life_ms)
        if txn.now_ms - newest_ms < self._key_life_ms:
            return []
        return [self._new_key(txn)]

    def _new_key(self, txn: Txn) -> BlockKey:
        expires_ms = txn.now_ms + LIVES_TO_EXPIRY * self._key_life_ms
        return BlockKey(txn.take(SEQUENCE_NAME), new_secret(), txn.now_ms, expires_ms)

    def _hold_now(self, held: _Held) -> None:
        self._held = held

    def _current(self) -> _Held:
        held, now_ms = self._held, self._clock.now_ms()
        return held if now_ms < held.until_ms else _hold(held.keys, now_ms=now_ms)

    def _sign(
        self, wish: TokenWish, user: str, mode: Mode, expires_ms: int, key: BlockKey
    ) -> bytes:
        token = BlockToken(
            key_id=key.key_id,
            expires_ms=expires_ms,
            cluster=self._cluster,
            user=user,
            mode=mode,
            block=wish.name.block,
            generation=wish.name.generation,
            file=wish.name.file,
            number=wish.name.number,
            length_max_bytes=wish.length_max_bytes,
            path_digest=digest_path(wish.path),
            peer_digests=b"".join(digest_peer(each.node, each.grpc) for each in wish.peers),
            window=wish.window,
        )
        return sign_token(token, key)


def _hold(keys: Iterable[BlockKey], *, now_ms: int) -> _Held:
    good = tuple(key for key in keys if key.expires_ms > now_ms)
    until_ms = min((key.expires_ms for key in good), default=_NEVER_MS)
    return _Held(good, KeyRing(good), until_ms)


def _select_keys(connection: Connection) -> list[BlockKey]:
    columns = BLOCK_KEY.c
    wanted = select(columns.id, columns.secret, columns.created_ms, columns.expires_ms)
    return [BlockKey(*row) for row in connection.execute(wanted.order_by(columns.id))]


def _row(key: BlockKey) -> dict[str, object]:
    return {
        "id": key.key_id,
        "secret": key.secret,
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
    }
