"""The trash and the purge."""

import pytest

from dfs.base.errors import (
    DirectoryNotEmpty,
    IsADirectory,
    NotInTrash,
    PathExists,
    PermissionDenied,
)
from dfs.settings.sections import Config, NamenodeConfig
from dfs.wire.files_api import TrashRequest
from tests.metadata_checks import check_metadata
from tests.namespace_rig import ADMIN, NamespaceRig, user

ADA, BOB = user(7), user(8)


def trash(rig: NamespaceRig, who=ADMIN, **more) -> list[str]:
    body = TrashRequest(**more)
    return [each.path for each in rig.look(lambda c: rig.space.trash.trash(c, who, body)).entries]


def test_directory_goes_only_when_asked_to_go_whole(rig: NamespaceRig) -> None:
    rig.mkdir("/d/e", parents=True)
    with pytest.raises(DirectoryNotEmpty):
        rig.remove("/d")
    with pytest.raises(IsADirectory):
        rig.remove("/d/e")
    rig.remove("/d", recursive=True)
    assert not rig.exists("/d")


def test_removing_a_tree_of_any_size_is_one_row_in_the_trash(rig: NamespaceRig) -> None:
    for number in range(50):
        rig.mkdir(f"/d/{number}", parents=True)
    rig.remove("/d", recursive=True)
    assert trash(rig) == ["/d"]


def test_undelete_brings_a_tree_back_whole(rig: NamespaceRig) -> None:
    rig.mkdir("/d/e", parents=True)
    rig.put("/d/e/f", b"x")
    rig.remove("/d", recursive=True)
    rig.undelete("/d")
    assert rig.stat("/d/e/f").size_bytes == 1
    assert trash(rig) == []
    rig.look(check_metadata)


def test_undelete_takes_the_newest_of_that_name(rig: NamespaceRig) -> None:
    for content in (b"1", b"22", b"333"):
        rig.put("/tmp/f", content)
        rig.advance(1)
        rig.remove("/tmp/f")
    assert rig.undelete("/tmp/f").size_bytes == 3
    with pytest.raises(PathExists):
        rig.undelete("/tmp/f")
    assert rig.undelete("/tmp/f", target="/tmp/g").size_bytes == 2


def test_undelete_below_a_removed_directory_says_to_bring_that_back_first(
    rig: NamespaceRig,
) -> None:
    rig.mkdir("/d")
    rig.put("/d/f", b"x")
    rig.remove("/d/f")
    rig.remove("/d", recursive=True)
    with pytest.raises(NotInTrash) as refused:
        rig.undelete("/d/f")
    assert "directory" in refused.value.hint
    rig.undelete("/d")
    rig.undelete("/d/f")


def test_trash_of_others_is_not_shown_nor_taken(rig: NamespaceRig) -> None:
    rig.put("/tmp/ada", b"x", who=ADA)
    rig.remove("/tmp/ada", who=ADA)
    assert trash(rig, BOB) == []
    assert trash(rig, ADA) == ["/tmp/ada"]
    with pytest.raises(PermissionDenied):
        rig.undelete("/tmp/ada", who=BOB)


def test_trash_pages_newest_first_without_gap_or_repeat(rig: NamespaceRig) -> None:
    for number in range(9):
        rig.mkdir(f"/tmp/{number}")
        rig.remove(f"/tmp/{number}", recursive=True)
        rig.advance(0.5 * (number % 2))
    seen: list[int] = []
    paths: list[str] = []
    more = True
    while more:
        body = TrashRequest(limit=2, before_entry=seen[-1] if seen else None)
        page = rig.look(lambda c, body=body: rig.space.trash.trash(c, ADMIN, body))
        seen += [each.entry for each in page.entries]
        paths += [each.path for each in page.entries]
        more = page.more
    assert paths == [f"/tmp/{number}" for number in reversed(range(9))]


def test_what_expired_is_neither_shown_nor_brought_back(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x")
    rig.remove("/tmp/f")
    rig.advance(rig.config.namenode.trash_keep_s + 1)
    assert trash(rig) == []
    with pytest.raises(NotInTrash):
        rig.undelete("/tmp/f")


def test_purge_takes_nothing_before_its_time(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x")
    rig.remove("/tmp/f")
    rig.advance(rig.config.namenode.trash_keep_s - 1)
    assert rig.purge().names == 0


def test_purge_in_small_steps_takes_a_tree_apart_whole(tmp_path) -> None:
    rig = NamespaceRig(tmp_path, config=Config(namenode=NamenodeConfig(purge_rows_max=7)))
    for number in range(40):
        rig.mkdir(f"/d/{number % 4}/{number}", parents=True)
        rig.put(f"/d/{number % 4}/{number}/f", b"x")
    rig.put("/tmp/kept", b"x")
    rig.move("/d/0/0/f", "/tmp/moved")
    rig.remove("/d/1/1/f")
    rig.remove("/d", recursive=True)
    rig.advance(rig.config.namenode.trash_keep_s + 1)
    steps = 0
    more = True
    while more:
        more = rig.purge().more
        rig.look(check_metadata)
        steps += 1
        assert steps < 100
    assert steps > 5
    assert rig.names("/tmp") == ["kept", "moved"]
    rig.close()


def test_moved_name_is_no_rubbish_and_its_end_purges_nothing(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x")
    rig.move("/tmp/f", "/tmp/g")
    assert trash(rig) == []
    rig.advance(rig.config.namenode.trash_keep_s + 1)
    assert rig.purge().blocks == 0
    assert rig.stat("/tmp/g").size_bytes == 1
