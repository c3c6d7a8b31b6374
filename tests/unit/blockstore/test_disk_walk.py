"""Files that come and go by other hands while the store serves are taken in by the quick pass."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfs.base.events import Event
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.blockstore import disk_walk
from dfs.blockstore.disk_walk import SETTLE_S
from tests.unit.blockstore.disk_rig import block_name
from tests.unit.blockstore.scrub_rig import ScrubRig

SIZE = 5_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ScrubRig]:
    made = ScrubRig(tmp_path)
    yield made
    made.store.close(clean=False)


def walk(rig: ScrubRig) -> None:
    """A quick pass, both looks of it."""
    rig.clock.advance(rig.scrub_config.quick_interval_s)
    for _ in range(3):
        for quick in rig.scrubber.quick:
            quick.run_once()
        rig.clock.advance(SETTLE_S)


def first_look(rig: ScrubRig) -> None:
    rig.clock.advance(rig.scrub_config.quick_interval_s)
    rig.scrubber.quick[0].run_once()


def second_look(rig: ScrubRig) -> None:
    rig.clock.advance(SETTLE_S)
    rig.scrubber.quick[0].run_once()


def forget_changes(rig: ScrubRig) -> None:
    rig.store.take_changes(1_000)


def changes(rig: ScrubRig) -> tuple[dict[BlockName, StoredState], set[BlockName]]:
    new, gone = rig.store.take_changes(1_000)
    return {entry.name: entry.state for entry in new}, {entry.name for entry in gone}


def totals_are_true(rig: ScrubRig) -> bool:
    return all(
        (each.blocks, each.used_bytes) == each.catalog.totals() for each in rig.store.folders
    )


def carry_away(rig: ScrubRig, name: BlockName) -> Path:
    """The block's file, out of the folder."""
    aside = rig.folder.parent / "aside"
    shutil.move(rig.path(name), aside)
    return aside


def test_file_that_vanished_is_missing_and_told_as_gone(rig: ScrubRig) -> None:
    names = rig.fill(3)
    forget_changes(rig)
    rig.path(names[1]).unlink()
    walk(rig)
    assert changes(rig) == ({}, {names[1]})
    assert rig.store.entry(names[1]) is None
    assert rig.store.found == 0  # nothing was read that was bad
    assert totals_are_true(rig)
    assert [met["missing"] for event, met in rig.emit.events if event is Event.VOLUME_WALKED] == [1]


def test_file_that_was_carried_back_is_found_and_served(rig: ScrubRig) -> None:
    names = rig.fill(2)
    aside = carry_away(rig, names[0])
    walk(rig)
    assert rig.store.entry(names[0]) is None
    forget_changes(rig)
    rig.path(names[0]).parent.mkdir(exist_ok=True)
    shutil.copy(aside, rig.path(names[0]))
    walk(rig)
    assert changes(rig) == ({names[0]: StoredState.FOUND}, set())
    assert len(rig.get(names[0])) == SIZE
    assert totals_are_true(rig)
    rig.settle()  # the scrubber reads it as it reads a new one
    entry = rig.store.entry(names[0])
    assert entry is not None
    assert entry.state is StoredState.FINAL


def test_a_whole_folder_or_bucket_may_vanish(rig: ScrubRig) -> None:
    names = rig.fill(4)
    forget_changes(rig)
    shutil.rmtree(rig.path(names[0]).parent)
    shutil.rmtree(rig.path(names[1]).parent.parent)
    walk(rig)
    assert changes(rig) == ({}, set(names[:2]))
    rig.put(names[1], os.urandom(SIZE))  # its bucket is there again
    assert totals_are_true(rig)


def test_a_file_is_looked_at_twice(rig: ScrubRig) -> None:
    names = rig.fill(2)
    aside = carry_away(rig, names[0])
    forget_changes(rig)
    first_look(rig)
    shutil.move(aside, rig.path(names[0]))
    second_look(rig)
    assert changes(rig) == ({}, set())
    assert len(rig.get(names[0])) == SIZE


def test_a_file_that_is_still_growing_is_left_to_the_next_walk(rig: ScrubRig) -> None:
    names = rig.fill(2)
    whole = carry_away(rig, names[0]).read_bytes()
    walk(rig)
    rig.path(names[0]).parent.mkdir(exist_ok=True)
    rig.path(names[0]).write_bytes(whole[:1_000])
    first_look(rig)
    rig.path(names[0]).write_bytes(whole)
    second_look(rig)
    assert rig.store.entry(names[0]) is None
    assert rig.names_in("quarantine") == []
    walk(rig)
    assert len(rig.get(names[0])) == SIZE


def test_a_block_deleted_or_written_between_the_looks_is_as_it_was_left(rig: ScrubRig) -> None:
    names = rig.fill(3)
    kept = {name: carry_away(rig, name).read_bytes() for name in names[:2]}
    walk(rig)
    for name, data in kept.items():
        rig.path(name).parent.mkdir(exist_ok=True)
        rig.path(name).write_bytes(data)
    rig.path(names[2]).unlink()
    first_look(rig)
    rig.put(names[0], kept[names[0]][:SIZE])  # takes over the file
    rig.path(names[1]).unlink()
    rig.store.delete(names[2])
    rig.put(names[2], b"new")
    forget_changes(rig)
    second_look(rig)
    assert changes(rig) == ({}, set())
    assert rig.get(names[2]) == b"new"
    assert rig.store.entry(names[1]) is None
    assert totals_are_true(rig)


