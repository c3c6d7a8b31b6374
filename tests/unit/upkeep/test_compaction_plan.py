"""Plans of compaction over many made-up clusters: nothing is lost, everything ends, all is bounded.

The model is blocks of bytes and files that have stretches of them.  Performing a pack is what the
transaction does: content copied, extents pointed at it, what nothing points at gone.
"""

import dataclasses
from collections import defaultdict
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dfs.base.checksum import block_hash, file_checksum
from dfs.base.ids import BlockId, InodeId
from dfs.upkeep.compaction_layout import (
    Segment,
    Use,
    by_block,
    name_in_table,
    segments_of,
    table_of,
    what_fits,
)
from dfs.upkeep.compaction_pack import moves_of
from dfs.upkeep.compaction_plan import (
    GATHERED_MIN,
    Candidate,
    PackPlan,
    Terms,
    Why,
    plan_packs,
    why_rewrite,
)
from dfs.upkeep.compaction_round import Round
from dfs.wire.packs import PACK_FILES_MAX, decode_table, encode_table

MANY = settings(max_examples=300)
TERMS = Terms(now_ms=10**6, dead_percent=50, small_bytes_max=100, pack_bytes=1000, age_s=10)
OLD = 0


@dataclasses.dataclass(frozen=True)
class Stretch:
    """What a file has: the block, where, how much, and what it must read."""

    block: BlockId
    offset: int
    content: bytes
    whole: bool


@dataclasses.dataclass
class Model:
    """A cluster as compaction sees it."""

    content: dict[BlockId, bytes] = dataclasses.field(default_factory=dict)
    copies: dict[BlockId, int] = dataclasses.field(default_factory=dict)
    files: dict[InodeId, Stretch] = dataclasses.field(default_factory=dict)
    written_bytes: int = 0

    def add(self, lengths: list[int], copies: int, rng: Random) -> None:
        """A block of such files."""
        block = BlockId(max(self.content, default=0) + 1)
        self.content[block] = rng.randbytes(sum(lengths))
        self.copies[block] = copies
        at = 0
        for length in lengths:
            inode = InodeId(len(self.files) + 1)
            piece = self.content[block][at : at + length]
            self.files[inode] = Stretch(block, at, piece, whole=rng.random() < 0.9)
            at += length

    def share(self, inode: InodeId, rng: Random) -> None:
        """A copy of a file, or a file that has some of what another has."""
        old = self.files[inode]
        first = rng.randrange(len(old.content)) if rng.random() < 0.3 else 0
        piece = old.content[first:]
        twin = InodeId(max(self.files) + 1)
        self.files[twin] = Stretch(old.block, old.offset + first, piece, whole=not first)

    def remove(self, inode: InodeId) -> None:
        gone = self.files.pop(inode)
        self.collect(gone.block)

    def collect(self, block: BlockId) -> None:
        if all(each.block != block for each in self.files.values()):
            del self.content[block], self.copies[block]

    def uses(self, blocks: tuple[BlockId, ...]) -> list[Use]:
        return [
            Use(
                each.block,
                each.offset,
                len(each.content),
                inode,
                file_checksum([(len(each.content), block_hash(each.content))])
                if each.whole
                else b"",
                0o640,
                7,
            )
            for inode, each in self.files.items()
            if each.block in blocks
        ]

    def candidates(self) -> list[Candidate]:
        by_id: dict[BlockId, list[Stretch]] = defaultdict(list)
        for each in self.files.values():
            by_id[each.block].append(each)
        found = []
        for block, some in by_id.items():
            stretches = {(each.offset, len(each.content)) for each in some}
            found.append(
                Candidate(
                    block,
                    len(self.content[block]),
                    self.copies[block],
                    OLD,
                    sum(length for _, length in stretches),
                    len(stretches),
                    len(some),
                    all(each.whole for each in some),
                )
            )
        return found

    def perform(self, pack: PackPlan) -> None:
        """What the job does with a pack, every check of it included."""
        segments = segments_of(self.uses(pack.blocks))
        names = {
            s.named_for.inode: name_in_table(f"/f{s.named_for.inode}", s.named_for.inode)
            for s in segments
        }
        assert not what_fits(by_block(segments), names, pack_bytes=TERMS.pack_bytes)
        content = bytearray()
        for segment in segments:
            piece = self.content[segment.block][segment.offset : segment.end]
            assert not segment.checksums or segment.is_proven_by(piece)
            content += piece
        table = decode_table(
            encode_table(table_of(segments, content, names)), length_bytes=len(content)
        )
        assert [entry.length_bytes for entry in table] == [s.length_bytes for s in segments]
        new = BlockId(max(self.content) + 1)
        self.content[new], self.copies[new] = bytes(content), pack.copies
        self.written_bytes += len(content)
        moves = moves_of(segments, new)
        for inode, each in self.files.items():
            for move in moves:
                if move.block == each.block and move.offset <= each.offset < move.end:
                    offset = move.to_offset + each.offset - move.offset
                    self.files[inode] = dataclasses.replace(each, block=new, offset=offset)
        for block in pack.blocks:
            self.collect(block)
            assert block not in self.content, "a planned block is emptied"

    def check(self) -> None:
        for each in self.files.values():
            end = each.offset + len(each.content)
            assert self.content[each.block][each.offset : end] == each.content


