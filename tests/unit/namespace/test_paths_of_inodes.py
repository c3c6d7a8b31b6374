"""The paths of many inodes at once are those that one by one would give."""

from sqlalchemy import select

from dfs.base.ids import ROOT_INODE, InodeId
from dfs.meta.tables import INODE
from dfs.namespace.block_paths import paths_of_inodes
from dfs.namespace.resolve import path_of
from tests.namespace_rig import NamespaceRig


def test_living_moved_and_removed_names_are_found_as_one_by_one(rig: NamespaceRig) -> None:
    rig.mkdir("/tmp/a/b/c", parents=True)
    for path in ("/tmp/a/b/c/deep", "/tmp/a/x", "/tmp/y", "/top"):
        rig.put(path, b"content")
    rig.move("/tmp/a/x", "/tmp/a/b/moved")
    rig.move("/tmp/a/b", "/tmp/q")
    rig.remove("/tmp/y")
    rig.put("/tmp/y", b"another")
    rig.remove("/tmp/a", recursive=True)
    inodes = [InodeId(one) for one in rig.look(lambda c: c.execute(select(INODE.c.id)).scalars())]
    found = rig.look(lambda c: paths_of_inodes(c, inodes))
    assert found == {one: rig.look(lambda c, one=one: path_of(c, one)[0]) for one in inodes}
    assert {"/tmp/q/c/deep", "/tmp/q/moved", "/tmp/y", "/top", "/"} <= set(found.values())


def test_what_is_not_there_leads_nowhere(rig: NamespaceRig) -> None:
    lost = InodeId(99_999)
    assert rig.look(lambda c: paths_of_inodes(c, [lost, ROOT_INODE])) == {
        lost: "/?",
        ROOT_INODE: "/",
    }
