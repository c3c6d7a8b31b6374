"""GlusterFS, from Debian's packages: one glusterd, three bricks, three copies, its FUSE mount.

Three copies, because with two it warns of split brain at every turn and nobody runs it so.
"""

import os
from pathlib import Path

from bench.commands import run
from bench.peers.system import Daemons, Mounted, Place, Unavailable, first_line, unmount

HOST = "127.0.0.2"  # it refuses 127.0.0.1 and localhost for bricks
BRICKS = 3
VOLUME = "bench"
SETTINGS = """\
volume management
    type mgmt/glusterd
    option working-directory {folder}
    option transport-type socket
    option transport.socket.bind-address {host}
    option ping-timeout 0
end-volume
"""


class GlusterFS(Mounted):
    """See the module."""

    name = "GlusterFS"
    copies = 3
    durability = "answered by the bricks' page caches; `cp` does not ask for fsync"

    def __init__(self, place: Place) -> None:
        if not Path("/usr/sbin/glusterd").is_file():
            raise Unavailable("glusterfs is not installed there: python -m bench.peers.install")
        self._data = place.data / "glusterfs"
        self._daemons = Daemons(self._data / "logs")
        super().__init__(self._data / "mount")

    def version(self) -> str:
        """`glusterd --version`."""
        return first_line(["glusterd", "--version"])

    def start(self) -> None:
        """glusterd, which starts the bricks; the volume; the mount."""
        self.mount.mkdir(parents=True)
        state = self._data / "glusterd"
        state.mkdir()
        self._needs_trusted_attributes()
        settings = self._data / "glusterd.vol"
        settings.write_text(SETTINGS.format(folder=state, host=HOST), encoding="utf-8")
        for folder in ("/run/gluster", "/var/log/glusterfs"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        words = ["glusterd", "--no-daemon", f"--volfile={settings}", "--log-file=-"]
        self._daemons.start("glusterd", words)
        self._daemons.wait("glusterd", lambda: _asks("peer", "status"))
        bricks = [f"{HOST}:{self._data}/brick-{number}" for number in range(BRICKS)]
        _ask("volume", "create", VOLUME, "replica", str(BRICKS), *bricks, "force")
        _ask("volume", "start", VOLUME)
        self._mount()

    def refresh(self) -> None:
        """Mount anew."""
        self._unmount()
        self._mount()

    def stop(self) -> None:
        """Unmount, stop the volume, end glusterd."""
        self._unmount()
        if _asks("volume", "info", VOLUME):
            _ask("volume", "stop", VOLUME, "force")
        self._daemons.close()

    def _mount(self) -> None:
        words = ["glusterfs", "--no-daemon", f"--volfile-server={HOST}", f"--volfile-id={VOLUME}"]
        self._daemons.start("mount", [*words, "--log-file=-", str(self.mount)])
        self._daemons.wait("mount", lambda: os.path.ismount(self.mount) and self._is_up())

    def _is_up(self) -> bool:
        try:
            os.statvfs(self.mount)
        except OSError:
            return False
        return True

    def _unmount(self) -> None:
        unmount(self.mount)
        self._daemons.stop("mount")

    def _needs_trusted_attributes(self) -> None:
        try:
            os.setxattr(self._data, "trusted.dfs-bench", b"1")
        except OSError as exc:
            why = f"its bricks need trusted.* attributes, which takes root: {exc.strerror}"
            raise Unavailable(why) from exc


def _ask(*words: str) -> None:
    run(["gluster", "--mode=script", *words])


def _asks(*words: str) -> bool:
    try:
        _ask(*words)
    except RuntimeError:
        return False
    return True
