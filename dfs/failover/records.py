"""A record of the journal as `dfs.meta` keeps it, and as `dfs.ha` sends it; the same thing.

Neither may know the other: the core of failover is pure, and the database serves a NameNode alone.
"""

from dfs.base.ids import Epoch, TxId
from dfs.ha.messages import JournalRecord
from dfs.meta.journal import Record


def to_sent(record: Record) -> JournalRecord:
    """A record as it is sent."""
    return JournalRecord(
        record.txid, record.epoch, record.prev_hash, record.hash, record.at_ms, record.changes
    )


def to_kept(sent: JournalRecord) -> Record:
    """A record as it is put down."""
    return Record(
        TxId(sent.txid), Epoch(sent.epoch), sent.prev_hash, sent.hash, sent.at_ms, sent.changes
    )
