"""Copying local files, trees and streams in."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dfs.client.options import Progress, PutOptions, TransferReport

if TYPE_CHECKING:
    from dfs.client.api import DfsClient


def put(
    client: "DfsClient",
    sources: Sequence[Path],
    target: str,
    options: PutOptions,
    progress: Progress,
) -> TransferReport:
    """See `DfsClient.put`."""
    raise NotImplementedError


def put_stream(
    client: "DfsClient", stream: BinaryIO, target: str, options: PutOptions, progress: Progress
) -> TransferReport:
    """See `DfsClient.put_stream`."""
    raise NotImplementedError
