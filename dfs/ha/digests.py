"""Pure: whether a standby's tables equal the leader's, and what follows when they do not.

Both digest their tables at the same transaction.  That their journals are equal is known from every
acknowledgement; tables that differ mean a bug or a disk that rots, and it is not known whose.  So
nothing is overwritten by itself: a standby that differs keeps acknowledging (its journal is whole,
and the journal is what was promised), it is not handed the lead, and people are told.
"""

import enum

import msgspec

from dfs.ha.rows import Position


class TableDigests(msgspec.Struct, frozen=True):
    """The digest of each table, as of a place in the journal."""

    position: Position
    tables: dict[str, bytes]


class Comparison(enum.StrEnum):
    """What came of it."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


class Finding(msgspec.Struct, frozen=True):
    """What came of a comparison, and why; `tables` are those that differ."""

    comparison: Comparison
    reason: str
    tables: tuple[str, ...] = ()


def compare(ours: TableDigests, theirs: TableDigests) -> Finding:
    """Hold a standby's digests against ours."""
    if ours.position.txid != theirs.position.txid:
        text = f"ours is of {ours.position.txid}, theirs of {theirs.position.txid}"
        return Finding(Comparison.NOT_COMPARABLE, text)
    if ours.position != theirs.position:
        text = f"the journals differ at {ours.position.txid}: the standby needs a snapshot"
        return Finding(Comparison.DIFFERENT, text)
    names = ours.tables.keys() | theirs.tables.keys()
    wrong = tuple(sorted(n for n in names if ours.tables.get(n) != theirs.tables.get(n)))
    if not wrong:
        return Finding(Comparison.EQUAL, f"equal at transaction {ours.position.txid}")
    return Finding(
        Comparison.DIFFERENT,
        f"{', '.join(wrong)} differ at transaction {ours.position.txid}, from equal journals",
        wrong,
    )
