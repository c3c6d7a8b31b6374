"""Comparing tables: one comparison at a time, whoever asks for it."""

import threading
from collections.abc import Callable

import msgspec

from dfs.base.clock import SystemClock
from dfs.failover.digest_wire import Told
from dfs.failover.verifier import Verified, Verifier
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

    def __init__(self, **standbys: Told) -> None:
        self.may_digest = threading.Event()
        self.begun = 0
        self.standbys = standbys or {"nn-2": Told("", START, DIGESTS)}

    def submit(self, _work: Callable[[object], object]) -> tuple[Ours, dict[str, Told]]:
        self.begun += 1
        return Ours(self.may_digest), self.standbys

    def tell(self, _event: object) -> None:
        """The member hears of it."""


def _verifier(leading: Leading) -> Verifier:
    return Verifier(
        leading,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        writer=lambda: leading,  # type: ignore[arg-type, return-value]
        standbys=lambda: dict.fromkeys(leading.standbys, "http://b:1"),
        secret=lambda: b"s" * 32,
        clock=SystemClock(),
    )


def test_standby_is_proven_equal_only_by_equal_tables_of_one_transaction() -> None:
    later = TableDigests(msgspec.structs.replace(START, txid=1), DIGESTS.tables)
    leading = Leading(
        equal=Told("", START, DIGESTS),
        other=Told("", START, TableDigests(START, {"inode": b"2"})),
        later=Told("", START, later),
        silent=Told("", START, failed="it does not answer"),
    )
    leading.may_digest.set()
    verifier = _verifier(leading)
    lines, unproven = verifier.verify()
    assert unproven == ("other", "later", "silent")
    assert verifier.differing == ("other",), "only of this one it is known that it differs"
    assert lines[0] == "equal: equal at transaction 0"
    assert lines[3] == "silent: not comparable: it does not answer"


def test_comparison_waits_for_the_one_before() -> None:
    leading = Leading()
    verifier = _verifier(leading)
    said: list[Verified] = []
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