@st.composite
def models(draw: st.DrawFn) -> Model:
    rng = Random(draw(st.integers(0, 2**32)))
    model = Model()
    for _ in range(draw(st.integers(0, 25))):
        files = rng.choice([1, 1, 1, 2, 5, 20])
        model.add([rng.randint(1, 120) for _ in range(files)], rng.choice([1, 2, 2, 2, 3]), rng)
    for inode in list(model.files):
        if rng.random() < 0.15:
            model.share(inode, rng)
    gone = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95]))
    for inode in list(model.files):
        if rng.random() < gone:
            model.remove(inode)
    return model


@MANY
@given(model=models())
def test_every_pack_is_within_bounds_worth_it_and_of_its_own_blocks(model: Model) -> None:
    known = {each.block: each for each in model.candidates()}
    plan = plan_packs(list(known.values()), TERMS)
    named = [block for pack in plan.packs for block in pack.blocks]
    assert len(named) == len(set(named))
    for pack in plan.packs:
        some = [known[block] for block in pack.blocks]
        assert {each.copies for each in some} == {pack.copies}
        assert pack.used_bytes == sum(each.used_bytes for each in some) <= TERMS.pack_bytes
        assert sum(each.stretches for each in some) <= PACK_FILES_MAX
        whys = [why_rewrite(each, TERMS) for each in some]
        assert None not in whys
        assert Why.HOLED in whys or len(some) >= GATHERED_MIN
        assert pack.reason


@MANY
@given(model=models(), order=st.randoms())
def test_a_plan_does_not_depend_on_the_order_it_hears_of_blocks(model: Model, order) -> None:
    blocks = model.candidates()
    shuffled = list(blocks)
    order.shuffle(shuffled)
    assert plan_packs(blocks, TERMS) == plan_packs(shuffled, TERMS)


@MANY
@given(model=models(), prefixes=st.lists(st.integers(0, 5), max_size=6))
def test_cut_short_after_any_pack_it_goes_on_from_what_is_there_and_ends(
    model: Model, prefixes: list[int]
) -> None:
    for prefix in prefixes:
        for pack in plan_packs(model.candidates(), TERMS).packs[:prefix]:
            model.perform(pack)
            model.check()
    blocks = len(model.content)
    for _ in range(60):
        plan = plan_packs(model.candidates(), TERMS)
        if not plan.packs:
            break
        for pack in plan.packs:
            model.perform(pack)
            model.check()
            assert len(model.content) <= blocks
            blocks = len(model.content)
    else:
        raise AssertionError("rounds do not end")
    for each in model.candidates():
        assert why_rewrite(each, TERMS) is not Why.HOLED


@MANY
@given(model=models())
def test_no_more_is_written_than_is_given_back_for_holes(model: Model) -> None:
    for each in model.candidates():
        if why_rewrite(each, TERMS) is Why.HOLED:
            assert each.used_bytes <= each.dead_bytes


def test_small_files_that_go_on_coming_are_each_rewritten_a_few_times_only() -> None:
    model, rng, written = Model(), Random(5), 0
    for _ in range(600):
        model.add([rng.randint(1, 20)], 2, rng)
        written += len(model.content[max(model.content)])
        for pack in plan_packs(model.candidates(), TERMS).packs:
            model.perform(pack)
    model.check()
    assert model.written_bytes < 4 * written
    assert len(model.content) < 600 / 5


@MANY
@given(model=models())
def test_segments_do_not_overlap_and_cover_what_is_in_use(model: Model) -> None:
    blocks = tuple(model.content)
    segments = segments_of(model.uses(blocks))
    for before, after in zip(segments, segments[1:], strict=False):
        assert (before.block, before.end) <= (after.block, after.offset) or (
            before.block < after.block
        )
    for each in model.files.values():
        end = each.offset + len(each.content)
        assert any(
            s.block == each.block and s.offset <= each.offset and end <= s.end for s in segments
        )


