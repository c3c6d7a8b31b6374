"""The gRPC server of a DataNode: a bounded number of calls, each in a thread of its own.

A call beyond the bound is turned away at once, never queued: a queued call could wait for one that
waits for it (pipelines run both ways between two nodes).  A stop refuses new calls and lets those
under way finish.
"""

import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from dfs.base.errors import BadConfig, DfsError, PortInUse
from dfs.wire.channel import SERVER_OPTIONS
from dfs.wire.data_calls import DataService, serve_data_calls

STOP_MARGIN_S: Final = 1.0


class BlockServer:
    """Listens from its making on, serves from `start` on.

    Args:
        port: 0 for any free one; `port` then says which.

    Raises:
        PortInUse: another process listens there.
        BadConfig: the host is no address of this machine.
    """

    def __init__(self, service: DataService, *, host: str, port: int, transfers_max: int) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=transfers_max, thread_name_prefix="rpc"),
            maximum_concurrent_rpcs=transfers_max,
            options=SERVER_OPTIONS,
        )
        serve_data_calls(service, self._server)
        try:
            self.port = self._server.add_insecure_port(listen_address(host, port))
        except RuntimeError as exc:
            raise _why_not(host, port) from exc

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def stop(self, drain_s: float) -> bool:
        """Refuse new calls, let those under way go on for so long, then cancel them.

        Returns:
            Whether every call ended by itself.
        """
        ended = self._server.stop(drain_s)
        if ended.wait(drain_s):
            return True
        ended.wait(STOP_MARGIN_S)
        return False


def listen_address(host: str, port: int) -> str:
    """`host:port`, with the brackets an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _why_not(host: str, port: int) -> DfsError:
    """gRPC says only that it could not bind; the operating system says why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, port))
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            return BadConfig(f"cannot listen on {host}:{port}: {exc.strerror or exc}")
    return PortInUse(f"another process listens on {host}:{port}")
