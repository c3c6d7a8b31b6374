"""A client that changes files until it is killed, and what its diary says may be there.

A program of its own: `python -m tests.e2e.kill_writer REMOTE DIARY SEED LOCAL_TRANSFERS`.  Every
operation is noted before it is asked for and after it was answered, so what a killed or refused one
did is either all or nothing: the diary allows a set of worlds, and what can be read must be one of
them.  A tree that was put is all or nothing file by file.
"""

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from dfs.base.entropy import Random
from dfs.base.errors import DataUnavailable, DfsError, ErrorKind
from dfs.client import DfsClient, PutOptions, connect
from dfs.settings.read import read_config

NAMES = tuple("abcdefgh")
SIZES = (0, 1, 3_000, (64 << 10) - 1, 64 << 10, 150_000)
WORLDS_MAX = 4_096
REFUSED = (ErrorKind.NOT_FOUND, ErrorKind.CONFLICT)

# (name, the operation that wrote its content; negative for the second file it wrote)
World = frozenset[tuple[str, int]]


def content(remote: str, number: int) -> bytes:
    """What operation `number` writes: bytes of no other."""
    seed = hashlib.blake2b(f"{remote} {number}".encode()).digest()
    return Random(seed).randbytes(SIZES[seed[0] % len(SIZES)])


def act(
    client: DfsClient, remote: str, number: int, verb: str, names: Sequence[str], scratch: Path
) -> None:
    """Carry out one operation; `scratch` is an empty local folder."""
    paths = [f"{remote}/{name}" for name in names]
    match verb:
        case "write":
            client.write_bytes(paths[0], content(remote, number))
        case "stream":
            data = io.BytesIO(content(remote, number))
            client.put_stream(data, paths[0], options=PutOptions(overwrite=True))
        case "tree":
            for name, written in zip(names, (number, -number), strict=True):
                (scratch / name).write_bytes(content(remote, written))
            options = PutOptions(recursive=True, overwrite=True)
            report = client.put([f"{scratch}/."], remote, options=options)
            if not report.ok:
                raise DataUnavailable(f"put in part: {report.failed[:2]}")
        case "move":
            client.move(paths[0], paths[1], overwrite=True)
        case "copy":
            client.copy(paths[0], paths[1], overwrite=True)
        case _:
            client.remove(paths[0], skip_trash=verb == "erase")


def after(world: World, number: int, verb: str, names: Sequence[str]) -> World | None:
    """The world when it was done; None where it cannot be done."""
    files = dict(world)
    if verb in ("write", "stream"):
        files[names[0]] = number
        return frozenset(files.items())
    if verb == "tree":
        files.update(zip(names, (number, -number), strict=True))
        return frozenset(files.items())
    if names[0] not in files:
        return None
    if verb == "copy":
        files[names[1]] = files[names[0]]
    elif verb == "move":
        files[names[1]] = files.pop(names[0])
    else:
        del files[names[0]]
    return frozenset(files.items())


def in_part(world: World, number: int, verb: str, names: Sequence[str]) -> set[World]:
    """The worlds when only some of it was done."""
    if verb != "tree":
        return set()
    alone = zip(names, (number, -number), strict=True)
    return {after(world, written, "write", [name]) or world for name, written in alone}


def worlds(diary: Path) -> set[World]:
    """Every world that the diary allows.

    Raises:
        AssertionError: an answer was given that no world allows.
    """
    possible: set[World] = {frozenset()}
    for number, verb, names, answer in _told(diary):
        done = {after(world, number, verb, names) for world in possible}
        ended = {world for world in done if world is not None}
        match answer:
            case "done":
                possible = ended
            case "not_found":
                possible = {w for w in possible if after(w, number, verb, names) is None}
            case "conflict":
                pass
            case _:
                partly = (in_part(world, number, verb, names) for world in possible)
                possible = possible.union(ended, *partly)
        assert possible, f"{diary.name}: operation {number} {verb} {names} was answered {answer}"
        assert len(possible) <= WORLDS_MAX, "too much is unknown"
    return possible


def count_done(diary: Path) -> int:
    """How many operations were acknowledged."""
    return sum(answer == "done" for *_, answer in _told(diary))


def _told(diary: Path) -> Iterable[tuple[int, str, list[str], str]]:
    """Each operation with its answer; empty when there was none."""
    begun: dict[int, tuple[str, list[str]]] = {}
    answers: dict[int, str] = {}
    for line in diary.read_text().splitlines():
        try:
            number, *rest = json.loads(line)
        except ValueError:
            continue  # cut by a kill: the note before the operation, or after it
        if len(rest) == 2:
            begun[number] = rest[0], rest[1]
        else:
            answers[number] = rest[0]
    for number, (verb, names) in begun.items():
        yield number, verb, names, answers.get(number, "")


def write_on(client: DfsClient, remote: str, diary: Path, rng: Random) -> None:
    """Operation after operation, until killed."""
    number = 1 + (len(diary.read_text().splitlines()) if diary.exists() else 0)
    scratch = diary.with_suffix(".tree")
    scratch.mkdir(exist_ok=True)
    client.mkdir(remote, parents=True)
    fd = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        verbs = ["write", "write", "tree", "tree", "stream", "move", "copy", "remove", "erase"]
        verb, names = rng.choice(verbs), rng.sample(NAMES, 2)
        for left in scratch.iterdir():
            left.unlink()
        os.write(fd, b"\n" + json.dumps([number, verb, names]).encode() + b"\n")
        try:
            act(client, remote, number, verb, names, scratch)
            answer = "done"
        except DfsError as exc:
            answer = str(exc.kind) if exc.kind in REFUSED else f"unknown: {exc}"
        os.write(fd, b"\n" + json.dumps([number, answer]).encode() + b"\n")
        number += 1


def main(words: Sequence[str]) -> None:
    """The program."""
    remote, diary, seed, local_transfers = words
    config = read_config(file=None, environment=os.environ)
    own = replace(config.client, local_transfers=local_transfers == "on")
    with connect(config=replace(config, client=own), environment=os.environ) as client:
        write_on(client, remote, Path(diary), Random(seed))


if __name__ == "__main__":
    main(sys.argv[1:])
