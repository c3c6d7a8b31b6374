"""Whether a file that is to be put is in DFS already: what `--resume` skips.

Equal size and modification time are believed, as `rsync` believes them.  With equal size and
another time the content decides: the local file is read and hashed in the pieces the remote one is
made of, and nothing is sent if the checksums agree.
"""

from collections.abc import Iterator, Sequence

from dfs.base.checksum import BlockHasher, file_checksum
from dfs.base.errors import DfsError
from dfs.base.records import FileStatus
from dfs.base.states import InodeKind
from dfs.client.names import NamespaceCalls
from dfs.client.piece_sources import FileSlice, LocalFile
from dfs.client.put_plan import PlannedFile


class AlreadyThere:
    """What is known of the targets of some files, by one request."""

    def __init__(self, names: NamespaceCalls, files: Sequence[PlannedFile]) -> None:
        self._names = names
        found = names.stat_all([file.remote for file in files])
        self._there: dict[str, FileStatus] = {
            file.remote: status
            for file, status in zip(files, found, strict=True)
            if isinstance(status, FileStatus) and status.kind is InodeKind.FILE
        }

    def holds(self, file: PlannedFile) -> bool:
        """Whether that very content is there."""
        status = self._there.get(file.remote)
        if status is None or status.size_bytes != file.size_bytes:
            return False
        if status.modified_ms == file.modified_ms:
            return True
        try:
            return self._same_content(file)
        except DfsError:
            return False  # then it is put, and that says what is wrong

    def _same_content(self, file: PlannedFile) -> bool:
        remote = self._names.checksum(file.remote)
        with LocalFile(file.path) as source:
            local = file_checksum(_hashed(source, remote.blocks))
            source.check_unchanged()
        return local == remote.checksum


def _hashed(source: LocalFile, lengths: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for length in lengths:
        hasher = BlockHasher()
        for piece in FileSlice(source, offset, length).pieces():
            hasher.update(piece)
        yield length, hasher.digest()
        offset += length
