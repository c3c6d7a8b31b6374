"""What a DataNode knows of its cluster: who it is there, the epoch, the block keys, the time.

All of it comes from NameNodes, in answers to beats.  Only a NameNode whose epoch is at least the
highest ever seen is believed: one that leads no more teaches nothing.  The highest epoch outlives
the process (it is kept with the blocks), and so does the newest transaction of it, but for the last
minute before a crash; the keys do not.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from dfs.base.clock import Clock
from dfs.base.errors import StaleEpoch
from dfs.base.ids import NodeId, node_name
from dfs.base.records import BlockKey
from dfs.wire.nodes_api import BeatReply
from dfs.wire.tokens import KeyRing

KEYS_MAX: Final = 64
ROUND_TRIP_MAX_MS: Final = 5_000  # a slower answer says too little about the time
KEY_WAITERS_MAX: Final = 8
KEEP_TXID_S: Final = 60.0


class EpochMemory(Protocol):
    """Where the highest epoch seen, and the newest transaction of it, are kept for good."""

    @property
    def epoch(self) -> int:
        """The highest so far."""
        ...

    @property
    def txid(self) -> int:
        """The newest transaction of that epoch, as far as it was kept."""
        ...

    def remember_epoch(self, epoch: int) -> None:
        """Keep a higher one; it is on the disk when this returns."""
        ...

    def remember_txid(self, epoch: int, txid: int) -> None:
        """Keep a newer transaction of that epoch, if it can be."""
        ...


class Standing:
    """See the module.  Safe to share between threads."""

    def __init__(self, *, memory: EpochMemory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._changed = threading.Condition()
        self._obeying = threading.RLock()  # taken before `_changed`, where both are
        self._coming = 0  # an epoch that waits for the command under way
        self._on_epoch: list[Callable[[int], None]] = []
        self._waiters = threading.BoundedSemaphore(KEY_WAITERS_MAX)
        self._offset_ms = 0
        self._txid = memory.txid
        self._txid_kept_s = clock.monotonic_s()
        self._ring = KeyRing()
        self._keys: dict[int, BlockKey] = {}
        self._ask_now: list[Callable[[], None]] = []
        self.cluster = ""
        self.node = NodeId(0)
        self.tokens_required = True  # until a NameNode says otherwise

    def settle(self, cluster: str, node: NodeId) -> None:
        """Know who we are: read from the disk, or just joined."""
        self.cluster, self.node = cluster, node

    @property
    def name(self) -> str:
        """`dn-3`; `dn-?` before it has joined."""
        return node_name(self.node) if self.node else "dn-?"

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return self._memory.epoch

    @property
    def txid(self) -> int:
        """The newest transaction of that epoch that any NameNode told of."""
        return self._txid

    @property
    def ring(self) -> KeyRing:
        """The block keys held now."""
        return self._ring

    def now_ms(self) -> int:
        """The NameNode's wall clock, as far as beats told; tokens expire by it."""
        return self._clock.now_ms() + self._offset_ms

    def admit_epoch(self, epoch: int) -> None:
        """Let a word of that epoch pass, and fence all lower ones from now on.

        Raises:
            StaleEpoch: a higher one was seen.
            VolumeReadOnly: it is a higher one, and no disk keeps it.
        """
        if epoch > self._memory.epoch:
            self._begin_epoch(epoch)
        highest = self._memory.epoch
        if epoch < highest:
            raise StaleEpoch(f"epoch {epoch} is over: {self.name} has seen epoch {highest}")

    @contextlib.contextmanager
    def obeying(self, epoch: int) -> Iterator[None]:
        """Do inside what a command of that epoch wants; no later epoch begins meanwhile.

        So whoever hears from us that an epoch is known hears as well that nothing is done any more
        that an older one ordered: what is reported from then on stays, but for its own commands.

        Raises:
            StaleEpoch: a higher one was seen, or is about to begin.
        """
        with self._obeying:
            self.admit_epoch(epoch)
            if epoch < self._coming:
                raise StaleEpoch(f"epoch {epoch} is over: {self.name} hears of {self._coming}")
            yield

    def on_new_epoch(self, hear: Callable[[int], None]) -> None:
        """Have `hear` called with each higher epoch, once it is on the disk."""
        self._on_epoch.append(hear)

    def _begin_epoch(self, epoch: int) -> None:
        with self._changed:
            self._coming = max(self._coming, epoch)  # so that it waits for no other command
        with self._obeying:
            with self._changed:  # held while it reaches the disk: rare, and nothing may overtake
                begins = epoch > self._memory.epoch
                if begins:
                    self._memory.remember_epoch(epoch)
                    self._txid = 0
            if begins:
                for hear in self._on_epoch:
                    hear(epoch)

    def learn(self, reply: BeatReply, *, sent_ms: int, received_ms: int) -> bool:
        """Take over what a NameNode said; False when its epoch is over and nothing was taken."""
        try:
            self.admit_epoch(reply.epoch)
        except StaleEpoch:
            return False
        with self._changed:
            self.tokens_required = reply.block_tokens
            if 0 <= received_ms - sent_ms <= ROUND_TRIP_MAX_MS:
                self._offset_ms = reply.now_ms - (sent_ms + received_ms) // 2
            if reply.keys:
                self._add_keys(
                    [BlockKey(k.key_id, k.secret, k.created_ms, k.expires_ms) for k in reply.keys]
                )
            self._changed.notify_all()
        self._learn_txid(reply)
        return True

    def _learn_txid(self, reply: BeatReply) -> None:
        with self._changed:
            if reply.epoch == self._memory.epoch:
                self._txid = max(self._txid, reply.txid)
            now_s = self._clock.monotonic_s()
            due = now_s - self._txid_kept_s >= KEEP_TXID_S
            if due:
                self._txid_kept_s = now_s
        if due:
            self.keep()

    def keep(self) -> None:
        """Write down how far metadata had come when a NameNode was last heard."""
        self._memory.remember_txid(self._memory.epoch, self._txid)

    def on_key_wanted(self, ask_now: Callable[[], None]) -> None:
        """Have `ask_now` called when a token comes under a key that is not here yet."""
        self._ask_now.append(ask_now)

    def await_key(self, key_id: int, *, timeout_s: float) -> None:
        """Wait shortly for a key that a NameNode may have made since the last beat.

        Only the key after the newest held is waited for, and by few callers at once, so that
        invented key ids hold nothing up.
        """
        held = self._ring.ids()
        plausible = key_id not in held and (not held or held[-1] < key_id <= held[-1] + 2)
        if not plausible or not self._waiters.acquire(blocking=False):
            return
        try:
            for ask_now in self._ask_now:
                ask_now()
            with self._changed:
                self._changed.wait_for(lambda: key_id in self._keys, timeout_s)
        finally:
            self._waiters.release()

    def _add_keys(self, keys: list[BlockKey]) -> None:
        now_ms = self.now_ms()
        for key in keys:
            self._keys[key.key_id] = key
        newest = sorted(self._keys.values(), key=lambda key: key.key_id)[-KEYS_MAX:]
        # The newest stays whatever the clocks say: without it no receipt could be signed.
        kept = [key for key in newest[:-1] if key.expires_ms > now_ms] + newest[-1:]
        self._keys = {key.key_id: key for key in kept}
        self._ring = KeyRing(kept)
