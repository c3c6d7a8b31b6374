"""Which files share a pack, and which stretches are fetched together: for any files at all."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dfs.client.pack_plan import (
    GAP_BYTES_MAX,
    RUN_BYTES_MAX,
    RUN_RANGES_MAX,
    TABLE_BYTES_WANTED,
    Part,
    divide,
    plan_packs,
    plan_runs,
    slices,
)
from dfs.wire.packs import PACK_FILES_MAX, PackEntry, encode_table, entry_bytes_max

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class File:
    remote: str
    size_bytes: int


files_of_any_size = st.lists(
    st.builds(File, st.text(min_size=1, max_size=40).map("/".__add__), st.integers(0, 3 * MIB)),
    max_size=60,
)


@given(files_of_any_size, st.integers(0, 2 * MIB))
def test_every_file_goes_one_way_and_large_ones_alone(files: list[File], limit: int) -> None:
    packed, alone = divide(files, file_bytes_max=limit)
    assert sorted([*packed, *alone], key=files.index) == sorted(files, key=files.index)
    assert all(file.size_bytes <= limit for file in packed)
    assert len(packed) != 1, "a lone small file is an ordinary block"


@given(files_of_any_size, st.integers(MIB, 8 * MIB))
def test_packs_hold_all_files_in_order_and_no_more_than_fits(
    files: list[File], pack_bytes: int
) -> None:
    packs = list(plan_packs(files, pack_bytes=pack_bytes))
    assert [file for pack in packs for file in pack] == files
    for pack in packs:
        assert pack
        assert len(pack) == 1 or sum(file.size_bytes for file in pack) <= pack_bytes
        assert len({file.size_bytes == 0 for file in pack}) == 1
    for pack, following in zip(packs, packs[1:], strict=False):
        total = sum(file.size_bytes for file in pack) + following[0].size_bytes
        alike = (pack[0].size_bytes == 0) == (following[0].size_bytes == 0)
        assert total > pack_bytes or not alike, "the next file would have fitted"


def test_packs_of_the_longest_names_have_tables_that_can_be_stored() -> None:
    name = "/" + "\x01" * 250
    files = [File(name * 16, 1) for _ in range(2_000)]
    packs = list(plan_packs(files, pack_bytes=16 * MIB))
    assert len(packs) > 1
    for pack in packs:
        assert sum(entry_bytes_max(file.remote) for file in pack) <= TABLE_BYTES_WANTED
        encode_table([PackEntry(f.remote, at, 1, b"h" * 16, 0o644, 0) for at, f in enumerate(pack)])


def test_packs_of_the_smallest_files_hold_a_bounded_number() -> None:
    files = [File(f"/{number}", 1) for number in range(2 * PACK_FILES_MAX + 1)]
    assert [len(p) for p in plan_packs(files, pack_bytes=16 * MIB)] == [
        PACK_FILES_MAX,
        PACK_FILES_MAX,
        1,
    ]


stretches = st.lists(
    st.builds(
        lambda window, offset, length: (window, offset, length),
        st.integers(0, 2),
        st.integers(0, 12 * MIB),
        st.integers(1, MIB),
    ),
    max_size=40,
)


@given(stretches)
def test_runs_fetch_every_part_of_one_window_and_little_beside(
    wanted: list[tuple[int, int, int]],
) -> None:
    parts = [Part(w, at, at + n, number) for number, (w, at, n) in enumerate(wanted)]
    runs = plan_runs(parts)
    assert sorted(p.file for run in runs for p in run.parts) == list(range(len(parts)))
    for run in runs:
        assert {part.window for part in run.parts} == {run.window}
        assert 1 <= len(run.ranges) <= RUN_RANGES_MAX
        for part in run.parts:
            assert any(at <= part.offset and part.end <= at + length for at, length in run.ranges)
        ends = [at + length for at, length in run.ranges]
        assert all(
            following[0] - end > GAP_BYTES_MAX
            for end, following in zip(ends, run.ranges[1:], strict=False)
        )
        spread = ends[-1] - run.ranges[0][0]
        overlapping = sum(part.end - part.offset for part in run.parts) > RUN_BYTES_MAX
        assert spread <= RUN_BYTES_MAX or len(run.parts) == 1 or overlapping


def test_parts_of_a_whole_pack_are_fetched_as_one_range() -> None:
    parts = [Part(0, n * 8 * KIB, (n + 1) * 8 * KIB, n) for n in range(1_000)]
    (run,) = plan_runs(parts)
    assert run.ranges == ((0, 8_000 * KIB),)


close_stretches = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4_000), st.integers(1, 300)), max_size=30
)


@given(close_stretches, st.integers(1, 700))
def test_slices_are_the_bytes_of_each_part_however_they_come(
    wanted: list[tuple[int, int, int]], piece_bytes: int
) -> None:
    block = bytes(range(251)) * 20
    for run in plan_runs(Part(w, at, at + n, number) for number, (w, at, n) in enumerate(wanted)):
        pieces = (
            (at, block[at : min(at + piece_bytes, begin + length)])
            for begin, length in run.ranges
            for at in range(begin, begin + length, piece_bytes)
        )
        found = {part.file: bytes(view) for part, view in slices(run.parts, pieces)}
        assert found == {p.file: block[p.offset : p.end] for p in run.parts}


def test_slices_of_what_came_are_given_when_the_rest_does_not_come() -> None:
    parts = [Part(0, 0, 10, 0), Part(0, 10, 20, 1), Part(0, 20, 30, 2)]
    assert [part.file for part, _ in slices(parts, [(0, b"x" * 25)])] == [0, 1]
