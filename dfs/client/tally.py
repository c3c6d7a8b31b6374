"""What a transfer has come to so far: kept for its report, and told to its `Progress` at once."""

import threading
from collections.abc import Sequence

from dfs.base.errors import DfsError
from dfs.client.options import Progress, TransferReport


class Tally:
    """Counts one transfer of many files.  Safe to share between threads."""

    def __init__(self, progress: Progress) -> None:
        self.report = TransferReport()
        self._progress = progress
        self._lock = threading.Lock()
        self._ended = False

    def begin(self, files: int, size_bytes: int, *, failed: Sequence[tuple[str, DfsError]]) -> None:
        """So much is to be moved; what cannot be was found out while planning."""
        self._progress.started(files, size_bytes)
        for path, error in failed:
            self.fail(path, error)

    def leave_out(self, note: str) -> None:
        """Something cannot be taken, and is no failure."""
        self.report.skipped += 1
        self._progress.note(note)

    def directory(self) -> None:
        """One more is there."""
        self.report.directories += 1

    def done(self, path: str, size_bytes: int, *, owed: int = 0) -> None:
        """That file was moved."""
        with self._lock:
            self.report.files += 1
            self.report.size_bytes += size_bytes
            self.report.owed += owed
        self._progress.file_done(path, size_bytes, None)

    def was_there(self, path: str, size_bytes: int) -> None:
        """That file need not be moved."""
        with self._lock:
            self.report.skipped += 1
        self._progress.advanced(size_bytes)
        self._progress.file_done(path, size_bytes, None)

    def end(self) -> None:
        """The transfer is ended from outside: what fails from now on fails for that, untold."""
        self._ended = True

    def fail_below(self, failed: Sequence[tuple[str, DfsError]]) -> None:
        """Those files will not be there for want of a directory above: said once, not of each."""
        with self._lock:
            self.report.failed += failed
            self.report.homeless.update(path for path, _error in failed)
        if failed:
            self._progress.note(f"{len(failed):,} more failed: a directory above was not made")

    def fail(self, path: str, error: DfsError) -> None:
        """That file or directory will not be there."""
        with self._lock:
            self.report.failed.append((path, error))
        if not self._ended:
            self._progress.file_done(path, 0, error)
