"""The REST shapes of repair: how far it is, what holds it back, and the history of blocks."""

import msgspec

from dfs.wire.shapes import Reply, Request


class WaitingBlocks(msgspec.Struct, frozen=True):
    """So many blocks wait for one reason."""

    reason: str
    blocks: int


class RepairClassInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One class of repair; the figures are of the last survey.

    Attributes:
        owed_bytes: to be copied until every block of the class has its copies.
        rate_limit_bytes: a second; 0 is no limit.
        eta_s: at the rate of the last minute; negative when it cannot be said.
    """

    name: str
    blocks: int
    size_bytes: int
    owed_bytes: int
    in_flight: int
    rate_bytes_per_s: float
    rate_limit_bytes: int
    eta_s: float
    waiting: list[WaitingBlocks] = []


class RepairReply(Reply, frozen=True, kw_only=True):
    """How well blocks are kept, and what is done about it.

    Attributes:
        survey: number of the last survey; 0 before the first.
        whole: blocks that have all they should.
        retiring: copies whose deletion is ordered and not yet acknowledged.
        held: why nothing is begun at all now; "" when it is.
        no_deletes: why no copy is retired now; "" when they are.
        copies, copied_bytes, failed: since the NameNode started.
    """

    survey: int
    survey_at_ms: int
    survey_took_s: float
    blocks: int
    size_bytes: int
    whole: int
    by_health: dict[str, int]
    classes: list[RepairClassInfo]
    excess: int
    retiring: int
    leaving: dict[str, int]  # of each node being decommissioned, blocks that still need it
    held: str
    no_deletes: str
    paused_until_ms: int
    eta_s: float
    copies: int
    copied_bytes: int
    failed: int


class RepairPauseRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Begin no copy and retire none for so long."""

    for_s: float = 3600.0


class RepairPauseReply(Reply, frozen=True, kw_only=True):
    """Until when."""

    until_ms: int


class RepairBudgetRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let a class move so many bytes a second from now on; 0 is no limit.

    Without a class nothing changes: the answer says what holds.
    """

    name: str = ""
    rate_bytes: int = 0


class RepairBudgetReply(Reply, frozen=True, kw_only=True):
    """Bytes a second of each class; 0 is no limit."""

    rates: dict[str, int]


class RestoreRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bring a node's copy of a block back from its purge area."""

    block: int
    node: str


class CopiesOf(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file's blocks are from having exactly the copies they should.

    Attributes:
        short: blocks with fewer good copies than wanted.
        extra: blocks with more, or with one whose deletion is ordered.
        owed_bytes: to be copied for those that are short.
        reason: of the first block that is not as it should be.
    """

    blocks: int
    short: int
    extra: int
    size_bytes: int
    owed_bytes: int
    reason: str = ""


class HistoryRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The history of one block, or of a page of a file's blocks."""

    path: str = ""
    block: int = 0
    first_block: int = 0
    limit: int = 100


class HappenedItem(msgspec.Struct, frozen=True):
    """Something that happened to a block; node 0 is of none in particular."""

    at_ms: int
    what: str
    node: int
    actor: str
    detail: str


class KnownCopy(msgspec.Struct, frozen=True):
    """A copy that is known now."""

    node: int
    state: str
    verified_ms: int


class BlockStory(msgspec.Struct, frozen=True, kw_only=True):
    """A block: how it began, what happened, and what is known of its copies now.

    Attributes:
        path: the first of `paths`; empty when there is none.
        paths: of some of the files it is in; of removed ones when none of these lives.
        paths_total: how many files it is in, removed ones too; 10,001 for more than 10,000.
        removed: whether `paths` are of files that were removed.
        state: "gone" when only its history is left.
        acked: the nodes that had it, fsynced, when its file was completed.
    """

    block: int
    generation: int
    number: int
    path: str
    state: str
    length_bytes: int
    wanted: int
    created_ms: int
    acked: list[int]
    events: list[HappenedItem]
    copies: list[KnownCopy]
    paths: list[str] = []
    paths_total: int = 0
    removed: bool = False


class HistoryReply(Reply, frozen=True, kw_only=True):
    """`next` is the first block of the next page; -1 when there is none."""

    stories: list[BlockStory]
    next: int = -1
