"""Many commits of files in one step come to what they come to one by one."""

from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.base.errors import DfsError, LimitExceeded, PathExists
from dfs.wire.pack_api import CommitFilesReply, CommitFilesRequest, PackedBlock
from tests.metadata_checks import check_metadata
from tests.namespace_rig import ADMIN, NamespaceRig, user
from tests.pack_rig import begin_pack, laid_out, packing, written_pack

FOLDERS = ("/tmp", "/tmp/made", "/tmp/other", "/missing")


def commit_all(rig: NamespaceRig, asked: list) -> list[CommitFilesReply | DfsError]:
    return rig.change(lambda txn: packing(rig).commit(txn, asked))


def a_pack(rig: NamespaceRig, files: dict[str, bytes], **more: object) -> CommitFilesRequest:
    content = b"".join(files.values())
    packs: list[PackedBlock] = []
    if content:
        packs = [written_pack(rig, begin_pack(rig, len(content)), content)]
    return CommitFilesRequest(files=laid_out(files, **more), packs=packs)


def some_requests(rig: NamespaceRig, rng: Random) -> list[CommitFilesRequest]:
    """No two of them write the same file."""
    numbers = iter(rng.sample(range(40), 20))
    return [
        a_pack(
            rig,
            {
                f"{rng.choice(FOLDERS)}/f{next(numbers)}": b"x" * rng.choice((0, 0, 1, 7))
                for _ in range(rng.randint(1, 4))
            },
            parents=rng.random() < 0.5,
            overwrite=rng.random() < 0.5,
        )
        for _ in range(5)
    ]


def everything(rig: NamespaceRig) -> dict[str, bytes]:
    """Every file there is, and what is in it."""
    folders = [folder for folder in FOLDERS if folder == "/tmp" or is_there(rig, folder)]
    paths = [f"{folder}/{name}" for folder in folders for name in rig.names(folder)]
    return {path: rig.stat(path).checksum for path in paths}


def is_there(rig: NamespaceRig, folder: str) -> bool:
    above, _, name = folder.rpartition("/")
    return name in rig.names(above or "/")


def said(replies: list[CommitFilesReply | DfsError]) -> list[object]:
    """What was owed and refused, or why all of it was."""
    return [
        each.code
        if isinstance(each, DfsError)
        else (each.owed, [(one.index, one.error.code) for one in each.refused])
        for each in replies
    ]


@pytest.mark.parametrize("seed", range(25))
def test_one_step_comes_to_the_same_as_one_by_one(tmp_path: Path, seed: int) -> None:
    ends = []
    for joined in (True, False):
        rng, folder = Random(seed), tmp_path / str(joined)
        folder.mkdir()
        rig = NamespaceRig(folder)
        try:
            rig.put("/tmp/f1", b"there")
            rig.put("/tmp/f2", b"there too")
            requests = some_requests(rig, rng)
            if joined:
                replies = commit_all(rig, [(ADMIN, each) for each in requests])
            else:
                replies = [reply for each in requests for reply in commit_all(rig, [(ADMIN, each)])]
            rig.look(check_metadata)
            ends.append((said(replies), everything(rig)))
        finally:
            rig.close()
    assert ends[0] == ends[1]


def test_requests_that_write_the_same_file_are_not_run_in_one_step(rig: NamespaceRig) -> None:
    first, second = (a_pack(rig, {"/tmp/twice": content}) for content in (b"a", b"bb"))
    with pytest.raises(PathExists):
        commit_all(rig, [(ADMIN, first), (ADMIN, second)])


def test_request_that_is_refused_whole_is_not_run_beside_others(rig: NamespaceRig) -> None:
    fine = a_pack(rig, {"/tmp/fine": b"a"})
    packs = [PackedBlock(inode=1, lease="", block=fine.packs[0].block)] * 300
    too_many = CommitFilesRequest(files=[], packs=packs)
    with pytest.raises(LimitExceeded):
        commit_all(rig, [(ADMIN, fine), (ADMIN, too_many)])
    (alone,) = commit_all(rig, [(ADMIN, too_many)])
    assert isinstance(alone, LimitExceeded)


def test_each_caller_in_a_step_is_judged_by_its_own_rights(rig: NamespaceRig) -> None:
    bob = user(7)
    asked = [
        (who, CommitFilesRequest(files=laid_out({path: b""}), packs=[]))
        for who, path in [(ADMIN, "/a"), (bob, "/b"), (ADMIN, "/c"), (bob, "/tmp/d")]
    ]
    assert said(commit_all(rig, asked)) == [
        ([], []),
        ([], [(0, "permission_denied")]),
        ([], []),
        ([], []),
    ]
    assert {"a", "c"} <= set(rig.names("/"))
    assert "b" not in rig.names("/")
    assert rig.names("/tmp") == ["d"]
