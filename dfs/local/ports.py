"""Which ports the daemons of a local cluster listen on.

They are chosen below the range from which the kernel gives ports to outgoing connections, so that
a daemon which was killed finds its own port free when it is started again.
"""

import socket
from collections.abc import Collection
from typing import Final

from dfs.base.entropy import Random
from dfs.base.errors import PortInUse

LOWEST: Final = 20_000
HIGHEST: Final = 32_000  # Linux hands out 32768 and above (net.ipv4.ip_local_port_range)
TRIES_MAX: Final = 500


def free_port(host: str, *, taken: Collection[int], rng: Random) -> int:
    """A port nobody listens on now and none of `taken`.

    Raises:
        PortInUse: none was found in `TRIES_MAX` tries.
    """
    for _ in range(TRIES_MAX):
        port = rng.randint(LOWEST, HIGHEST)
        if port not in taken and is_free(host, port):
            return port
    raise PortInUse(f"no free port on {host} between {LOWEST} and {HIGHEST}", hint="free some")


def is_free(host: str, port: int) -> bool:
    """Whether a daemon could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
