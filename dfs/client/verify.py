"""Having every replica of a file read again by the node that holds it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfs.client.options import ReplicaVerdict

if TYPE_CHECKING:
    from dfs.client.api import DfsClient


def verify(client: "DfsClient", path: str) -> Iterator[ReplicaVerdict]:
    """See `DfsClient.verify`."""
    raise NotImplementedError
