"""A follower's life, ended at every crash point: it follows, goes astray, and takes a snapshot.

Run as a program of its own (`python -m tests.unit.failover.store_story FOLDER`), as it forks.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from dfs.ha.rows import Position
from dfs.meta.session import quick_check
from tests.crash_sweep import in_child, sweep
from tests.journal_rig import set_to
from tests.namespace_rig import NamespaceRig
from tests.unit.failover.store_rig import Store, records_of, seed

HITS = 3


def make(root: Path) -> None:
    """A leader, its follower, and what that becomes when it goes astray."""
    for name in ("leader", "follower"):
        (root / name).mkdir()
    leads = NamespaceRig(root / "leader")
    set_to(leads, "first")
    leads.close()
    leader, follower = Store(root / "leader"), Store(root / "follower")
    seed(leader, follower)
    follower.close()
    leader.close()
    shutil.copytree(root / "follower", root / "astray")
    strays = NamespaceRig(root / "astray")
    set_to(strays, "astray")
    strays.close()
    leads = NamespaceRig(root / "leader")
    for word in ("second", "third"):
        set_to(leads, word)
    leads.close()


def told(folder: Path, position: Position) -> None:
    with (folder / "told").open("a") as out:
        out.write(f"{position.txid} {position.hash.hex()}\n")


def live(world: Path, folder: Path) -> None:
    """Whatever is left of a life before is gone on with."""
    _bring_leader(world, folder)
    leader = Store(folder / "leader")
    if not (folder / "followed").exists():
        shutil.rmtree(folder / "own", ignore_errors=True)
        shutil.copytree(world / "follower", folder / "own")
        (folder / "followed").touch()
    _follow(leader, folder)
    if not (folder / "strayed").exists():
        shutil.rmtree(folder / "stray", ignore_errors=True)
        shutil.copytree(world / "astray", folder / "stray")
        (folder / "strayed").touch()
    _come_back(leader, folder)
    leader.close()


def _bring_leader(world: Path, folder: Path) -> None:
    shutil.rmtree(folder / "leader", ignore_errors=True)
    shutil.copytree(world / "leader", folder / "leader")


def _follow(leader: Store, folder: Path) -> None:
    follower = Store(folder / "own")
    for record in records_of(leader, follower.journal.head()):
        told(folder, follower.journal.apply((record,)))
    follower.close()


def _come_back(leader: Store, folder: Path) -> None:
    stray = Store(folder / "stray")
    if stray.journal.read(leader.journal.head(), bytes_max=1) is None:
        told(folder, seed(leader, stray, aside=True))
    stray.close()


def judge(world: Path, folder: Path) -> None:
    """What was told is there; the astray one is whole, in its place or aside; and it goes on."""
    if (folder / "followed").exists():
        _judge_following(folder)
    if (folder / "strayed").exists():
        _judge_stray(world, folder)
    live(world, folder)
    leader = Store(folder / "leader")
    for name in ("own", "stray"):
        store = Store(folder / name)
        assert store.journal.head() == leader.journal.head()
        assert [each.name for each in store.shelf.folder.glob("*")] == []
        store.close()
    (kept,) = (folder / "stray").glob("diverged-*")
    quick_check(kept)
    leader.close()


def _judge_following(folder: Path) -> None:
    own = Store(folder / "own")
    quick_check(own.file)
    for line in _told(folder):
        txid, digest = line
        assert own.journal.head().txid >= txid or (folder / "strayed").exists(), digest
    own.close()


def _judge_stray(world: Path, folder: Path) -> None:
    stray = Store(folder / "stray")
    quick_check(stray.file)
    head = stray.journal.head()
    was, leader = Store(world / "astray"), Store(folder / "leader")
    old, new = was.journal.head(), leader.journal.head()
    assert head in (old, new)
    kept = stray.diverged()
    assert len(kept) == (head == new)
    assert not any(each.samefile(stray.file) for each in kept)
    for each in kept:
        quick_check(each)
    assert [each.name for each in stray.shelf.folder.glob("*")] == []
    for store in (was, leader, stray):
        store.close()


def _told(folder: Path) -> list[tuple[int, str]]:
    file = folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


if __name__ == "__main__":
    root = Path(sys.argv[1])
    world = root / "world"
    world.mkdir()
    assert in_child(partial(make, world), {}) == 0
    print(sweep(root, HITS, partial(live, world), partial(judge, world)))
