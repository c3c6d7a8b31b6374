"""A client in a storm: it changes files of a directory of its own, and knows what may be there.

It writes files alone and by trees, of which the small ones share blocks; it reads them alone, by
trees and in bulk; each time over the sockets of DataNodes of this computer or over the network, as
the seed has it.
"""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from dfs.base.entropy import Random
from dfs.base.errors import DfsError, ErrorKind
from dfs.client import DfsClient, GetOptions, PutOptions
from tests.cluster_rig import KIB, RigCluster

NAMES = tuple("abcdefghijkl")
SIZES = (0, 1, 3 * KIB, 20 * KIB, 64 * KIB, 150 * KIB)
TREE_FILES = 5
VERBS = {
    "write": 3,
    "put_tree": 3,
    "read": 2,
    "read_many": 1,
    "get_tree": 1,
    "erase": 2,
    "remove": 1,
    "setrep": 2,
}


def content(path: str, number: int) -> bytes:
    """What the write of that number puts there: bytes of no other."""
    rng = Random(f"{path} {number}")
    return rng.randbytes(SIZES[rng.randrange(len(SIZES))])


class Writer:
    """One thread that changes files in a directory of its own, and what may be read there.

    `may` has for each path the numbers of writes that may be its content, -1 for no file.
    """

    def __init__(self, cluster: RigCluster, number: int, seed: str) -> None:
        self.directory = f"/fuzz{number}"
        self.may: dict[str, set[int]] = {f"{self.directory}/{name}": {-1} for name in NAMES}
        self.done = self.refused = 0
        self.wrong: list[str] = []
        self._rng = Random(f"{seed} writer {number}")
        self._cluster = cluster
        self._scratch = cluster.root / f"writer-{number}"
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"writer {number}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way."""
        self._stop.set()

    def join(self, within_s: float = 60) -> None:
        """Wait for the end."""
        self._thread.join(within_s)
        if self._thread.is_alive():
            self.wrong.append(f"{self.directory}: a call of the client hangs")

    def check_at_last(self) -> None:
        """Read everything in every way, where a refusal is wrong, too."""
        for local_transfers in (True, False):
            with self._cluster.client(local_transfers=local_transfers) as client:
                try:
                    for path in self.may:
                        self._read(client, path)
                    self._read_many(client, sorted(self.may))
                    self._get_tree(client)
                except DfsError as err:
                    self.wrong.append(f"{self.directory}: {err.code}: {err.message}")

    def _run(self) -> None:
        try:
            with (
                self._cluster.client(local_transfers=True) as near,
                self._cluster.client(local_transfers=False) as far,
            ):
                while not self._stop.is_set():
                    self._act(self._rng.choice((near, far)))
        except Exception as exc:  # noqa: BLE001 - the test says it
            self.wrong.append(f"{self.directory}: {exc!r}")

    def _act(self, client: DfsClient) -> None:
        path = self._rng.choice(sorted(self.may))
        verb = self._rng.choice([verb for verb, weight in VERBS.items() for _ in range(weight)])
        try:
            match verb:
                case "write":
                    self._write(client, path)
                case "put_tree":
                    self._put_tree(client)
                case "read":
                    self._read(client, path)
                case "read_many":
                    self._read_many(client, self._rng.sample(sorted(self.may), TREE_FILES))
                case "get_tree":
                    self._get_tree(client)
                case "setrep":
                    client.setrep(path, self._rng.choice((2, 2, 3, 3, 4)))
                case _:
                    self._remove(client, path, skip_trash=verb == "erase")
            self.done += 1
        except DfsError:
            self.refused += 1
            self._stop.wait(0.05)

    # ---- changes

    def _next(self, path: str) -> bytes:
        """The content of the next write, which may be there from now on."""
        self._count += 1
        self.may[path].add(self._count)
        return content(path, self._count)

    def _write(self, client: DfsClient, path: str) -> None:
        client.write_bytes(path, self._next(path))
        self.may[path] = {self._count}

    def _put_tree(self, client: DfsClient) -> None:
        tree = self._emptied("tree")
        numbers: dict[str, int] = {}
        for path in self._rng.sample(sorted(self.may), TREE_FILES):
            (tree / path.rpartition("/")[2]).write_bytes(self._next(path))
            numbers[path] = self._count
        options = PutOptions(recursive=True, overwrite=True)
        report = client.put([f"{tree}/."], self.directory, options=options)
        failed = {Path(path).name for path, _why in report.failed}
        for path, number in numbers.items():
            if path.rpartition("/")[2] not in failed:
                self.may[path] = {number}
        if report.failed:
            raise report.failed[0][1]

    def _remove(self, client: DfsClient, path: str, *, skip_trash: bool) -> None:
        self.may[path].add(-1)
        try:
            client.remove(path, skip_trash=skip_trash)
        except DfsError as err:
            if err.kind is ErrorKind.NOT_FOUND:
                self.may[path] = {-1}
            raise
        self.may[path] = {-1}

    # ---- reads

    def _read(self, client: DfsClient, path: str) -> None:
        try:
            found: bytes | DfsError = client.read_bytes(path)
        except DfsError as err:
            found = err
        self._hold({path: found})

    def _read_many(self, client: DfsClient, paths: list[str]) -> None:
        found = dict(client.read_many(paths))
        if found.keys() != set(paths):
            self.wrong.append(f"{self.directory}: of {paths} came {sorted(found)}")
        self._hold(found)

    def _get_tree(self, client: DfsClient) -> None:
        """What is there, into an empty folder: what did not come and did not fail is not there."""
        back = self._emptied("back")
        options = GetOptions(recursive=True, overwrite=True)
        report = client.get([f"{self.directory}"], back, options=options)
        top = (
            back / self.directory.strip("/")
            if (back / self.directory.strip("/")).is_dir()
            else back
        )
        self._hold({f"{self.directory}/{file.name}": file.read_bytes() for file in top.iterdir()})
        if report.failed:
            raise report.failed[0][1]
        for path, allowed in self.may.items():
            if not (top / path.rpartition("/")[2]).exists() and -1 not in allowed:
                self.wrong.append(f"{path}: is not in the tree, {allowed} may be there")

    def _hold(self, found: Mapping[str, bytes | DfsError]) -> None:
        """Hold what came against what may be there.

        Raises:
            DfsError: something was refused that may be there.
        """
        for path, data in found.items():
            may = self.may[path]
            if isinstance(data, DfsError):
                if data.kind is not ErrorKind.NOT_FOUND:
                    raise data
                if -1 not in may:
                    self.wrong.append(f"{path}: gone, {may} may be there ({data.message})")
            elif not any(number >= 0 and data == content(path, number) for number in may):
                self.wrong.append(f"{path}: {len(data)} bytes that nobody wrote")

    def _emptied(self, name: str) -> Path:
        folder = self._scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder
