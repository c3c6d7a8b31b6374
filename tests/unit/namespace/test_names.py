"""Directories, moves, copies and attributes, one promise a test."""

import pytest

from dfs.base.errors import (
    BadPath,
    BadRequest,
    DfsError,
    IsADirectory,
    LimitExceeded,
    MoveIntoItself,
    NotADirectory,
    PathExists,
    PathNotFound,
    PermissionDenied,
)
from dfs.settings.sections import Config, LimitsConfig
from dfs.wire.files_api import (
    ChmodRequest,
    ChownRequest,
    DuRequest,
    FindRequest,
    ListRequest,
    MkdirRequest,
    MoveRequest,
    PairRequest,
    SetrepRequest,
)
from tests.namespace_rig import ADMIN, NamespaceRig, only, user

ADA, BOB = user(7), user(8)

ODD_NAMES = ["a b", "50%", "new\nline", "ünïcode", "日本", "-rf", "a" * 255, "'\"\\", "..."]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_name_of_any_characters_is_kept_to_the_letter(rig: NamespaceRig, name: str) -> None:
    rig.put(f"/tmp/{name}", b"x")
    assert rig.names("/tmp") == [name]
    assert rig.stat(f"/tmp/{name}").path == f"/tmp/{name}"


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("relative", BadPath),
        ("/a//b", BadPath),
        ("/tmp/../etc", BadPath),
        ("/tmp/.", BadPath),
        ("/tmp/a\0b", BadPath),
        ("/tmp/\ud800", BadPath),
        ("/tmp/" + "a" * 256, LimitExceeded),
        ("/tmp/" + "é" * 128, LimitExceeded),
        ("/d" * 129, LimitExceeded),
        ("/" + "/".join(["x" * 200] * 25), LimitExceeded),
    ],
)
def test_path_that_cannot_be_is_refused_by_name(
    rig: NamespaceRig, path: str, refusal: type[DfsError]
) -> None:
    with pytest.raises(refusal):
        rig.mkdir(path)


def test_mkdir_needs_its_parent_unless_asked_to_make_it(rig: NamespaceRig) -> None:
    with pytest.raises(PathNotFound) as refused:
        rig.mkdir("/a/b/c")
    assert refused.value.hint.endswith("-p")
    rig.mkdir("/a/b/c", parents=True)
    rig.mkdir("/a/b/c", parents=True)
    assert rig.names("/a/b") == ["c"]


def test_mkdir_below_a_file_is_refused(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x")
    with pytest.raises(NotADirectory):
        rig.mkdir("/tmp/f/d")
    with pytest.raises(NotADirectory):
        rig.mkdir("/tmp/f/d", parents=True)
    with pytest.raises(PathExists):
        rig.mkdir("/tmp/f")


def test_batch_does_what_it_can_and_says_what_it_could_not(rig: NamespaceRig) -> None:
    body = MkdirRequest(paths=["/x", "/nope/y", "/z"])
    outcomes = rig.change(lambda txn: rig.space.changes.mkdir(txn, ADMIN, body)).outcomes
    assert [each.error and each.error.code for each in outcomes] == [None, "path_not_found", None]
    assert {"x", "z"} <= set(rig.names("/"))


def test_atomic_batch_does_all_or_nothing(rig: NamespaceRig) -> None:
    body = MkdirRequest(paths=["/x", "/nope/y"], atomic=True)
    with pytest.raises(PathNotFound):
        rig.change(lambda txn: rig.space.changes.mkdir(txn, ADMIN, body))
    assert "x" not in rig.names("/")


def test_new_directory_inherits_the_group_above(rig: NamespaceRig) -> None:
    rig.mkdir("/shared")
    body = ChownRequest(paths=["/shared"], group="users")
    only(rig.change(lambda txn: rig.space.changes.chown(txn, ADMIN, body)))
    assert rig.mkdir("/shared/below").group == "users"


def test_move_into_a_directory_keeps_the_name(rig: NamespaceRig) -> None:
    rig.mkdir("/d")
    rig.put("/tmp/f", b"x")
    assert rig.move("/tmp/f", "/d").path == "/d/f"


def test_move_replaces_a_file_only_when_told_to(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"new")
    rig.put("/tmp/g", b"old!")
    with pytest.raises(PathExists):
        rig.move("/tmp/f", "/tmp/g")
    rig.move("/tmp/f", "/tmp/g", overwrite=True)
    assert rig.stat("/tmp/g").size_bytes == 3
    assert rig.undelete("/tmp/g", target="/tmp/back").size_bytes == 4


@pytest.mark.parametrize("target", ["/d/below", "/d/below/deeper", "/d"])
def test_directory_never_moves_below_itself(rig: NamespaceRig, target: str) -> None:
    rig.mkdir("/d/below", parents=True)
    with pytest.raises(MoveIntoItself):
        rig.move("/d", target)


def test_move_of_a_tree_takes_along_what_is_below(rig: NamespaceRig) -> None:
    rig.mkdir("/a/b", parents=True)
    rig.put("/a/b/f", b"x")
    rig.move("/a", "/z")
    assert rig.stat("/z/b/f").size_bytes == 1
    assert not rig.exists("/a")


def test_two_moves_in_one_batch_see_each_other(rig: NamespaceRig) -> None:
    rig.put("/tmp/a", b"a")
    pairs = [
        PairRequest(source="/tmp/a", target="/tmp/b"),
        PairRequest(source="/tmp/b", target="/tmp/c"),
    ]
    rig.change(lambda txn: rig.space.changes.move(txn, ADMIN, MoveRequest(moves=pairs)))
    assert rig.names("/tmp") == ["c"]


def test_copy_shares_blocks_and_outlives_its_source(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"content")
    copied = rig.copy("/tmp/f", "/tmp/g")
    assert copied.checksum == rig.stat("/tmp/f").checksum
    rig.remove("/tmp/f", skip_trash=True)
    rig.advance(1)
    assert rig.purge().blocks == 0
    rig.remove("/tmp/g", skip_trash=True)
    rig.advance(1)
    assert rig.purge().blocks == 1


def test_copy_of_a_tree_needs_to_be_asked_for(rig: NamespaceRig) -> None:
    rig.mkdir("/a/b", parents=True)
    rig.put("/a/b/f", b"x")
    with pytest.raises(IsADirectory):
        rig.copy("/a", "/z")
    rig.copy("/a", "/z", recursive=True)
    assert rig.stat("/z/b/f").size_bytes == 1
    with pytest.raises(MoveIntoItself):
        rig.copy("/a", "/a/b", recursive=True)


def test_others_may_not_write_where_the_mode_forbids_it(rig: NamespaceRig) -> None:
    with pytest.raises(PermissionDenied):
        rig.mkdir("/ada", who=ADA)
    with pytest.raises(PermissionDenied):
        rig.put("/f", b"x", who=ADA)


def test_directory_without_x_hides_what_is_below(rig: NamespaceRig) -> None:
    rig.mkdir("/secret/inner", parents=True)
    body = ChmodRequest(paths=["/secret"], mode=0o700)
    only(rig.change(lambda txn: rig.space.changes.chmod(txn, ADMIN, body)))
    with pytest.raises(PermissionDenied):
        rig.stat("/secret/inner", who=ADA)
    with pytest.raises(PermissionDenied):
        rig.stat("/secret/not-there", who=ADA)
    with pytest.raises(PermissionDenied):
        rig.names("/secret", who=ADA)


def test_sticky_directory_keeps_each_ones_files(rig: NamespaceRig) -> None:
    rig.put("/tmp/ada", b"x", who=ADA)
    for act in (
        lambda: rig.remove("/tmp/ada", who=BOB),
        lambda: rig.move("/tmp/ada", "/tmp/bob", who=BOB),
        lambda: rig.put("/tmp/ada", b"y", who=BOB, overwrite=True),
    ):
        with pytest.raises(PermissionDenied):
            act()
    rig.remove("/tmp/ada", who=ADA)


def test_only_superusers_give_files_away(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x", who=ADA)
    body = ChownRequest(paths=["/tmp/f"], owner="admin")
    with pytest.raises(PermissionDenied):
        only(rig.change(lambda txn: rig.space.changes.chown(txn, ADA, body)))


def test_recursive_change_counts_what_it_changed(rig: NamespaceRig) -> None:
    rig.mkdir("/d/e", parents=True)
    rig.put("/d/e/f", b"x")
    body = SetrepRequest(paths=["/d"], replication=3, recursive=True)
    assert only(rig.change(lambda txn: rig.space.changes.setrep(txn, ADMIN, body))).changed == 1
    assert rig.stat("/d/e/f").replication == 3


def test_setrep_outside_its_bounds_is_refused(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"x")
    for wish in (0, 17):
        body = SetrepRequest(paths=["/tmp/f"], replication=wish)
        with pytest.raises(BadRequest):
            rig.change(lambda txn, body=body: rig.space.changes.setrep(txn, ADMIN, body))


def test_list_pages_in_name_order_without_gap_or_repeat(rig: NamespaceRig) -> None:
    names = [f"n{number:03d}" for number in range(25)]
    for name in reversed(names):
        rig.mkdir(f"/tmp/{name}")
    seen: list[str] = []
    while True:
        body = ListRequest(path="/tmp", after=seen[-1] if seen else "", limit=7)
        page = rig.look(lambda c, body=body: rig.space.lookup.list(c, ADMIN, body))
        seen += [entry.path.rsplit("/", 1)[1] for entry in page.entries]
        if not page.more:
            break
    assert seen == names


def test_find_pages_through_a_whole_tree_once(rig: NamespaceRig) -> None:
    for number in range(30):
        rig.mkdir(f"/t/{number % 3}/{number}", parents=True)
    everything: list[str] = []
    cursor = ""
    while True:
        body = FindRequest(path="/t", cursor=cursor, limit=4)
        page = rig.look(lambda c, body=body: rig.space.lookup.find(c, ADMIN, body))
        everything += [entry.path for entry in page.entries]
        cursor = page.next
        if not cursor:
            break
    assert len(everything) == len(set(everything)) == 1 + 3 + 30
    parents_first = [path.rsplit("/", 1)[0] for path in everything[1:]]
    assert all(parent in everything[: at + 1] for at, parent in enumerate(parents_first))


@pytest.mark.parametrize("cursor", ["/t/hidden", "/t/hidden/", "/t/hidden/a"])
def test_find_goes_on_from_a_cursor_without_entering_what_may_not_be_listed(
    rig: NamespaceRig, cursor: str
) -> None:
    rig.mkdir("/t")
    rig.mkdir("/t/hidden", mode=0o700)
    rig.put("/t/hidden/secret")
    rig.put("/t/open")
    body = FindRequest(path="/t", cursor=cursor)
    page = rig.look(lambda c: rig.space.lookup.find(c, user(7), body))
    assert [entry.path for entry in page.entries] == ["/t/open"]


def test_find_matches_name_kind_and_depth(rig: NamespaceRig) -> None:
    rig.mkdir("/t/a.d", parents=True)
    rig.put("/t/a.txt", b"xx")
    rig.put("/t/a.d/b.txt", b"x")
    found = rig.look(
        lambda c: rig.space.lookup.find(c, ADMIN, FindRequest(path="/t", name="*.txt", depth_max=1))
    )
    assert [entry.path for entry in found.entries] == ["/t/a.txt"]
    found = rig.look(
        lambda c: rig.space.lookup.find(c, ADMIN, FindRequest(path="/t", kind="directory"))
    )
    assert [entry.path for entry in found.entries] == ["/t", "/t/a.d"]


def test_du_counts_a_tree_and_refuses_what_may_not_be_read(rig: NamespaceRig) -> None:
    rig.mkdir("/t/closed", parents=True)
    rig.put("/t/f", b"12345")
    usage = only(rig.look(lambda c: rig.space.lookup.du(c, ADA, DuRequest(paths=["/t"]))))
    assert (usage.files, usage.directories, usage.size_bytes, usage.stored_bytes) == (1, 2, 5, 10)
    body = ChmodRequest(paths=["/t/closed"], mode=0o700)
    only(rig.change(lambda txn: rig.space.changes.chmod(txn, ADMIN, body)))
    with pytest.raises(PermissionDenied):
        only(rig.look(lambda c: rig.space.lookup.du(c, ADA, DuRequest(paths=["/t"]))))


def test_past_transaction_shows_names_as_they_were(rig: NamespaceRig) -> None:
    rig.put("/tmp/f", b"one")
    before = rig.writer.txid
    rig.move("/tmp/f", "/tmp/g")
    rig.remove("/tmp/g")
    assert rig.names("/tmp", as_of=before) == ["f"]
    assert rig.stat("/tmp/f", as_of=before).size_bytes == 3
    assert rig.names("/tmp") == []


def test_full_directory_refuses_and_counts_again_after_a_removal(tmp_path) -> None:
    rig = NamespaceRig(tmp_path, config=Config(limits=LimitsConfig(directory_entries_max=3)))
    rig.mkdir("/tmp/1")
    rig.mkdir("/tmp/2")
    rig.put("/tmp/3", b"x")
    with pytest.raises(LimitExceeded):
        rig.mkdir("/tmp/4")
    with pytest.raises(LimitExceeded):
        rig.create("/tmp/4")
    rig.remove("/tmp/1", recursive=True)
    rig.mkdir("/tmp/4")
    rig.close()
