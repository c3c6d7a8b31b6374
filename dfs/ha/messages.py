"""Pure: what members and voters say to each other, as structs that go onto the wire.

Letters may be lost, doubled, late and out of order, and the sender may have died since: every
one says which epoch it speaks for, and none is believed below an epoch that was promised.
"""

import msgspec

from dfs.ha.rows import Hint, Position, SyncConfig, VoterSet

Version = tuple[int, int]


class JournalRecord(msgspec.Struct, frozen=True):
    """A record of the journal, as `dfs.meta.journal` writes it."""

    txid: int
    epoch: int
    prev_hash: bytes
    hash: bytes
    at_ms: int
    changes: bytes

    @property
    def position(self) -> Position:
        """Where the journal stands with it."""
        return Position(self.txid, self.epoch, self.hash)


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


# To voters.


class VoterBeat(_Message, frozen=True):
    """A leader is there.

    Attributes:
        beat: counts up; a voter ignores one that was overtaken.
        version: the sender's voter set.
        durable: the hint has to be on the voter's disk before it answers.
        permit_to: the leader wants this member elected, now; empty takes an earlier one back.
        run: the voter's run that the permit is for: one that was begun since does not know which
            beats it was overtaken by.
    """

    epoch: int
    beat: int
    version: Version
    hint: Hint
    durable: bool = False
    permit_to: str = ""
    run: str = ""


class Canvass(_Message, frozen=True):
    """Would you promise me an epoch?  Changes nothing."""

    version: Version


class Prepare(_Message, frozen=True):
    """Promise me this epoch."""

    epoch: int
    version: Version


class Accept(_Message, frozen=True):
    """Write this sync set down, and these as the voters."""

    config: SyncConfig
    voters: VoterSet
    hint: Hint


# From voters.


class VoterBeatOk(_Message, frozen=True):
    """The beat was heard (and its hint kept, if that was asked), in this run of the voter."""

    epoch: int
    beat: int
    run: str


class VoteView(_Message, frozen=True):
    """The answer to a canvass; `refusal` is empty when it would promise."""

    promised: int
    accepted: SyncConfig
    hint: Hint
    refusal: str = ""


class Promise(_Message, frozen=True):
    """The epoch is promised; this is the newest that was written down before."""

    epoch: int
    accepted: SyncConfig
    hint: Hint


class Accepted(_Message, frozen=True):
    """It is on the disk: this sync set or a newer one of its leader, and these voters."""

    epoch: int
    seq: int
    version: Version


class Denied(_Message, frozen=True):
    """No, and why; `promised` is the epoch that the refuser holds to."""

    epoch: int
    promised: int
    reason: str


class OtherVoters(_Message, frozen=True):
    """The asker's voter set is of yesterday; this is today's."""

    voters: VoterSet


# Between members.


class Beat(_Message, frozen=True):
    """The leader's to its followers: where its journal stands, who is in sync, who votes."""

    epoch: int
    head: Position
    config: SyncConfig
    voters: VoterSet


class Append(_Message, frozen=True):
    """Records that follow `prev`.  `goal` is where the sender's committed journal ends."""

    epoch: int
    prev: Position
    records: tuple[JournalRecord, ...]
    goal: Position


class Ack(_Message, frozen=True):
    """All up to `head` is on this member's disk.  `busy` says that more is on its way there."""

    epoch: int
    head: Position
    busy: bool = False


class SnapshotOffer(_Message, frozen=True):
    """A copy of the database as of `position` can be had under this name."""

    epoch: int
    position: Position
    name: str


class SnapshotLost(_Message, frozen=True):
    """The copy of that name could not be had, or was damaged: make another."""

    epoch: int
    name: str


class Fetch(_Message, frozen=True):
    """A candidate's to a member of the sync set: promise me the epoch, give me what I lack."""

    epoch: int
    head: Position


class TakeOver(_Message, frozen=True):
    """The leader's to the member it hands the lead to: voters know, ask them now."""

    epoch: int
    head: Position


class Knock(_Message, frozen=True):
    """A member that hears no leader asks the others who leads."""

    promised: int
    head: Position


Body = (
    VoterBeat
    | Canvass
    | Prepare
    | Accept
    | VoterBeatOk
    | VoteView
    | Promise
    | Accepted
    | Denied
    | OtherVoters
    | Beat
    | Append
    | Ack
    | SnapshotOffer
    | SnapshotLost
    | Fetch
    | TakeOver
    | Knock
)


class Letter(msgspec.Struct, frozen=True):
    """A message with whose cluster it belongs to, who sent it and whom it is for.

    Before the core sees it the shell has made sure that a machine of the cluster sent it, not which
    (`dfs.failover.envelope`).  `sender` is believed: members and voters fail by stopping.
    """

    cluster: str
    sender: str
    to: str
    body: Body
