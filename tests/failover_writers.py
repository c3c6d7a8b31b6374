"""Clients that use a cluster while something bad happens, and note what they are told.

Eight of them at once write, create, add, remove, read and list the same few paths below one folder.
What a client is told, or that it was told nothing, goes into a history as `history_checker.py`
judges it.  Nothing that the cluster refuses or fails to answer ends a client; a bug of ours does.

As a program: `python -m tests.failover_writers --namenode URL,URL --out FILE --seconds N --seed S`.
It notes a change before asking for it, so a history outlives its clients however they end.  The
session is that of the environment, as for `dfs`; with `--user`, it logs in by the password that is
read from standard input.  With `--look`, nothing is changed: what `FILE` tells of is read once
more, which is noted in it, and what was lost is printed.
"""

import argparse
import contextlib
import hashlib
import itertools
import os
import signal
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from dfs.base.clock import SystemClock
from dfs.base.entropy import Random
from dfs.base.errors import BeingWritten, DfsError, PathExists, PathNotFound
from dfs.client import DfsClient, connect
from dfs.settings.read import read_config
from dfs.settings.sections import Config
from tests.histories import Answer, Operation, Verb, from_lines, to_line

CLIENTS: Final = 8
ATTRIBUTES, CONTENTS, CREATED, FOLDERS = 3, 4, 6, 20
NAMES_PER_FOLDER: Final = 100  # then the next one is filled: a listing stays short
SIZES: Final = (0, 30, 3_000, 70_000)  # bytes after the value; the last takes two small blocks
_RESTS_S: Final = 0.05  # after an operation that had no answer: the next one would have none either
_LOOKS_S = 0.2

Note = Callable[[Operation], None]
Connect = Callable[[], DfsClient]


def content(value: str) -> bytes:
    """What a file holds that was written with this value, and no other file does."""
    seed = hashlib.blake2b(value.encode()).digest()
    return value.encode() + b"\n" + Random(seed).randbytes(SIZES[seed[0] % len(SIZES)])


def value_in(data: bytes) -> str:
    """The value that a file was written with; of bytes that nobody wrote, one that nobody has."""
    value = data.partition(b"\n")[0].decode(errors="replace")
    return value if content(value) == data else f"spoilt {hashlib.blake2b(data).hexdigest()[:16]}"


