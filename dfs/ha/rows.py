"""Pure: what voters and members keep on their disks, and the values these rows are made of.

A *member* is a NameNode that may lead or follow.  A *voter* is a small service that remembers whom
it promised an epoch and which members the leader waits for; there is one on each machine, beside a
NameNode or a DataNode.
"""

from collections.abc import Iterable, Set

import msgspec

GENESIS = bytes(16)
FORCED_LEAP = 1_000  # so far a lead taken by force leaps ahead of epochs that others may have used


class Position(msgspec.Struct, frozen=True):
    """A place in the journal.  The hash covers all before: equal positions, equal journals."""

    txid: int
    epoch: int
    hash: bytes


START = Position(0, 0, GENESIS)


class SyncConfig(msgspec.Struct, frozen=True):
    """Who leads, and the members that have every acknowledged record (the *sync set*).

    Attributes:
        epoch, seq: which of two is newer; inside an epoch only its leader makes new ones.
        sync: their names, sorted.
        lineage: the epoch of the last lead that was taken by force; 0 when none ever was.
        lossy: acknowledged records may have been lost then, and nobody has acknowledged that yet.
    """

    epoch: int
    seq: int
    leader: str
    sync: tuple[str, ...]
    lineage: int = 0
    lossy: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """Which of two is newer."""
        return self.epoch, self.seq


class VoterSet(msgspec.Struct, frozen=True):
    """The voters, by the uuid of each one's disk.  One set differs from the next by one."""

    epoch: int
    number: int
    voters: tuple[str, ...]

    @property
    def version(self) -> tuple[int, int]:
        """Which of two is newer."""
        return self.epoch, self.number

    def carried_by(self, who: Set[str]) -> bool:
        """Whether they are a majority.  Without voters (one NameNode alone) nobody is needed."""
        return 2 * sum(voter in who for voter in self.voters) >= len(self.voters) + bool(
            self.voters
        )


NO_CONFIG = SyncConfig(0, 0, "", ())
NO_VOTERS = VoterSet(0, 0, ())


class Hint(msgspec.Struct, frozen=True, order=True):
    """How far a leader had committed, as a voter heard.  Lineages do not compare."""

    lineage: int = 0
    txid: int = 0


class VoterRow(msgspec.Struct, frozen=True):
    """All that a voter knows for good: one row, on the disk before any answer that rests on it.

    Attributes:
        voter: made with the row, so that a disk that was lost is another voter.
        cluster: whose it is; another cluster's letters are not read.
        promised, promised_to: it takes no word of a lower epoch, of this one only its.
        accepted: the newest sync set it was told.
    """

    voter: str
    cluster: str
    voters: VoterSet = NO_VOTERS
    promised: int = 0
    promised_to: str = ""
    accepted: SyncConfig = NO_CONFIG
    hint: Hint = Hint()


class MemberRow(msgspec.Struct, frozen=True):
    """What a NameNode knows beside its database: in a file of its own, as snapshots replace that.

    Attributes:
        promised: it takes no record, beat or fetch of a lower epoch.
        config: the newest sync set it heard of; to tell people, never to decide on.
    """

    member: str
    cluster: str
    promised: int
    voters: VoterSet = NO_VOTERS
    config: SyncConfig = NO_CONFIG

    @property
    def is_alone(self) -> bool:
        """A NameNode alone, which leads and asks nobody; one that joins is in no sync set yet."""
        return not self.voters.voters and self.member in self.config.sync


def config_of(leader: str, epoch: int, sync: Iterable[str]) -> SyncConfig:
    """The first of an epoch."""
    return SyncConfig(epoch, 0, leader, tuple(sorted(sync)))


def first_rows(
    *, cluster: str, member: str, voters: tuple[str, ...], epoch: int = 1
) -> tuple[MemberRow, tuple[VoterRow, ...]]:
    """What a new cluster starts with: one member, which has all of its empty journal."""
    config = config_of(member, epoch, (member,))
    both = VoterSet(epoch, 0, voters)
    rows = tuple(VoterRow(voter, cluster, both, epoch, member, config) for voter in voters)
    return MemberRow(member, cluster, epoch, both, config), rows


def joining_row(*, cluster: str, member: str) -> MemberRow:
    """What a NameNode starts with that joins a cluster: it learns the rest from the leader."""
    return MemberRow(member, cluster, 0)
