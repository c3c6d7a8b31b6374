"""Pure: what goes into a core beside letters, and what comes out of it.

A step answers with one batch.  The order in which the shell performs it is the contract:

    1 the row is on the disk (written beside, fsynced, renamed, the folder fsynced)
    2 actions, one by one as listed; disk work is only begun
    3 letters go out; each may be lost

A crash between two of these is what a lost letter is, or a row that binds without anybody knowing.
"""

import enum

import msgspec

from dfs.ha.digests import Finding
from dfs.ha.messages import JournalRecord, Letter, SnapshotOffer
from dfs.ha.rows import MemberRow, Position, VoterRow

# In: the time, and what happened here.


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class Propose(msgspec.Struct, frozen=True):
    """The writer has run a batch and stands before COMMIT."""

    record: JournalRecord


class Committed(msgspec.Struct, frozen=True):
    """COMMIT returned for the record that `CommitRecord` named."""

    position: Position


class CommitFailed(msgspec.Struct, frozen=True):
    """COMMIT did not; what is on the disk is unknown, unless it was `rolled_back` for sure."""

    reason: str
    rolled_back: bool = False


class Applied(msgspec.Struct, frozen=True):
    """`ApplyRecords` or `InstallSnapshot` is done: the journal on the disk ends here."""

    head: Position


class ApplyFailed(msgspec.Struct, frozen=True):
    """It was not done, and the journal ends where it did; `snapshot` when that was unusable."""

    reason: str
    snapshot: str = ""


class StreamEnded(msgspec.Struct, frozen=True):
    """`StreamRecords` sent what it had; `found` is False when the journal has no such position."""

    to: str
    epoch: int
    found: bool


class SnapshotMade(msgspec.Struct, frozen=True):
    """`MakeSnapshot` is done."""

    to: str
    epoch: int
    position: Position
    name: str


class SnapshotFetched(msgspec.Struct, frozen=True):
    """`FetchSnapshot` is done: it is here, whole and proven; or it is not."""

    name: str
    sound: bool


class EpochSeen(msgspec.Struct, frozen=True):
    """Somebody who is to be believed (a DataNode, in its beat) has seen this epoch."""

    epoch: int


class ReadBarrier(msgspec.Struct, frozen=True):
    """A strict read waits under this number until voters confirm that we lead."""

    number: int


class DigestsCompared(msgspec.Struct, frozen=True):
    """A standby's tables were held against ours."""

    member: str
    finding: Finding


class Fitness(msgspec.Struct, frozen=True):
    """What hinders this NameNode from leading well (a full disk, say); empty: nothing.

    Said again while it lasts: there may be nobody to take the lead yet.
    """

    hindrance: str


class Switchover(msgspec.Struct, frozen=True):
    """The operator wants that member to lead."""

    to: str


class ForceLead(msgspec.Struct, frozen=True):
    """The operator wants this member to lead although records may be lost.

    Attributes:
        gap: how many, as the operator typed it.
    """

    gap: int


class Promote(msgspec.Struct, frozen=True):
    """The operator gives his word that so many machines are dead that voters elect nobody again:
    the other one of two, or a majority of more, and the leader among them.

    Attributes:
        voter: the voter of this machine; it becomes the only one.
        txid: the last contact, as the operator typed it.
    """

    voter: str
    txid: int


class ReplaceVoter(msgspec.Struct, frozen=True):
    """The operator wants `fresh` to vote in place of `old`; empty: nobody leaves, or comes."""

    old: str
    fresh: str


class RemoveMember(msgspec.Struct, frozen=True):
    """The operator takes a standby away for good."""

    member: str


class AcknowledgeLoss(msgspec.Struct, frozen=True):
    """The operator has seen that the cluster is lossy, and wants the flag gone."""


Command = Switchover | ForceLead | Promote | ReplaceVoter | RemoveMember | AcknowledgeLoss | Fitness
Event = (
    Tick
    | Propose
    | Committed
    | CommitFailed
    | Applied
    | ApplyFailed
    | StreamEnded
    | SnapshotMade
    | SnapshotFetched
    | EpochSeen
    | ReadBarrier
    | DigestsCompared
)
Input = Letter | Event | Command


# Out.


class BecomeLeader(msgspec.Struct, frozen=True):
    """Serve clients in this epoch; its first record says who leads."""

    epoch: int


class StandDown(msgspec.Struct, frozen=True):
    """Serve clients no more; those that wait are told to ask the leader again.

    Attributes:
        leader: where it is, if known.
    """

    epoch: int
    leader: str
    reason: str


class CommitRecord(msgspec.Struct, frozen=True):
    """COMMIT the proposed record: it is decided.  Answer `Committed` or `CommitFailed`."""

    position: Position


class AbandonRecord(msgspec.Struct, frozen=True):
    """ROLLBACK the proposed record; its clients do not know what became of it."""

    txid: int
    reason: str


class Acknowledge(msgspec.Struct, frozen=True):
    """Clients of every record up to this one get their answers."""

    txid: int


class ConfirmReads(msgspec.Struct, frozen=True):
    """Strict reads up to this number were read from the leader."""

    number: int


class ApplyRecords(msgspec.Struct, frozen=True):
    """Put them down in one durable transaction, then say `Applied`."""

    records: tuple[JournalRecord, ...]


class StreamRecords(msgspec.Struct, frozen=True):
    """Send `Append`s of this epoch with what follows `after`, if the journal has that position."""

    to: str
    epoch: int
    after: Position


class MakeSnapshot(msgspec.Struct, frozen=True):
    """Copy the database for that member, then say `SnapshotMade`."""

    to: str
    epoch: int


class FetchSnapshot(msgspec.Struct, frozen=True):
    """Get it beside our own database, prove it, then say `SnapshotFetched`."""

    offer: SnapshotOffer
    source: str


class InstallSnapshot(msgspec.Struct, frozen=True):
    """Set our database aside, put the fetched one in its place, then say `Applied`."""

    name: str
    position: Position
    aside: bool


class Exit(msgspec.Struct, frozen=True):
    """End the process: nobody knows what the disk has."""

    reason: str


class NoteKind(enum.StrEnum):
    """What operators are told; names of events."""

    ELECTED = "ha.elected"
    STOOD_DOWN = "ha.stood_down"
    CANVASSING = "ha.canvassing"
    NO_ELIGIBLE_LEADER = "ha.no_eligible_leader"
    LOCAL_LOG_REGRESSED = "ha.local_log_regressed"
    STANDBY_JOINED = "ha.standby_joined"
    STANDBY_DROPPED = "ha.standby_dropped"
    SNAPSHOT_NEEDED = "ha.snapshot_needed"
    VOTERS_CHANGED = "ha.voters_changed"
    HANDOVER = "ha.handover"
    FORCED = "ha.forced"
    REFUSED = "ha.refused"


class Note(msgspec.Struct, frozen=True):
    """For logs, events and the operator who gave a command."""

    kind: NoteKind
    text: str


Action = (
    BecomeLeader
    | StandDown
    | CommitRecord
    | AbandonRecord
    | Acknowledge
    | ConfirmReads
    | ApplyRecords
    | StreamRecords
    | MakeSnapshot
    | FetchSnapshot
    | InstallSnapshot
    | Exit
    | Note
)


class Effects(msgspec.Struct):
    """One batch; see the module for its order."""

    row: MemberRow | VoterRow | None
    actions: list[Action]
    letters: list[Letter]