def a_use(offset: int, length: int, inode: int, checksum: bytes = b"") -> Use:
    return Use(BlockId(1), offset, length, InodeId(inode), checksum, 0o644, 0)


def test_a_stretch_is_proven_by_a_checksum_only_where_every_file_has_all_of_it() -> None:
    def one(*uses: Use) -> Segment:
        (segment,) = segments_of(uses)
        return segment

    assert one(a_use(0, 5, 1, b"x")).checksums == {b"x"}
    assert one(a_use(0, 5, 1, b"x"), a_use(0, 5, 2)).checksums == {b"x"}
    assert not one(a_use(0, 5, 1, b"x"), a_use(0, 5, 2, b"y")).checksums
    assert not one(a_use(0, 5, 1, b"x"), a_use(3, 5, 2, b"y")).checksums
    assert not one(a_use(0, 5, 1)).checksums


def test_a_block_whose_paths_do_not_fit_the_table_is_left_out_and_the_next_is_not() -> None:
    rows = [dataclasses.replace(a_use(n, 1, n), block=BlockId(2)) for n in range(1, 1000)]
    segments = by_block(segments_of([a_use(0, 5, 5000, b"x"), *rows]))
    names = {use.inode: f"/{'d' * 4000}/{use.inode}" for use in rows} | {InodeId(5000): "/a"}
    left = what_fits(segments, names, pack_bytes=10_000)
    assert left == {BlockId(2): "the paths of its files do not fit into a pack's table"}


def test_names_that_no_table_holds_are_replaced() -> None:
    assert name_in_table("/a/b", InodeId(3)) == "/a/b"
    for name in ("", "?", "/" + "x" * 5000):
        assert name_in_table(name, InodeId(3)) == "/.dfs/inode-3"
    assert name_in_table("/\udce4", InodeId(3)) == "/?"


def test_a_round_adds_up_what_it_sees_and_plans_when_it_is_through() -> None:
    going = Round(TERMS, began_s=0.0, upto=BlockId(10))
    shared = Candidate(BlockId(1), 100, 2, OLD, 40, 4, 4, whole=True)
    young = Candidate(BlockId(2), 100, 2, 10**6, 40, 4, 4, whole=True)
    going.take([shared, young], BlockId(5), now_s=1.0)
    assert (going.share, going.packs, going.is_looked_through) == (0.5, 0, False)
    going.take([], None, now_s=2.0)
    assert (going.share, going.packs, going.plan_bytes) == (1.0, 1, 40)
    seen = going.seen
    assert (seen.packs, seen.packed_files, seen.hole_bytes, seen.win_bytes) == (2, 8, 120, 60)
    pack = going.planned.popleft()
    other = dataclasses.replace(going)
    other._going = dict(going._going)
    going.note(pack, done=False)
    assert (going.failures, going.rate(12.0), going.seen) == (1, 4.0, seen)
    other.note(pack, done=True)
    after = other.seen
    assert (after.packs, after.packed_files, after.hole_bytes, after.win_bytes) == (2, 8, 60, 0)
    assert after.pack_total_bytes == 140


def test_a_look_takes_steps_of_about_one_length() -> None:
    going = Round(TERMS, began_s=0.0, upto=BlockId(10))
    sizes = []
    for took_s in (0.01, 0.01, 0.08, 1.0, 100.0, 0.01):
        going.pace(took_s)
        sizes.append(going.look_blocks)
    assert sizes == [20, 40, 40, 4, 1, 2]


def test_blocks_of_very_many_files_have_a_pack_each() -> None:
    def block(number: int, files: int) -> Candidate:
        return Candidate(BlockId(number), 1000, 2, OLD, files, files, files, whole=True)

    terms = dataclasses.replace(TERMS, pack_bytes=100_000, small_bytes_max=50_000)
    plan = plan_packs([block(1, 500), block(2, 500), block(3, 500), block(4, 499)], terms)
    assert [pack.blocks for pack in plan.packs] == [(1, 2, 3, 4)]
    large = dataclasses.replace(block(5, 4000), length_bytes=8000)
    plan = plan_packs([block(4, 400), large, block(6, 400)], terms)
    assert [pack.blocks for pack in plan.packs] == [(4,), (5,), (6,)]
    full = Candidate(BlockId(7), 300, 2, OLD, 300, 256, 256, whole=True)
    assert why_rewrite(full, terms) is Why.SMALL
    assert why_rewrite(dataclasses.replace(full, extents=257), terms) is None
    assert why_rewrite(dataclasses.replace(large, stretches=9000), terms) is None
    assert why_rewrite(dataclasses.replace(large, extents=20_000), terms) is None