class Layout:
    """Where below a folder what is done."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.attributes = [f"{root}/attributes/{n}" for n in range(ATTRIBUTES)]
        self.contents = [f"{root}/contents/{n}" for n in range(CONTENTS)]
        self.directories = [f"{root}/directories/{n}" for n in range(CREATED)]
        self.files = [f"{root}/files/{n}" for n in range(CREATED)]
        self.folders = [f"{root}/names-{n}" for n in range(FOLDERS)]

    @property
    def listed(self) -> list[str]:
        """Every folder whose names are judged."""
        return [f"{self.root}/directories", f"{self.root}/files", *self.folders]

    def prepare(self, client: DfsClient, note: Note) -> None:
        """Make the folders and the files that have attributes, before anything bad happens.

        Raises:
            DfsError: that was refused.
        """
        parents = [f"{self.root}/{name}" for name in ("attributes", "contents")]
        for made in client.mkdir_all([*parents, *self.listed]):
            if isinstance(made, DfsError):
                raise made
        for number, path in enumerate(self.attributes):
            client.write_bytes(path, b"")
            Asking(client, number=-1, note=note).set_time(path, number + 1)


class Asking:
    """One client asks one thing after another, and notes what it is told."""

    def __init__(self, client: DfsClient, *, number: int, note: Note, early: bool = False) -> None:
        self._client = client
        self._number = number
        self._note = note
        self._early = early
        self._clock = SystemClock()

    def set_time(self, path: str, modified_ms: int) -> bool:
        """A register: no two of them set the same."""
        return self._change(
            Verb.WRITE, path, str(modified_ms), lambda: self._client.touch(path, modified_ms)
        )

    def time_of(self, path: str) -> bool:
        """Read what `set_time` wrote."""
        return self._look(Verb.READ, path, lambda: str(self._client.stat(path).modified_ms))

    def write(self, path: str, value: str) -> bool:
        """A register again, made of blocks."""
        return self._change(
            Verb.WRITE, path, value, lambda: self._client.write_bytes(path, content(value))
        )

    def read(self, path: str) -> bool:
        """Read what `write` wrote."""
        return self._look(Verb.READ, path, lambda: value_in(self._client.read_bytes(path)))

    def make(self, path: str) -> bool:
        """A directory, where nothing is."""
        return self._change(Verb.CREATE, path, None, lambda: self._client.mkdir(path))

    def create(self, path: str, value: str) -> bool:
        """A file, where nothing is."""
        data = content(value)
        act = lambda: self._client.write_bytes(path, data, overwrite=False)  # noqa: E731
        return self._change(Verb.CREATE, path, value, act)

    def add(self, path: str, value: str) -> bool:
        """A file of a new name."""
        return self._change(
            Verb.ADD, path, value, lambda: self._client.write_bytes(path, content(value))
        )

    def remove(self, path: str) -> bool:
        """A file, or a directory."""
        act = lambda: self._client.remove(path, recursive=True, skip_trash=True)  # noqa: E731
        return self._change(Verb.REMOVE, path, None, act)

    def list(self, folder: str) -> bool:
        """The names in it."""
        return self._look(
            Verb.LIST,
            folder,
            lambda: frozenset(
                each.path.rpartition("/")[2] for each in self._client.listdir(folder)
            ),
        )

    def _change(self, verb: Verb, path: str, value: str | None, act: Callable[[], object]) -> bool:
        """Do it, and note it; whether there was an answer."""
        begun = self._begun(verb, path, value)
        if self._early:
            self._note(begun)
        answer = Answer.OK
        try:
            act()
        except DfsError as exc:
            answer = _answer(verb, exc)
        end_s = None if answer is Answer.UNKNOWN else self._clock.monotonic_s()
        self._note(replace(begun, answer=answer, end_s=end_s))
        return answer is not Answer.UNKNOWN

    def _look(self, verb: Verb, path: str, act: Callable[[], str | frozenset[str]]) -> bool:
        """As `_change`; what nobody answered shows nothing, and is not noted."""
        begun = self._begun(verb, path, None)
        seen: str | frozenset[str] | None = None
        try:
            seen = act()
        except PathNotFound:
            if verb is Verb.LIST:
                raise  # it was made before the clients began
        except DfsError:
            return False
        told = Answer.MISSING if seen is None else Answer.OK
        done = replace(begun, answer=told, end_s=self._clock.monotonic_s())
        if isinstance(seen, frozenset):
            self._note(replace(done, names=seen))
        else:
            self._note(replace(done, value=seen))
        return True

    def _begun(self, verb: Verb, path: str, value: str | None) -> Operation:
        return Operation(
            client=self._number,
            verb=verb,
            path=path,
            begin_s=self._clock.monotonic_s(),
            answer=Answer.UNKNOWN,
            value=value,
        )


def _answer(verb: Verb, exc: DfsError) -> Answer:
    """What is certain after a refusal; most leave open what took effect before the last attempt."""
    if isinstance(exc, PathExists) and verb is Verb.CREATE:
        return Answer.EXISTS
    if isinstance(exc, PathNotFound) and verb is Verb.REMOVE:
        return Answer.MISSING
    # Said when a file is begun, so there never was one to complete.
    return Answer.REFUSED if isinstance(exc, BeingWritten) else Answer.UNKNOWN


class Workload:
    """What the clients do, by chance and at once."""

    def __init__(self, connect_one: Connect, *, root: str, seed: int, note: Note) -> None:
        self.layout = Layout(root)
        self._connect = connect_one
        self._seed = seed
        self._note = note
        self._values = itertools.count(1_000)
        self._names = itertools.count()
        self._added = -1

    def prepare(self) -> None:
        """Before anything bad happens.

        Raises:
            DfsError: the cluster does not do it.
        """
        with self._connect() as client:
            self.layout.prepare(client, self._note)

    def run(self, stop: threading.Event, *, clients: int = CLIENTS, early: bool = False) -> None:
        """Until it is told to stop, and each client had its last answer or gave up.

        Args:
            early: note changes before they are asked for, too.
        """
        with ThreadPoolExecutor(clients, "dfs-writer") as pool:
            running = [pool.submit(self._run_one, n, stop, early=early) for n in range(clients)]
            for each in running:
                each.add_done_callback(lambda done: stop.set() if done.exception() else None)
            while not stop.wait(_LOOKS_S):
                pass  # a signal that another thread got wakes nobody who waits for good
        for each in running:
            each.result()  # raises what is a bug of ours

    def settle(self) -> None:
        """Look at everything once more, when nothing bad happens any more.

        Raises:
            AssertionError: something cannot be read, or listed.
        """
        with self._connect() as client:
            asking = Asking(client, number=-2, note=self._note)
            for path in self.layout.attributes:
                assert asking.time_of(path), path
            for path in self.layout.contents:
                assert asking.read(path), path
            for folder in self.layout.listed:
                assert asking.list(folder), folder

    def _run_one(self, number: int, stop: threading.Event, *, early: bool) -> None:
        rng = Random(f"{self._seed} {number}")
        with self._connect() as client:
            asking = Asking(client, number=number, note=self._note, early=early)
            while not stop.is_set():
                if not self._one(asking, rng):
                    stop.wait(_RESTS_S)

    def _one(self, asking: Asking, rng: Random) -> bool:
        at = self.layout
        acts: list[Callable[[], bool]] = [
            lambda: asking.set_time(rng.choice(at.attributes), next(self._values)),
            lambda: asking.time_of(rng.choice(at.attributes)),
            lambda: asking.write(rng.choice(at.contents), self._value()),
            lambda: asking.read(rng.choice(at.contents)),
            lambda: asking.make(rng.choice(at.directories)),
            lambda: asking.remove(rng.choice([*at.directories, *at.files])),
            lambda: asking.create(rng.choice(at.files), self._value()),
            lambda: self._add(asking),
            lambda: asking.list(rng.choice(at.listed[:2])),
            lambda: asking.list(self._folder(max(0, self._added - rng.randrange(120)))),
            lambda: asking.remove(self._name(rng.randrange(self._added + 2))),
        ]
        return rng.choices(acts, weights=[3, 3, 2, 3, 3, 3, 2, 4, 2, 3, 1])[0]()

    def _value(self) -> str:
        return f"{self._seed}-{next(self._values)}"

    def _add(self, asking: Asking) -> bool:
        number = next(self._names)
        self._added = max(number, self._added)
        return asking.add(self._name(number), self._value())

    def _name(self, number: int) -> str:
        return f"{self._folder(number)}/{number}"

    def _folder(self, number: int) -> str:
        return self.layout.folders[number // NAMES_PER_FOLDER % FOLDERS]


def lost_files(client: DfsClient, history: Iterable[Operation]) -> list[str]:
    """In words: each file that was acknowledged, may not have been removed, and is not as written.

    The registers are read by `Workload.settle`.

    Raises:
        DfsError: the NameNode does not answer.
    """
    written: dict[str, list[Operation]] = defaultdict(list)
    removed: set[str] = set()
    for one in history:
        if one.verb in (Verb.ADD, Verb.CREATE) and one.value is not None:
            if one.answer in (Answer.OK, Answer.UNKNOWN):
                written[one.path].append(one)
        elif one.verb is Verb.REMOVE and one.answer in (Answer.OK, Answer.UNKNOWN):
            removed.add(one.path)
    told = {path for path, some in written.items() if any(o.answer is Answer.OK for o in some)}
    complaints: list[str] = []
    for path, data in client.read_many(sorted(written)):
        if isinstance(data, PathNotFound) and (path in removed or path not in told):
            continue
        if isinstance(data, DfsError):
            complaints.append(f"{path}: {data.code}: {data}")
        elif value_in(data) not in {one.value for one in written[path]}:
            complaints.append(f"{path}: holds {value_in(data)}, which nobody wrote there")
    return complaints


def count_by_answer(history: Iterable[Operation]) -> Counter[tuple[Verb, Answer]]:
    """How many of which: a history in which nothing was done proves nothing."""
    return Counter((one.verb, one.answer) for one in history)


class Diary:
    """A history as lines in a file, and as values.  Safe to share between threads."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, operation: Operation) -> None:
        """One line, in one write."""
        os.write(self._fd, to_line(operation))

    def close(self) -> None:
        """No more lines."""
        os.close(self._fd)


