"""The upkeep of two disks, ended at every crash point it passes: scrub, purge, restore, levelling.

Run as a program of its own (`python -m tests.unit.blockstore.crash_upkeep FOLDER`), like
`crash_story`, whose tools it uses; prints the same JSON.
"""

import contextlib
import json
import sys
from pathlib import Path

from dfs.base.clock import ManualClock
from dfs.base.errors import BlockCorrupt
from dfs.base.events import SilentEmitter
from dfs.base.records import BlockName
from dfs.base.units import KiB
from dfs.blockstore.disk_mover import DiskMover
from dfs.blockstore.disk_walk import SETTLE_S
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.layout import Layout
from dfs.blockstore.scrubber import Scrubber
from dfs.blockstore.store import BlockStore
from dfs.settings.sections import ScrubConfig
from tests.unit.blockstore import crash_story
from tests.unit.blockstore.crash_story import CONFIG, READABLE, Diary, a_name

ROTTEN, LOST, *REST = [a_name(number, 1, number, 0) for number in range(1, 7)]
crash_story.SIZES = dict.fromkeys((ROTTEN, LOST, *REST), 300 * KiB)


def open_store(folder: Path, *, disks: int) -> BlockStore:
    folders = [folder, folder.with_name("second")][:disks]
    return BlockStore.open(folders, config=CONFIG, clock=ManualClock(), emit=SilentEmitter())


def where(folder: Path, name: BlockName) -> Path:
    first = Layout(folder).block(name)
    return first if first.exists() else Layout(folder.with_name("second")).block(name)


def live(folder: Path, diary: Diary) -> None:
    """The story.  It may be lived again after any end."""
    if not (folder.with_name("second") / "VERSION").exists():
        store = open_store(folder, disks=1)
        store.adopt(NodeIdentity("c" * 32, store.uuid, 1, "secret"))
        for name in crash_story.SIZES:
            crash_story.put(store, diary, name)
        store.close()
    store = open_store(folder, disks=2)
    _rot_and_scrub(store, folder, diary)
    crash_story.put(store, diary, ROTTEN)
    store.custody.purge_bad(ROTTEN)
    crash_story.delete(store, diary, LOST)
    diary.note("restoring", LOST)
    store.custody.restore(LOST)
    crash_story.put(store, diary, LOST)  # there already, unless an earlier life had purged it
    mover = DiskMover(store, bytes_per_s=1 << 40, clock=ManualClock(), emit=SilentEmitter())
    mover.begin(0.1)
    mover.run_once()
    _carry_away_and_back(store, folder, diary)
    store.close()


def _rot_and_scrub(store: BlockStore, folder: Path, diary: Diary) -> None:
    diary.note("rotting", ROTTEN)
    with contextlib.suppress(FileNotFoundError), where(folder, ROTTEN).open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff")
    clock, emit = ManualClock(), SilentEmitter()
    scrubber = Scrubber(store, config=ScrubConfig(), clock=clock, emit=emit)
    scrubber.suspect(REST[0])
    scrubber.begin(scrubber.status().run + 1)
    for volume in scrubber.volumes:
        volume.run_once()
    assert scrubber.status().run_done


def _carry_away_and_back(store: BlockStore, folder: Path, diary: Diary) -> None:
    name, aside = REST[-1], folder.with_name("aside")
    diary.note("rotting", name)
    with contextlib.suppress(FileNotFoundError):
        where(folder, name).rename(aside)
    _walk(store)
    place = Layout(folder).block(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if aside.exists():
        aside.rename(place)
    _walk(store)
    crash_story.put(store, diary, name)


def _walk(store: BlockStore) -> None:
    """Two looks; its clock begins long before the pass that is remembered, so that one is due."""
    clock, config = ManualClock(), ScrubConfig()

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    quick = Scrubber(store, config=config, clock=clock, emit=SilentEmitter(), wait=wait).quick
    clock.advance(config.quick_interval_s * 2)
    for _ in range(2):
        for each in quick:
            each.run_once()
        clock.advance(SETTLE_S)


def judge(folder: Path, diary: Diary) -> None:
    """Open what is left and hold it against the diary; then live on to the end."""
    both = (folder.with_name("second") / "VERSION").exists()
    store = open_store(folder, disks=2 if both else 1)
    entries = {entry.name: entry for entry in store.stock(after=None, limit=100)}
    readable = {name for name, entry in entries.items() if entry.state in READABLE}
    for name, word in diary.last().items():
        if word == "put":
            assert name in readable, f"acknowledged {name} is gone"
        if word == "rotting" and name in readable:
            with contextlib.suppress(BlockCorrupt):
                list(store.read(name, []))
            readable.discard(name)
    for name in readable:
        assert crash_story._flaw(store, name) == "", f"{name} is served and not intact"
    store.close()
    live(folder, diary)
    store = open_store(folder, disks=2)
    entries = {entry.name: entry for entry in store.stock(after=None, limit=100)}
    assert {name for name, entry in entries.items() if entry.state in READABLE} == {
        *crash_story.SIZES
    }
    for name in crash_story.SIZES:
        assert crash_story._flaw(store, name) == ""
    assert store.quarantined == 0
    store.close()


if __name__ == "__main__":
    points, broken = crash_story.sweep(
        Path(sys.argv[1]) / "upkeep", int(sys.argv[2]), live, None, judge
    )
    print(json.dumps({"points": points, "broken": broken}))