def test_a_damaged_file_goes_to_quarantine_and_so_does_what_is_no_block(rig: ScrubRig) -> None:
    (name,) = rig.fill(1)
    bad = block_name(9, file=9)
    rig.path(bad).parent.mkdir(parents=True, exist_ok=True)
    rig.path(bad).write_bytes(b"x" * 500)
    for stray in ("00/note", "07/letter"):
        (rig.folder / "blocks" / stray).write_text("hi")
    (rig.folder / "blocks" / "01" / "0000000000000001" / "draft").write_text("ho")
    forget_changes(rig)
    walk(rig)
    assert changes(rig) == ({bad: StoredState.CORRUPT}, set())
    assert len(rig.names_in("quarantine")) == 4
    assert len(rig.get(name)) == SIZE
    assert totals_are_true(rig)


def test_a_file_copied_into_another_files_folder_does_not_hide_the_block(rig: ScrubRig) -> None:
    name, other = block_name(1, file=9), block_name(1, file=8)
    rig.put(name, b"hello")
    for meet in (lambda: walk(rig), rig.restart, rig.restart):
        rig.path(other).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(rig.path(name), rig.path(other))
        meet()
        assert rig.get(name) == b"hello"
        assert not rig.path(other).exists()
    rig.restart()
    assert rig.get(name) == b"hello"


def test_a_disk_that_went_away_makes_no_block_missing(rig: ScrubRig) -> None:
    names = rig.fill(3)
    forget_changes(rig)
    away = rig.folder.with_name("away")
    rig.folder.rename(away)
    rig.folder.mkdir()
    first_look(rig)
    second_look(rig)
    rig.folder.rmdir()
    away.rename(rig.folder)
    assert changes(rig)[1] == set()
    assert rig.store.folders[0].catalog.row(names[0]) is not None


def test_a_bucket_that_cannot_be_listed_hides_none_of_another(rig: ScrubRig) -> None:
    names = rig.fill(3)
    forget_changes(rig)
    broken = rig.path(names[0]).parent.parent.with_name("00")
    broken.rmdir()
    broken.write_bytes(b"no folder")
    rig.path(names[1]).unlink()
    first_look(rig)
    second_look(rig)
    broken.unlink()
    broken.mkdir()
    assert changes(rig) == ({}, {names[1]})


@pytest.mark.parametrize("points_at", ["itself", "nothing", "a folder"])
def test_a_link_is_not_followed_and_the_disk_stays_in_service(
    rig: ScrubRig, tmp_path: Path, points_at: str
) -> None:
    """Where a block, a file's folder or a bucket was: it is set aside, and what it hid is gone."""
    names = rig.fill(3)
    (tmp_path / "outside" / "0000000000000009").mkdir(parents=True)
    (tmp_path / "outside" / "0000000000000009" / "note").write_text("mine")
    forget_changes(rig)
    file, folder = rig.path(names[0]), rig.path(names[1]).parent
    bucket = rig.path(names[2]).parent.parent
    for place in (file, folder, bucket):
        shutil.move(place, rig.folder.parent / f"aside-{place.name}")
        target = {"itself": place, "nothing": tmp_path / "gone", "a folder": tmp_path / "outside"}
        place.symlink_to(target[points_at])
    walk(rig)
    walk(rig)
    assert not rig.store.folders[0].is_read_only
    assert changes(rig) == ({names[0]: StoredState.CORRUPT}, set(names[1:]))
    assert len(rig.names_in("quarantine")) == 3
    assert (tmp_path / "outside" / "0000000000000009" / "note").read_text() == "mine"
    rig.put(names[2], os.urandom(SIZE))
    assert totals_are_true(rig)


@pytest.mark.parametrize("points_at", ["itself", "a folder"])
def test_a_start_follows_no_link_either(rig: ScrubRig, tmp_path: Path, points_at: str) -> None:
    names = rig.fill(2)
    bucket = rig.path(names[0]).parent.parent
    shutil.move(bucket, tmp_path / "outside")
    bucket.symlink_to(bucket if points_at == "itself" else tmp_path / "outside")
    rig.restart()
    assert rig.store.entry(names[0]) is None
    assert len(rig.get(names[1])) == SIZE
    assert len(rig.names_in("quarantine")) == 1
    rig.put(names[0], os.urandom(SIZE))
    assert len(list((tmp_path / "outside").rglob("*.*"))) == 1  # still there, and nothing new


def test_more_changes_than_are_remembered_are_taken_in_piece_by_piece(
    rig: ScrubRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_walk, "SUSPECTED_MAX", 4)
    names = rig.fill(20)
    forget_changes(rig)
    for name in names[:15]:
        rig.path(name).unlink()
    rig.clock.advance(rig.scrub_config.quick_interval_s)
    for _ in range(10):
        rig.scrubber.quick[0].run_once()
        rig.clock.advance(SETTLE_S)
    assert changes(rig) == ({}, set(names[:15]))


def test_a_walk_that_is_stopped_goes_on(rig: ScrubRig) -> None:
    names = rig.fill(5)
    rig.path(names[4]).unlink()
    forget_changes(rig)
    rig.clock.advance(rig.scrub_config.quick_interval_s)
    for _ in range(10):
        rig.waits_left = 2
        rig.scrubber.quick[0].run_once()
        rig.clock.advance(SETTLE_S)
    rig.waits_left = -1
    assert changes(rig) == ({}, {names[4]})
