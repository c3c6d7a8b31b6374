"""A cage for peers: their own loopback, process ids and mounts, which end with the run.

What is started in it sees no other network than its own loopback, where every port is free; the
programs of Debian packages that were only unpacked lie over `/usr`, where they look for themselves.
When the first process ends, however it ends, the kernel ends all others and takes the mounts away:
nothing can be left behind.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.commands import run
from bench.peers.system import Unavailable

INSIDE = "DFS_BENCH_CAGE"
# An address for documents (RFC 5737): some peers refuse 127.0.0.1.  Nothing routes there.
ADDRESS = "192.0.2.1"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _IFF_UP = 0x8913, 0x8914, 0x8916, 1
_REQUEST = "16sH14s"


def is_inside() -> bool:
    """Whether this process is in one."""
    return INSIDE in os.environ


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Run a Python module in a new cage; its exit code.

    Raises:
        Unavailable: this system makes no namespaces for us.
    """
    command = [_found("unshare"), "--mount", "--net", "--pid", "--fork", "--kill-child"]
    command += ["--mount-proc"]
    if os.geteuid() != 0:
        command += ["--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        raise Unavailable(f"this system refuses new namespaces: {' '.join(command)} true")
    command += [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


def furnish(unpacked: Path) -> None:
    """Called first inside: the loopback up, fresh /run and /var/log, unpacked programs in /usr."""
    _be_init()
    _loopback_up()
    for place in ("/run", "/var/log"):
        run(["mount", "-t", "tmpfs", "none", place])
    if (unpacked / "usr").is_dir():
        lower = f"lowerdir={unpacked / 'usr'}:/usr"
        run(["mount", "-t", "overlay", "overlay", "-o", lower, "/usr"])


def _be_init() -> None:
    """Go on in a child; the first process of a cage buries whoever dies in it."""
    child = os.fork()
    if child == 0:
        return
    while True:
        try:
            pid, status = os.wait()
        except KeyboardInterrupt:
            continue  # the child got it too, and ends in order
        if pid == child:
            os._exit(abs(os.waitstatus_to_exitcode(status)))


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack(_REQUEST, b"lo", 0, b"")
        answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, request)
        flags = struct.unpack(_REQUEST, answer)[1] | _IFF_UP
        fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack(_REQUEST, b"lo", flags, b""))
        address = struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(asking, _SIOCSIFADDR, struct.pack("16s16s8x", b"lo:1", address))


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"{program} is not installed (Debian: util-linux)")
    return path
