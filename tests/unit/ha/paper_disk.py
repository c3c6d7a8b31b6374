"""What a paper machine keeps: a journal, rows, snapshots; and what a crash leaves of them."""

import hashlib
from collections.abc import Callable, Sequence

from dfs.ha.messages import JournalRecord
from dfs.ha.rows import START, MemberRow, Position, VoterRow


def make_record(head: Position, epoch: int, requests: Sequence[str]) -> JournalRecord:
    """A batch: the ids of the requests that it answers."""
    changes = ",".join(requests).encode()
    text = b"%s %d %d %s" % (head.hash, epoch, head.txid + 1, changes)
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return JournalRecord(head.txid + 1, epoch, head.hash, digest, 0, changes)


def requests_of(record: JournalRecord) -> list[str]:
    return record.changes.decode().split(",") if record.changes else []


class Journal:
    """The journal and the tables it makes, which here are the requests that were done."""

    def __init__(self, records: Sequence[JournalRecord] = ()) -> None:
        self.records = list(records)
        self.done: dict[str, int] = {}
        self.twice: list[str] = []
        for record in self.records:
            self._count(record)

    @property
    def head(self) -> Position:
        return self.records[-1].position if self.records else START

    def at(self, txid: int) -> Position:
        return self.records[txid - 1].position if txid else START

    def has(self, position: Position) -> bool:
        return position.txid <= len(self.records) and self.at(position.txid) == position

    def append(self, records: Sequence[JournalRecord]) -> None:
        for record in records:
            assert record.prev_hash == self.head.hash, "a record does not follow"
            assert record.txid == self.head.txid + 1
            self.records.append(record)
            self._count(record)

    def _count(self, record: JournalRecord) -> None:
        for request in requests_of(record):
            if request in self.done:
                self.twice.append(request)
            self.done[request] = record.txid

    def cut(self, records: int) -> None:
        """What a disk does that reports more as written than it has."""
        kept = self.records[: max(0, len(self.records) - records)]
        self.__init__(kept)  # type: ignore[misc]


class Disk:
    """One machine's.  A write under way at a crash is there afterwards, or it is not."""

    def __init__(self) -> None:
        self.voter: VoterRow | None = None
        self.member: MemberRow | None = None
        self.journal = Journal()
        self.aside: list[Journal] = []
        self.snapshots: dict[str, list[JournalRecord]] = {}
        self.under_way: Callable[[], None] | None = None

    def land(self) -> None:
        """The write that is under way reaches the platter."""
        write, self.under_way = self.under_way, None
        if write:
            write()
