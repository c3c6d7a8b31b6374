"""gRPC channels and servers: the sizes, limits and keepalive that both ends must agree on.

Pieces of data are 1 MiB, a multiple of the 256 KiB hash chunk; a message has room for one piece,
its hashes and a header.  A channel makes its connection when first used and again after a loss;
whoever opens one closes it.
"""

from collections.abc import Sequence
from typing import Final

import grpc

from dfs.base.checksum import CHUNK_SIZE_BYTES
from dfs.base.units import MiB

PIECE_BYTES: Final = 1 * MiB
assert PIECE_BYTES % CHUNK_SIZE_BYTES == 0
MESSAGE_BYTES_MAX: Final = 4 * MiB

KEEPALIVE_INTERVAL_S: Final = 20
KEEPALIVE_TIMEOUT_S: Final = 10  # a peer whose machine vanished is noticed within 30 s
RECONNECT_CAP_S: Final = 5  # the library's 120 s would hide a DataNode that came back
STREAMS_PER_CONNECTION_MAX: Final = 256

# What may be on its way to a reader that is behind.  Left to itself gRPC raises it with the speed
# of the link, up to 44 MiB a stream between processes of one machine.
WINDOW_BYTES: Final = 2 * MiB

Options = Sequence[tuple[str, int]]

_BOTH_ENDS: Final[Options] = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ("grpc.http2.max_frame_size", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_S * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
)
CHANNEL_OPTIONS: Final[Options] = (
    *_BOTH_ENDS,
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_CAP_S * 1000),
    ("grpc.enable_http_proxy", 0),  # data never takes the way of web browsing
    ("grpc.enable_retries", 0),  # who retries, and where, is decided above
    ("grpc.use_local_subchannel_pool", 1),  # closing a channel closes its connection
)
SERVER_OPTIONS: Final[Options] = (
    *_BOTH_ENDS,
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_INTERVAL_S * 1000 // 2),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a shared port
)


def open_channel(address: str) -> grpc.Channel:
    """A channel to the block service at `host:port`; nothing is sent before its first call."""
    return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
