"""The client library.  Ten lines are enough:

    import os
    from dfs.client import connect

    with connect(environment=os.environ) as dfs:      # or connect("http://host:9870", token=...)
        dfs.login("ada", "correct horse battery")
        dfs.mkdir("/user/ada/data", parents=True)
        dfs.write_bytes("/user/ada/data/hello.txt", b"hello")
        with dfs.open("/user/ada/data/hello.txt") as source:
            print(source.read())
        for entry in dfs.listdir("/user/ada/data"):
            print(entry.path, entry.size_bytes)

Importing it loads no gRPC: that waits until bytes move.
"""

from typing import TYPE_CHECKING

from dfs.base.errors import (
    DfsError,
    ErrorKind,
)
from dfs.client.api import DfsClient, connect
from dfs.client.options import (
    GetOptions,
    Progress,
    PutOptions,
    ReplicaVerdict,
    SilentProgress,
    TransferReport,
)

if TYPE_CHECKING:
    from dfs.client.file import DfsFile

__all__ = [
    "DfsClient",
    "DfsError",
    "DfsFile",
    "ErrorKind",
    "GetOptions",
    "Progress",
    "PutOptions",
    "ReplicaVerdict",
    "SilentProgress",
    "TransferReport",
    "connect",
]


def __getattr__(name: str) -> object:
    """`DfsFile` is loaded when somebody names it, since it needs gRPC."""
    if name == "DfsFile":
        from dfs.client.file import DfsFile  # noqa: PLC0415 - start-up time

        return DfsFile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
