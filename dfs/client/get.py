"""Copying files and trees out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dfs.client.options import GetOptions, Progress, TransferReport

if TYPE_CHECKING:
    from dfs.client.api import DfsClient


def get(
    client: "DfsClient",
    sources: Sequence[str],
    target: Path,
    options: GetOptions,
    progress: Progress,
) -> TransferReport:
    """See `DfsClient.get`."""
    raise NotImplementedError


def get_stream(
    client: "DfsClient",
    path: str,
    out: BinaryIO,
    *,
    offset: int,
    length: int | None,
    progress: Progress,
) -> int:
    """See `DfsClient.get_stream`."""
    raise NotImplementedError
