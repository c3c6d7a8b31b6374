"""One life of a block store, ended at every crash point it passes, and what must hold after.

Run as a program of its own (`python -m tests.unit.blockstore.crash_story FOLDER`): it forks once
for each place to die at, and once more to open what is left.  Prints one JSON object: the points
passed, and the promises broken.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dfs.base import crashpoint
from dfs.base.checksum import block_hash, chunk_hashes
from dfs.base.clock import ManualClock
from dfs.base.errors import BlockCorrupt, StaleGeneration
from dfs.base.events import SilentEmitter
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName
from dfs.base.states import StoredState
from dfs.base.units import KiB, MiB
from dfs.blockstore.identity import NodeIdentity
from dfs.blockstore.layout import Layout
from dfs.blockstore.store import BlockStore
from dfs.settings.sections import DatanodeConfig
from tests.crash_sweep import in_child, passed

CONFIG = DatanodeConfig(reserve_bytes=0, reserve_percent=0, sync=False)
READABLE = (StoredState.FINAL, StoredState.FOUND)


def a_name(block: int, generation: int, file: int, number: int) -> BlockName:
    return BlockName(InodeId(file), number, BlockId(block), Generation(generation))


OLD, NEW = a_name(1, 1, 1, 0), a_name(1, 2, 1, 0)
PART, STREAM, ROTTEN = a_name(2, 3, 1, 1), a_name(3, 4, 2, 0), a_name(4, 5, 3, 0)
SIZES = {OLD: 8 * KiB, NEW: 9 * KiB, PART: 0, STREAM: 1 * MiB + 5, ROTTEN: 300 * KiB}


def content(name: BlockName) -> bytes:
    """What a block holds: known from its name, and no two alike."""
    return (b"%8d.%8d;" % (name.block, name.generation) * (SIZES[name] // 18 + 1))[: SIZES[name]]


class Diary:
    """What was begun and what was answered, kept outside the store."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, word: str, name: BlockName) -> None:
        with self._file.open("a") as out:
            out.write(f"{word} {list(SIZES).index(name)}\n")

    def last(self) -> dict[BlockName, str]:
        """The last word about each block."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        order = list(SIZES)
        return {order[int(index)]: word for word, index in (line.split() for line in lines)}


def open_store(folder: Path, clock: ManualClock) -> BlockStore:
    return BlockStore.open([folder], config=CONFIG, clock=clock, emit=SilentEmitter())


def put(store: BlockStore, diary: Diary, name: BlockName, *, is_stream: bool = False) -> None:
    data = content(name)
    diary.note("putting", name)
    length = None if is_stream else len(data)
    with store.begin(name, path="/x", length_max=4 * MiB, length=length) as writer:
        for offset in range(0, len(data), MiB):
            piece = data[offset : offset + MiB]
            writer.write(offset, piece, chunk_hashes(piece))
        writer.finish(length=len(data), hash=block_hash(data))
    diary.note("put", name)


def delete(store: BlockStore, diary: Diary, name: BlockName) -> None:
    diary.note("deleting", name)
    store.delete(name)
    diary.note("deleted", name)


def rot(store: BlockStore, diary: Diary, folder: Path, name: BlockName) -> None:
    """A byte flips on the disk, and a reader finds it."""
    diary.note("rotting", name)
    path = Layout(folder).block(name)
    with path.open("r+b") as file:
        file.seek(100_000)
        file.write(b"\xff")
    with contextlib.suppress(BlockCorrupt):
        list(store.read(name, []))


def live(folder: Path, diary: Diary) -> None:
    """The story.  It may be lived again after any end: every step is one a client would repeat."""
    clock = ManualClock()
    store = open_store(folder, clock)
    store.adopt(NodeIdentity("c" * 32, store.uuid, 1, "secret"))
    store.remember_epoch(4)
    with contextlib.suppress(StaleGeneration):  # in a second life, NEW is there already
        put(store, diary, OLD)
    put(store, diary, PART)
    put(store, diary, STREAM, is_stream=True)
    put(store, diary, ROTTEN)
    put(store, diary, NEW)
    delete(store, diary, OLD)
    rot(store, diary, folder, ROTTEN)
    put(store, diary, ROTTEN)
    put(store, diary, STREAM)  # a retry
    delete(store, diary, PART)
    with store.begin(a_name(9, 9, 9, 0), path="/x", length_max=9, length=9):
        pass  # abandoned
    clock.advance(CONFIG.purge_keep_s + 1)
    store.purge_expired()
    store.close()


def judge(folder: Path, diary: Diary) -> None:
    """Open what is left and hold it against the diary; then live on to the end."""
    store = open_store(folder, ManualClock())
    assert os.listdir(folder / "tmp") == [], "tmp is not empty"  # noqa: PTH208
    entries = {entry.name: entry for entry in store.stock(after=None, limit=100)}
    readable = {name for name, entry in entries.items() if entry.state in READABLE}
    words = diary.last()
    for name, word in words.items():
        if word == "put":
            assert name in readable, f"acknowledged {name} is gone"
        if word == "deleted":
            assert name not in entries, f"deleted {name} is back"
        if word == "rotting":
            assert name not in readable or _flaw(store, name) in ("", "corrupt")
            readable.discard(name)
    for name in readable:
        assert _flaw(store, name) == "", f"{name} is served and not intact"
    files = set((folder / "blocks").glob("*/*/*"))
    held = [e for e in store.stock(after=None, limit=100) if e.state in READABLE]
    assert files == {Layout(folder).block(entry.name) for entry in held}
    store.close()
    if words:
        live(folder, diary)
        _judge_the_end(folder)


def _judge_the_end(folder: Path) -> None:
    store = open_store(folder, ManualClock())
    assert store.epoch == 4
    assert {entry.name for entry in store.stock(after=None, limit=100)} == {NEW, STREAM, ROTTEN}
    for name in (NEW, STREAM, ROTTEN):
        assert _flaw(store, name) == ""
    store.close()


def _flaw(store: BlockStore, name: BlockName) -> str:
    try:
        data = b"".join(piece.data for piece in store.read(name, []))
    except BlockCorrupt:
        return "corrupt"
    return "" if data == content(name) else "wrong bytes"


def sweep(
    root: Path,
    hits: int,
    act: Callable[[Path, Diary], None],
    before: Path | None,
    hold: Callable[[Path, Diary], None] | None = None,
) -> tuple[list[str], list[str]]:
    """Die at every point that `act` passes, each time on a fresh copy of `before`."""

    def prepare(label: str) -> tuple[Path, Diary]:
        folder, diary = root / label / "disk", root / label / "diary"
        folder.parent.mkdir(parents=True)
        if before is not None:
            shutil.copytree(before / "disk", folder)
            shutil.copy(before / "diary", diary)
        return folder, Diary(diary)

    log = root / "passed"
    folder, diary = prepare("golden")
    assert in_child(lambda: act(folder, diary), {"DFS_CRASHPOINT_LOG": str(log)}) == 0
    points, broken = passed(log, hits), []
    for point in points:
        folder, diary = prepare(point)
        died = in_child(partial(act, folder, diary), {"DFS_CRASHPOINT": point})
        if died != crashpoint.CRASH_EXIT_CODE:
            broken.append(f"{point}: did not die ({died})")
        elif in_child(partial(hold or judge, folder, diary), {}) != 0:
            broken.append(f"{point}: a promise is broken")
        shutil.rmtree(folder.parent)
    return points, broken


def make_a_mess(folder: Path, diary: Diary) -> None:
    """A stop with something for every step of recovery to do."""
    store = open_store(folder, ManualClock())
    store.adopt(NodeIdentity("c" * 32, store.uuid, 1, "secret"))
    store.remember_epoch(4)
    for name in (OLD, PART, STREAM, ROTTEN):
        put(store, diary, name)
    catalog = store._volumes[0].catalog
    catalog.forget(STREAM)
    diary.note("deleting", PART)
    catalog.set_state(PART, StoredState.DELETING)
    diary.note("rotting", ROTTEN)
    with Layout(folder).block(ROTTEN).open("ab") as file:
        file.write(b"x")
    (folder / "tmp" / "x.part").write_bytes(b"x")
    (folder / "blocks" / "00" / "stray").write_bytes(b"x")
    store.close(clean=False)


def recover(folder: Path, _diary: Diary) -> None:
    open_store(folder, ManualClock()).close()


def main(root: Path, hits: int) -> None:
    points, broken = sweep(root / "life", hits, live, None)
    mess = root / "mess"
    mess.mkdir()
    assert in_child(lambda: make_a_mess(mess / "disk", Diary(mess / "diary")), {}) == 0
    more, broken_too = sweep(root / "recovery", hits, recover, mess)
    print(json.dumps({"points": points + more, "broken": broken + broken_too}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