def main(words: Sequence[str]) -> None:
    """The program.  SIGTERM ends it early, and in order."""
    parser = argparse.ArgumentParser(prog="tests.failover_writers")
    parser.add_argument("--namenode", default="", help="URLs; those of the settings when not given")
    parser.add_argument("--user", default="", help="log in; the password is on standard input")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--look", action="store_true", help="say what was lost")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--root", default="/failover")
    parser.add_argument(
        "--give-up", type=float, default=5.0, help="seconds until no answer is none"
    )
    args = parser.parse_args(words)
    config = impatient(read_config(file=None, environment=os.environ), give_up_s=args.give_up)
    token = None
    if args.user:
        with connect(args.namenode or None, config=config, environment={}) as client:
            token = client.login(args.user, sys.stdin.readline().rstrip("\n")).token

    def connect_one() -> DfsClient:
        return connect(args.namenode or None, config=config, token=token, environment=os.environ)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with contextlib.closing(Diary(args.out)) as diary:
        work = Workload(connect_one, root=args.root, seed=args.seed, note=diary.note)
        if args.look:
            _look(work, connect_one, args.out)
            return
        work.prepare()
        print("ready", flush=True)
        ending = threading.Timer(args.seconds, stop.set)
        ending.start()
        try:
            work.run(stop, clients=args.clients, early=True)
        finally:
            ending.cancel()


def _look(work: Workload, connect_one: Connect, diary: Path) -> None:
    with diary.open("rb") as lines:
        history = from_lines(lines)
    work.settle()
    with connect_one() as client:
        for complaint in lost_files(client, history):
            print(complaint, flush=True)


def impatient(config: Config, *, give_up_s: float) -> Config:
    """Those settings for clients that give up soon, so that more is asked while nobody answers."""
    own = replace(
        config.client,
        give_up_s=give_up_s,
        transfer_give_up_s=give_up_s,
        timeout_s=give_up_s,
        stall_s=give_up_s,
    )
    return replace(config, client=own)


if __name__ == "__main__":
    main(sys.argv[1:])
