"""What one client does to files of every sort, and what may be seen of it at any moment.

Told in this process, or as a program of its own that may be ended at a crash point
(`python -m tests.e2e.sweep_story REMOTE LOCAL DIARY`).  Every step is one that a client repeats
after an end of its own: told a second time, the story ends the same.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dfs.base import crashpoint
from dfs.base.errors import BeingWritten, PathNotFound
from dfs.client import DfsClient, GetOptions, PutOptions, TransferReport, connect

BLOCK = 64 << 10
LEASE_WITHIN_S = 20.0


def content(label: str, size: int) -> bytes:
    """Bytes that no other label has."""
    return (label.encode() + b"|%d|" % size) * (size // (len(label) + 3) + 1) if size else b""


def cut(label: str, size: int) -> bytes:
    return content(label, size)[:size]


class Story:
    """The story in one remote directory.

    Args:
        diary: where the steps that were answered are noted, kept outside of what is tested.
    """

    def __init__(self, remote: str, local: Path, diary: Path) -> None:
        self.remote, self.local, self.diary = remote, local, diary
        self.old = cut(f"{remote} old", BLOCK + 9)
        self.new = cut(f"{remote} new", BLOCK - 1)
        self.moved = cut(f"{remote} from", 700)
        self.under = cut(f"{remote} under", 70)
        self.streamed = cut(f"{remote} stream", BLOCK + 1)
        self.tree = {
            "tree/empty": b"",
            "tree/deep/small": cut(f"{remote} small", 5_000),
            "tree/multi": cut(f"{remote} multi", 2 * BLOCK + 1),
        }
        self.packed = {
            "packed/empty": b"",
            "packed/one": cut(f"{remote} one", 300),
            "packed/sub/two": cut(f"{remote} two", 9_000),
        }

    def steps(self, client: DfsClient) -> list[tuple[str, Callable[[], object]]]:
        """In order; each is acknowledged by returning."""
        return [
            ("tree", lambda: self._put_tree(client)),
            ("packed", lambda: self._put_packed(client)),
            ("overwrite", lambda: self._overwrite(client)),
            ("move", lambda: self._move(client)),
            ("copy", lambda: client.copy(self._at("new"), self._at("copy"), overwrite=True)),
            ("remove", lambda: self._remove(client, "doomed", skip_trash=False)),
            ("erase", lambda: self._remove(client, "gone", skip_trash=True)),
            ("stream", lambda: self._stream(client)),
            ("get", lambda: self._get(client)),
        ]

    def prepare(self, client: DfsClient) -> None:
        """What is there before: all of it acknowledged."""
        self.local.mkdir(parents=True)
        for name, data in (*self.tree.items(), *self.packed.items(), ("new", self.new)):
            (self.local / name).parent.mkdir(parents=True, exist_ok=True)
            (self.local / name).write_bytes(data)
        client.mkdir(self.remote, parents=True)
        for name, data in self.before().items():
            client.write_bytes(self._at(name), data)

    def before(self) -> dict[str, bytes]:
        """The files there were."""
        doomed, gone = cut(f"{self.remote} doomed", BLOCK + 2), cut(f"{self.remote} gone", 900)
        return {
            "new": self.old,
            "from": self.moved,
            "under": self.under,
            "doomed": doomed,
            "gone": gone,
        }

    def after(self) -> dict[str, bytes]:
        """The files there are at the end."""
        kept = {"new": self.new, "copy": self.new, "under": self.moved, "stream": self.streamed}
        return kept | self.tree | self.packed

    def tell(self, client: DfsClient) -> None:
        """Do the steps that the diary does not know as done."""
        known = self.done()
        for name, act in self.steps(client):
            if name not in known:
                _patiently(act)
                with self.diary.open("a") as out:
                    out.write(name + "\n")

    def done(self) -> set[str]:
        """The steps that were acknowledged."""
        return set(self.diary.read_text().split()) if self.diary.exists() else set()

    def allowed(self) -> dict[str, set[bytes | None]]:
        """What may be read at each path now: an acknowledged step is done, another is or is not."""
        done, before, after = self.done(), self.before(), self.after()
        step_of = {
            "new": "overwrite",
            "from": "move",
            "under": "move",
            "copy": "copy",
            "doomed": "remove",
            "gone": "erase",
            "stream": "stream",
            **dict.fromkeys(self.packed, "packed"),
        }
        found: dict[str, set[bytes | None]] = {}
        for name in before.keys() | after.keys():
            found[name] = {after.get(name)}
            if step_of.get(name, "tree") not in done:
                found[name].add(before.get(name))
        return found

    def judge(self, client: DfsClient) -> None:
        """Hold what can be read against what may be."""
        for name, allowed in self.allowed().items():
            path, found = self._at(name), None
            with contextlib.suppress(PathNotFound):
                found = client.read_bytes(path)
            assert found in allowed, f"{path}: {_sketch(found)}, not {[*map(_sketch, allowed)]}"
            assert client.exists(path) == (found is not None), path

    def _put_tree(self, client: DfsClient) -> None:
        options = PutOptions(recursive=True, overwrite=True, block_size_bytes=BLOCK)
        _check(client.put([self.local / "tree"], f"{self.remote}/", options=options))

    def _put_packed(self, client: DfsClient) -> None:
        options = PutOptions(recursive=True, overwrite=True)
        _check(client.put([self.local / "packed"], f"{self.remote}/", options=options))

    def _overwrite(self, client: DfsClient) -> None:
        options = PutOptions(overwrite=True, block_size_bytes=BLOCK)
        _check(client.put([self.local / "new"], self._at("new"), options=options))

    def _move(self, client: DfsClient) -> None:
        """Over a file that is there; done before when the source is gone."""
        with contextlib.suppress(PathNotFound):
            client.move(self._at("from"), self._at("under"), overwrite=True)

    def _remove(self, client: DfsClient, name: str, *, skip_trash: bool) -> None:
        with contextlib.suppress(PathNotFound):
            client.remove(self._at(name), skip_trash=skip_trash)

    def _stream(self, client: DfsClient) -> None:
        options = PutOptions(overwrite=True, block_size_bytes=BLOCK)
        client.put_stream(io.BytesIO(self.streamed), self._at("stream"), options=options)

    def _get(self, client: DfsClient) -> None:
        out = self.local / "out"
        out.mkdir(exist_ok=True)
        options = GetOptions(recursive=True, overwrite=True)
        _check(client.get([self._at("tree"), self._at("packed")], out, options=options))
        for name, data in (self.tree | self.packed).items():
            assert (out / name).read_bytes() == data, f"{name} came back otherwise"

    def _at(self, name: str) -> str:
        return f"{self.remote}/{name}"


def _patiently(act: Callable[[], object]) -> None:
    """A client that died holds its paths until the soft limit of their leases."""
    deadline = time.monotonic() + LEASE_WITHIN_S
    while True:
        try:
            act()
        except BeingWritten:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _check(report: TransferReport) -> None:
    if report.failed:
        raise report.failed[0][1]


def _sketch(data: bytes | None) -> str:
    return "absent" if data is None else f"{len(data)} bytes of {data[:24]!r}"


def main(words: Sequence[str]) -> None:
    """Tell it as the program of a client that may die."""
    crashpoint.arm(os.environ)
    remote, local, diary = words
    with connect(environment=os.environ) as client:
        Story(remote, Path(local), Path(diary)).tell(client)


if __name__ == "__main__":
    main(sys.argv[1:])
