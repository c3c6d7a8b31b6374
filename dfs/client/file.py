"""`DfsFile`: a file of DFS as Python knows files."""

import io
from typing import TYPE_CHECKING

from dfs.client.options import PutOptions
from dfs.wire.data_api import Completed

if TYPE_CHECKING:
    from dfs.client.api import DfsClient


class DfsFile(io.RawIOBase):
    """A file opened for reading or for writing."""

    @property
    def completed(self) -> Completed:
        """What the NameNode said when the file became visible (after `close` of a written one)."""
        raise NotImplementedError


def open_reader(client: "DfsClient", path: str) -> DfsFile:
    """See `DfsClient.open`."""
    raise NotImplementedError


def open_writer(
    client: "DfsClient", path: str, *, options: PutOptions, permissions: int
) -> DfsFile:
    """See `DfsClient.open`."""
    raise NotImplementedError
