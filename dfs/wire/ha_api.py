"""Pure: what NameNodes, voters and operators tell each other about failover outside of letters."""

import msgspec

from dfs.wire.shapes import Reply, Request


class Correspondents(msgspec.Struct, frozen=True):
    """Who writes letters of failover to whom in this cluster, and under which seal.

    The leader tells it to every daemon that hosts a member or a voter, which keeps it on its disk:
    after a power cut letters come before any leader does.

    Attributes:
        version: which of two is newer; above 0.
        secret: what the seal on letters is made with.
        urls: where the daemon of each member and each voter takes letters in, by its name.
        machines: which of them share a machine, by their names.
        times_s: the times of failover by name, alike on all of them.
    """

    version: int
    secret: bytes
    urls: dict[str, str]
    machines: dict[str, str]
    times_s: dict[str, float]


class JoinMemberRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A NameNode's first word to the cluster that it is to stand by for.

    Attributes:
        token: as DataNodes join with.
        uuid: of its data folder; the same one asking again gets the same name.
        url: its base URL, for letters and clients.
        machine: where it runs; two daemons of one machine die together.
        voter: the uuid of the voter in its process.
        times_s: its times of failover; they have to be those of the cluster.
    """

    token: str
    uuid: str
    url: str
    machine: str
    voter: str
    times_s: dict[str, float]


class JoinMemberReply(Reply, frozen=True, kw_only=True):
    """Its name, and whom it writes to; said once."""

    name: str
    cluster: str
    leader: str
    correspondents: Correspondents


class MemberLine(msgspec.Struct, frozen=True):
    """A NameNode as the one that was asked sees it.

    Attributes:
        role: leader, standby, candidate or unknown.
        lag_records: below 0 where nobody knows.
        silent_s: since it was heard; below 0 where it was not.
        mistrusted: why it is not handed the lead, where its tables differ.
    """

    name: str
    url: str
    machine: str
    role: str
    in_sync: bool
    lag_records: int
    silent_s: float
    mistrusted: str = ""


class VoterLine(msgspec.Struct, frozen=True):
    """A voter as the leader hears it; `answers` while it was heard lately enough to count."""

    voter: str
    daemon: str
    machine: str
    silent_s: float
    answers: bool = False


class OutlookLine(msgspec.Struct, frozen=True):
    """What becomes of the service when that machine dies now."""

    machine: str
    verdict: str
    reason: str


class HaStatus(Reply, frozen=True, kw_only=True):
    """How failover stands, as the NameNode that was asked sees it.

    Attributes:
        mode: single, manual (two machines) or automatic.
        why: why it is that mode.
        lease_left_s: below 0 without one, or where no voters are needed.
        why_not_serving: empty when it serves.
        last_notes: what happened lately, newest last.
    """

    name: str
    role: str
    leader: str
    leader_url: str
    epoch: int
    txid: int
    mode: str
    why: str
    lossy: bool
    preferred: str
    lease_left_s: float
    why_not_serving: str
    members: list[MemberLine]
    voters: list[VoterLine]
    outlook: list[OutlookLine]
    last_notes: list[str]
    refused_letters: int
    digests: str


class HaOrderRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that an operator wants of the NameNode that is asked.

    Attributes:
        order: switchover, promote, force-lead, replace-voter, remove, acknowledge-loss, verify.
        member: whom it is about; for replace-voter the old voter.
        fresh: for replace-voter the new one.
        records: what the operator typed: the last contact (promote), the gap (force-lead).
    """

    order: str
    member: str = ""
    fresh: str = ""
    records: int = -1


class HaOrderReply(Reply, frozen=True, kw_only=True):
    """Whether it was done, and what happened meanwhile."""

    done: bool
    said: list[str]
