"""The REST shapes of scrubbing: how far each DataNode is, what it found, and the canaries' fate."""

import msgspec

from dfs.base.records import Refusal, ScrubStatus
from dfs.base.states import NodeState
from dfs.wire.shapes import Reply, Request


class ScrubStartRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Verify everything held by those nodes (none: by all) now.

    `run` orders a pass that was given out before once more, of nodes that have not heard of it; 0
    makes a new one.
    """

    nodes: list[str] = []
    run: int = 0


class ScrubPauseRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let those nodes (none: all) rest; without a time, for the longest there is."""

    nodes: list[str] = []
    for_s: float | None = None


class ScrubResumeRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let those nodes (none: all) go on."""

    nodes: list[str] = []


class ScrubOrdered(Reply, frozen=True, kw_only=True):
    """Who was ordered, and who was not and why.

    `run` numbers a pass that was started, `until_ms` ends a pause.
    """

    nodes: list[int]
    refused: list[Refusal] = []
    run: int = 0
    until_ms: int = 0


class ScrubNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node's scrubber, as its last beat told.

    `bad` and `aside` are copies on it that are known to be bad, those of canaries left out: `aside`
    those of blocks that have all their good copies elsewhere again, `bad` the others.
    """

    node: int
    state: NodeState
    silent_s: float
    scrub: ScrubStatus
    bad: int
    aside: int = 0
    doubtful: bool


class BadBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the blocks that have a bad copy; canaries are not among them."""

    bad: int = 0  # blocks with a copy that is known to be bad
    healed: int = 0  # of those, with all their good copies again
    healing: int = 0  # with too few good copies, but one to heal from
    lost: int = 0  # without a good copy


class CanaryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The canary of one node: a copy spoiled on purpose, which scrub must find and repair heal.

    Times are those of the present round, 0 for what has not happened; `round_ms` is how long the
    last whole round took, from spoiled to healed.
    """

    node: int
    state: str  # see dfs.upkeep.canary_states
    path: str = ""
    why: str = ""  # what it waits for
    first_ms: int = 0  # when the node was first seen: its first round is due soon after
    armed_ms: int = 0
    found_ms: int = 0
    healed_ms: int = 0
    last_healed_ms: int = 0  # of the last round that came to its end
    round_ms: int = 0
    rounds: int = 0  # brought to their end
    late: bool = False


class ScrubReply(Reply, frozen=True, kw_only=True):
    """Every node's scrubber, the newest pass ordered, and what was found."""

    now_ms: int
    slo_s: float
    run: int
    nodes: list[ScrubNode]
    blocks: BadBlocks
    canaries: list[CanaryStatus] = []
