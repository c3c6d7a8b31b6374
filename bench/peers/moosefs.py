"""MooseFS, from Debian's packages: one master, three chunk servers, goal 2, its FUSE mount."""

import os
from pathlib import Path

from bench.commands import run
from bench.peers.cage import ADDRESS
from bench.peers.system import Daemons, Mounted, Place, Unavailable, first_line, listens, unmount

CHUNK_SERVERS, GOAL = 3, 2
CLIENTS = 9421  # where the master listens for mounts
CHUNKS_FIRST = 9500  # where the first chunk server listens
NO_METADATA = b"MFSM NEW"
COMMON = """\
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = {folder}
MASTER_HOST = {host}
BIND_HOST = {host}
"""
MASTER = """\
EXPORTS_FILENAME = {folder}/exports
MATOML_LISTEN_HOST = {host}
MATOCS_LISTEN_HOST = {host}
MATOCL_LISTEN_HOST = {host}
"""
CHUNKS = """\
HDD_CONF_FILENAME = {folder}/disks
HDD_LEAVE_SPACE_DEFAULT = 256MiB
CSSERV_LISTEN_HOST = {host}
CSSERV_LISTEN_PORT = {port}
"""


class MooseFS(Mounted):
    """See the module."""

    name = "MooseFS"
    copies = GOAL
    durability = "not fsynced before the answer (its default)"

    def __init__(self, place: Place) -> None:
        if not Path("/usr/sbin/mfsmaster").is_file():
            raise Unavailable("moosefs is not installed there: python -m bench.peers.install")
        self._data = place.data / "moosefs"
        self._daemons = Daemons(self._data / "logs")
        super().__init__(self._data / "mount")

    def version(self) -> str:
        """`mfsmaster -v`."""
        return first_line(["mfsmaster", "-v"])

    def start(self) -> None:
        """Master, chunk servers, mount."""
        self.mount.mkdir(parents=True)
        folder = self._folder("master")
        (folder / "exports").write_text("* / rw,alldirs,maproot=0:0\n", encoding="utf-8")
        (folder / "metadata.mfs").write_bytes(NO_METADATA)
        self._start("mfsmaster", folder, COMMON + MASTER, port=CLIENTS)
        for number in range(CHUNK_SERVERS):
            folder = self._folder(f"chunks-{number}")
            disk = self._folder(f"disk-{number}")
            (folder / "disks").write_text(f"{disk}\n", encoding="utf-8")
            self._start("mfschunkserver", folder, COMMON + CHUNKS, port=CHUNKS_FIRST + number)
        self._mount()
        run(["mfssetgoal", "-r", str(GOAL), str(self.mount)])
        first = self.mount / "first"  # waits until the master counts on its chunk servers
        run(["dd", "if=/dev/zero", f"of={first}", "bs=64k", "count=1", "conv=fsync"])
        first.unlink()

    def refresh(self) -> None:
        """Mount anew."""
        self._unmount()
        self._mount()

    def stop(self) -> None:
        """Unmount and end all."""
        self._unmount()
        self._daemons.close()

    def _start(self, program: str, folder: Path, settings: str, *, port: int) -> None:
        file = folder / "settings.cfg"
        file.write_text(settings.format(folder=folder, host=ADDRESS, port=port), encoding="utf-8")
        name = f"{program}-{port}"
        self._daemons.start(name, [program, "-c", str(file), "-f", "start"])
        self._daemons.wait(name, lambda: listens(ADDRESS, port))

    def _mount(self) -> None:
        words = ["mfsmount", "-f", "-H", ADDRESS, str(self.mount)]
        self._daemons.start("mount", words)
        self._daemons.wait("mount", lambda: os.path.ismount(self.mount))

    def _unmount(self) -> None:
        unmount(self.mount)
        self._daemons.stop("mount")

    def _folder(self, name: str) -> Path:
        path = self._data / name
        path.mkdir(parents=True)
        return path
