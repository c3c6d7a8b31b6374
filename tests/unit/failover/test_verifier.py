"""Comparing tables: one comparison at a time, whoever asks for it."""

import threading
from collections.abc import Callable

from dfs.base.clock import SystemClock
from dfs.failover.digest_wire import Told
from dfs.failover.verifier import Verifier
from dfs.ha.digests import TableDigests
from dfs.ha.rows import START
from tests.unit.failover.post_rig import eventually

DIGESTS = TableDigests(START, {"inode": b"1"})


class Ours:
    """Our own tables, digested when they may be."""

    def __init__(self, may: threading.Event) -> None:
        self._may = may

    def wait(self, _timeout_s: float) -> Told:
        assert self._may.wait(20)
        return Told("", START, DIGESTS)


class Leading:
    """A writer and a host of a leader whose standby has its digests at once."""

    def __init__(self) -> None:
        self.may_digest = threading.Event()
        self.begun = 0

    def submit(self, _work: Callable[[object], object]) -> tuple[Ours, dict[str, Told]]:
        self.begun += 1
        return Ours(self.may_digest), {"nn-2": Told("", START, DIGESTS)}

    def tell(self, _event: object) -> None:
        """The member hears of it."""


def test_comparison_waits_for_the_one_before() -> None:
    leading = Leading()
    verifier = Verifier(
        leading,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        writer=lambda: leading,  # type: ignore[arg-type, return-value]
        standbys=lambda: {"nn-2": "http://b:1"},
        secret=lambda: b"s" * 32,
        clock=SystemClock(),
    )
    said: list[list[str]] = []
    both = [threading.Thread(target=lambda: said.append(verifier.verify())) for _ in range(2)]
    both[0].start()
    eventually(lambda: leading.begun)
    both[1].start()
    both[1].join(0.2)
    assert leading.begun == 1, "a standby works on one, and a new one ends the other"
    leading.may_digest.set()
    for each in both:
        each.join(20)
    assert (leading.begun, len(said)) == (2, 2)
