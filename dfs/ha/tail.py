"""Pure: taking over another's journal, by records or by a snapshot.

    T1  records go onto the position they follow, nowhere else
    T2  what is on the disk is acknowledged as one position: the hash of the whole journal up to it
    T3  a snapshot replaces what an older epoch left; it never takes away records of the epoch that
        offers it.  This is judged when it is about to be installed, not when it was offered.

The caller has checked, and promised, the epoch.
"""

from dfs.ha.effects import ApplyRecords, FetchSnapshot, InstallSnapshot, NoteKind
from dfs.ha.ground import Ground, Job
from dfs.ha.messages import Ack, Append, JournalRecord, SnapshotLost, SnapshotOffer
from dfs.ha.rows import START


class Tail:
    """See the module.

    Args:
        epoch: whose word this is.
    """

    def __init__(self, ground: Ground, *, epoch: int) -> None:
        self._ground = ground
        self.epoch = epoch
        self._source = ""

    def on_append(self, source: str, append: Append) -> None:
        """Put down what is new in it, or say where we are."""
        ground = self._ground
        self._source = source
        if ground.job is not None:
            ground.waiting = (source, append)
            return
        fresh = self._fresh(append)
        if fresh:
            ground.job = Job.APPLY
            ground.act(ApplyRecords(fresh))
        else:
            self.acknowledge(source)

    def _fresh(self, append: Append) -> tuple[JournalRecord, ...]:
        """The records that follow our last one (T1)."""
        head = self._ground.head
        if append.prev == head:
            return append.records
        for index, record in enumerate(append.records):
            if record.position == head:
                return append.records[index + 1 :]
        return ()

    def acknowledge(self, source: str) -> None:
        """Say where our journal ends (T2)."""
        ground = self._ground
        busy = ground.job is not None or ground.download is not None
        # While a snapshot takes its place, nobody knows which journal a crash would leave.
        head = START if ground.job is Job.INSTALL else ground.head
        ground.send(source, Ack(self.epoch, head, busy=busy))

    def on_disk_done(self) -> None:
        """What was under way is on the disk, or was given up."""
        ground = self._ground
        waiting, ground.waiting = ground.waiting, None
        if waiting and waiting[1].epoch == self.epoch:
            self.on_append(*waiting)
        elif self._source:
            self.acknowledge(self._source)

    def on_offer(self, source: str, offer: SnapshotOffer) -> None:
        """Fetch it, unless we have what is in it, or are fetching."""
        ground = self._ground
        self._source = source
        if self._why_not_install(offer):
            self.acknowledge(source)
        elif ground.download is None or ground.download[0].epoch < self.epoch:
            ground.download = (offer, source)
            ground.act(FetchSnapshot(offer, source))

    def on_fetched(self, name: str, *, sound: bool) -> None:
        """Install it if that is still right."""
        ground = self._ground
        if ground.download is None or ground.download[0].name != name:
            return
        offer, source = ground.download
        ground.download = None
        if offer.epoch != self.epoch:
            return
        if not sound:
            ground.send(source, SnapshotLost(offer.epoch, name))
        elif ground.job is not None or self._why_not_install(offer):
            self.acknowledge(source)
        else:
            ground.job = Job.INSTALL
            aside = ground.head.txid > 0
            ground.act(InstallSnapshot(name, offer.position, aside))
            text = f"ours of {ground.head.txid} is replaced by {source}'s of {offer.position.txid}"
            ground.note(NoteKind.SNAPSHOT_NEEDED, text)

    def _why_not_install(self, offer: SnapshotOffer) -> str:
        """Why a snapshot would take something away, or bring nothing (T3)."""
        head = self._ground.head
        if offer.epoch != self.epoch:
            return "it was offered in another epoch"
        if offer.position == head:
            return "it is what we have"
        if self._would_truncate(offer):
            return f"record {head.txid} of this epoch would be lost"
        return ""

    def _would_truncate(self, offer: SnapshotOffer) -> bool:
        head = self._ground.head
        return head.epoch == offer.epoch and head.txid >= offer.position.txid
