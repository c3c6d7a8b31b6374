"""Pure: the roll of a cluster: which NameNodes and voters there are, and what they share."""

from collections.abc import Mapping
from typing import Final

import msgspec

from dfs.ha.rows import VoterSet
from dfs.wire.ha_api import Correspondents
from dfs.wire.leading import base_urls

# Every daemon is told of each, and has a queue of letters for it (`post_office.DAEMONS_MAX`).
MEMBERS_MAX: Final = 16
MACHINE_CHARACTERS_MAX: Final = 255
NODES_MAX: Final = 32  # a cluster has five voters at most unless somebody adds more by hand

_PREFIX: Final = "nn-"


class MemberRecord(msgspec.Struct, frozen=True):
    """A NameNode: the uuid of its data folder, its base URL, its machine, the voter in it."""

    uuid: str
    url: str
    machine: str
    voter: str


class VoterRecord(msgspec.Struct, frozen=True):
    """Where a voter is: the daemon that hosts it, that one's base URL, its machine."""

    daemon: str
    url: str
    machine: str


class Roll(msgspec.Struct, frozen=True):
    """All of them, by name and by uuid, as of one snapshot."""

    version: int = 0
    secret: bytes = b""
    members: dict[str, MemberRecord] = {}
    voters: dict[str, VoterRecord] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs of all NameNodes, in the order of their names."""
        return tuple(self.members[name].url for name in sorted(self.members, key=_by_number))

    @property
    def machines(self) -> dict[str, str]:
        """Where each member and each voter runs."""
        found = {voter: record.machine for voter, record in self.voters.items()}
        return found | {name: record.machine for name, record in self.members.items()}

    def correspondents(self, times_s: Mapping[str, float]) -> Correspondents:
        """As it is told to every daemon."""
        urls = {voter: record.url for voter, record in self.voters.items()}
        urls |= {name: record.url for name, record in self.members.items()}
        return Correspondents(self.version, self.secret, urls, self.machines, dict(times_s))

    def name_of(self, uuid: str) -> str:
        """The member of that data folder; empty when there is none."""
        return next((name for name, each in self.members.items() if each.uuid == uuid), "")


def member_name(number: int) -> str:
    """`nn-1` is the first NameNode of a cluster."""
    return f"{_PREFIX}{number}"


def is_member_name(name: str) -> bool:
    """Whether a correspondent of that name is a member; a voter's is its uuid, which is hex."""
    return name.startswith(_PREFIX)


def can_be_written_to(url: str, machine: str) -> bool:
    """Whether that is an address, on a machine, that every daemon can be told of."""
    return bool(base_urls((url,))) and len(machine) <= MACHINE_CHARACTERS_MAX


def voters_to_keep(
    roll: Roll, voters: VoterSet, alive: Mapping[str, VoterRecord]
) -> dict[str, VoterRecord]:
    """Which voters of live DataNodes are, or should be, on the roll: not all where there are many.

    First who votes, then who is on it already, then one of each machine that has none yet.
    """
    fit = (v for v, record in alive.items() if can_be_written_to(record.url, record.machine))
    kept = sorted(fit, key=lambda v: (v not in voters.voters, v not in roll.voters, v))
    known = [v for v in kept if v in voters.voters or v in roll.voters]
    covered = {record.machine for record in roll.members.values()}
    covered |= {alive[v].machine for v in known}
    first: list[str] = []
    for voter in kept[len(known) :]:
        if alive[voter].machine not in covered:
            covered.add(alive[voter].machine)
            first.append(voter)
    rest = [v for v in kept[len(known) :] if v not in first]
    return {v: alive[v] for v in [*known, *first, *rest][:NODES_MAX]}


def voters_to_forget(roll: Roll, voters: VoterSet, kept: set[str]) -> set[str]:
    """Those in no member, of no DataNode that is to be kept, and without a vote."""
    of_members = {record.voter for record in roll.members.values()}
    return set(roll.voters) - of_members - kept - set(voters.voters)


def _by_number(name: str) -> tuple[int, str]:
    number = name.rpartition("-")[2]
    return (int(number) if number.isdigit() else 0, name)
