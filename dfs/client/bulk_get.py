"""Copying small files out, many at a time: located in one request, fetched in long stretches.

A file is complete in memory and verified before the local disk sees any of it; it is then written
and named as every file that is got (`local_files.py`).
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

from dfs.base.errors import DfsError, LimitExceeded, Stopping
from dfs.client.batches import BATCH_BYTES_MAX
from dfs.client.bulk_read import FILE_BYTES_MAX
from dfs.client.cluster_link import ClusterLink
from dfs.client.get_plan import Wanted
from dfs.client.local_files import write_small
from dfs.client.namenode_link import error_of
from dfs.client.options import GetOptions, Progress
from dfs.client.tally import Tally
from dfs.wire.pack_api import LocateManyReply

LOCATED_FILES_MAX: Final = 2_500


def divide(files: Sequence[Wanted]) -> tuple[list[Wanted], list[Wanted]]:
    """The files to get together, and those to get by themselves: the large, and a lone one."""
    small = [wanted for wanted in files if wanted.status.size_bytes <= FILE_BYTES_MAX]
    if len(small) < 2:
        return [], list(files)
    return small, [wanted for wanted in files if wanted.status.size_bytes > FILE_BYTES_MAX]


def cut(files: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """The files in batches that are located at once."""
    batch: list[Wanted] = []
    size_bytes = 0
    for wanted in files:
        batch.append(wanted)
        size_bytes += wanted.status.size_bytes
        if len(batch) >= LOCATED_FILES_MAX or size_bytes >= BATCH_BYTES_MAX:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


class BulkGet:
    """The small files of one get.  Safe to share between threads."""

    def __init__(
        self, cluster: ClusterLink, options: GetOptions, progress: Progress, tally: Tally
    ) -> None:
        self._names = cluster.names
        self._bulk = cluster.plane.bulk
        self._overwrite = options.overwrite
        self._progress = progress
        self._tally = tally
        self._stop = threading.Event()

    def get(self, batch: Sequence[Wanted]) -> list[Wanted]:
        """Get them; those that have to be got by themselves.  The others are in the tally."""
        try:
            found = self._names.locate_many([each.status.path for each in batch], insist=True)
        except DfsError as exc:
            for wanted in batch:
                self._tally.fail(wanted.status.path, exc)
            return []
        wanted_there, left = self._sorted_out(batch, found)
        waiting = dict.fromkeys(wanted_there)

        def take(number: int, content: memoryview) -> None:
            if self._stop.is_set():
                raise Stopping("the get was ended")
            waiting.pop(number)
            self._write(batch[number], found, number, content)

        try:
            left += self._bulk.fetch(found, wanted_there, take)
        except DfsError as exc:
            for number in waiting:
                self._tally.fail(batch[number].status.path, exc)
            return []
        return [batch[number] for number in sorted(left)]

    def stop(self) -> None:
        """The get is ended from outside."""
        self._stop.set()

    def _sorted_out(
        self, batch: Sequence[Wanted], found: LocateManyReply
    ) -> tuple[list[int], list[int]]:
        """The files that are there, and those that the answer had no room for."""
        there: list[int] = []
        beyond: list[int] = []
        for number, (wanted, outcome) in enumerate(zip(batch, found.files, strict=True)):
            if outcome.error is None:
                there.append(number)
                continue
            error = error_of(outcome)
            if isinstance(error, LimitExceeded):
                beyond.append(number)
            else:
                self._tally.fail(wanted.status.path, error)
        return there, beyond

    def _write(
        self, wanted: Wanted, found: LocateManyReply, number: int, content: memoryview
    ) -> None:
        file = found.files[number].value
        assert file is not None
        try:
            write_small(
                wanted.local,
                content,
                mode=file.mode,
                modified_ms=file.modified_ms,
                overwrite=self._overwrite,
            )
        except DfsError as exc:
            self._tally.fail(wanted.status.path, exc)
            return
        self._progress.advanced(len(content))
        self._tally.done(wanted.status.path, len(content))
