"""The REST shapes of compaction: gathering small files into packs, rewriting packs with holes."""

import msgspec

from dfs.wire.shapes import Reply


class LeftBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A block that was not rewritten though it was worth it, and why."""

    block: int
    why: str


class CompactReply(Reply, frozen=True, kw_only=True):
    """How full packs are, what compaction is about, and what it did.

    `state`: running (a round), resting (until the next), stopped (until it is started), off (by
    configuration: a round is made when somebody starts one).  `round_*` are of the round that
    runs, or of the last since the NameNode's start; the rest of what was done counts since the
    cluster was made.
    """

    state: str
    why: str = ""  # what a running one waits for; how the last round ended, where it ended badly
    by: str = ""  # who stopped it, or asked for the round
    enabled: bool
    dead_percent: float
    small_file_bytes_max: int
    pack_bytes: int
    bandwidth_bytes: int
    began_ms: int = 0  # the last round
    ended_ms: int = 0
    next_ms: int = 0  # 0: none is due by itself

    # Of the last look at all blocks; none yet since the NameNode's start when `looked_ms` is 0.
    looked_ms: int = 0
    packs: int = 0  # blocks that several files share
    packed_files: int = 0  # stretches in those
    pack_total_bytes: int = 0  # of one copy each, as all that follow
    hole_bytes: int = 0  # in no use, in blocks that files have stretches of
    win_bytes: int = 0  # of that, in blocks worth rewriting
    holed_blocks: int = 0  # those
    small_blocks: int = 0  # worth gathering
    small_bytes: int = 0

    round_share: float = 0.0  # of the blocks, looked at; 1 when all were
    round_packs: int = 0  # planned so far
    round_packs_done: int = 0
    round_bytes: int = 0
    round_bytes_done: int = 0
    rate_bytes_per_s: float = 0.0
    eta_s: float = 0.0  # of what is planned; 0 when it cannot be told

    packs_written: int = 0
    blocks_emptied: int = 0
    extents_moved: int = 0
    moved_bytes: int = 0
    won_bytes: int = 0  # less is stored of one copy of everything
    failed: int = 0
    left_blocks: list[LeftBlock] = []  # lately
