"""Which ports the daemons of a local cluster listen on.

They are chosen outside the range from which the kernel gives ports to outgoing connections, so that
a daemon which was killed finds its own port free when it is started again.
"""

import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from dfs.base.entropy import Random
from dfs.base.errors import PortInUse

LOWEST: Final = 5_000
HIGHEST: Final = 65_000
TRIES_MAX: Final = 500
_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_DEFAULT: Final = range(32_768, 61_000)


def free_port(host: str, *, taken: Collection[int], rng: Random) -> int:
    """A port nobody listens on now and none of `taken`.

    Raises:
        PortInUse: none was found in `TRIES_MAX` tries.
    """
    outgoing = outgoing_ports()
    for _ in range(TRIES_MAX):
        port = rng.randint(LOWEST, HIGHEST)
        if port not in taken and port not in outgoing and is_free(host, port):
            return port
    raise PortInUse(f"no free port on {host} between {LOWEST} and {HIGHEST}", hint="free some")


def outgoing_ports() -> range:
    """The ports the kernel gives to outgoing connections; those it leaves over are too few to use
    when it gives nearly all."""
    try:
        low, high = (int(word) for word in _OUTGOING.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return _OUTGOING_DEFAULT
    used = range(low, high + 1)
    left = sum(1 for port in range(LOWEST, HIGHEST + 1) if port not in used)
    return used if left >= TRIES_MAX else range(0)


def is_free(host: str, port: int) -> bool:
    """Whether a daemon could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
