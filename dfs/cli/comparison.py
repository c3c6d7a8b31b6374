"""Whether local files are the same as those in DFS, by hashing the local ones as DFS hashes.

Nothing is fetched: the NameNode has the checksum of each file and the lengths of its pieces, from
which the same checksum follows for a local copy.  A difference is exit code 1, as with cmp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dfs.base.checksum import BlockHasher, file_checksum
from dfs.base.errors import LocalIoError, LocalNotFound
from dfs.base.states import InodeKind
from dfs.base.units import MiB
from dfs.cli import render
from dfs.observe.exit_codes import EXIT_FAILED

if TYPE_CHECKING:
    from dfs.cli.verbs import Context
    from dfs.wire.files_api import Checksum

READ_BYTES: Final = 1 * MiB
SAME: Final = "same"


def compare(context: Context, remote: str, local: str) -> int:
    """Compare a file with a file, or a directory with a directory; say what differs."""
    files = same = 0
    with context.out.table(columns=2) as table:
        for path, verdict in _verdicts(context, remote, Path(local)):
            files, same = files + 1, same + (verdict == SAME)
            document = {"path": path, "verdict": verdict}
            if verdict != SAME or context.out.verbose:
                table.row(document, verdict, path)
            else:
                table.silent_row(document)
    context.out.line(f"{render.count(files, 'file')} compared, {same:,} the same")
    return context.code() or (0 if files == same else EXIT_FAILED)


def _verdicts(context: Context, remote: str, local: Path) -> Iterator[tuple[str, str]]:
    if context.client.stat(remote).kind is not InodeKind.DIRECTORY:
        if local.is_dir():
            local = local / remote.rpartition("/")[2]
        yield remote, _verdict(context.client.checksum(remote), local)
        return
    if not local.is_dir():
        raise LocalNotFound(f"no such local directory: {local}")
    yield from _tree_verdicts(context, remote, local)


def _tree_verdicts(context: Context, remote: str, local: Path) -> Iterator[tuple[str, str]]:
    prefix = remote.removesuffix("/") + "/"
    seen: set[str] = set()
    batch: list[str] = []
    for status in context.client.walk(remote):
        if status.kind is InodeKind.FILE:
            seen.add(status.path.removeprefix(prefix))
            batch.append(status.path)
        if len(batch) == 1_000:
            yield from _batch_verdicts(context, batch, prefix, local)
            batch.clear()
    yield from _batch_verdicts(context, batch, prefix, local)
    for name in _local_files(local):
        if name not in seen:
            yield prefix + name, "only here"


def _batch_verdicts(
    context: Context, batch: Sequence[str], prefix: str, local: Path
) -> Iterator[tuple[str, str]]:
    from dfs.wire.files_api import PathsRequest  # noqa: PLC0415 - start-up time
    from dfs.wire.routes import CHECKSUM  # noqa: PLC0415

    asked = context.ask_many(CHECKSUM, batch, lambda some: PathsRequest(paths=some))
    for path, found in asked:
        with context.going_on():
            yield path, _verdict(found, local / path.removeprefix(prefix))


def _local_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _verdict(found: Checksum, local: Path) -> str:
    """`same`, or how they differ.

    Raises:
        LocalIoError: the local file cannot be read.
    """
    try:
        if not local.is_file():
            return "only in DFS"
        if local.stat().st_size != found.size_bytes:
            return "other size"
        return SAME if local_checksum(local, found.blocks) == found.checksum else "other content"
    except OSError as exc:
        raise LocalIoError(f"{local}: {exc.strerror}") from exc


def local_checksum(local: Path, lengths: Sequence[int]) -> bytes:
    """The checksum DFS gives a file that is cut into pieces of those lengths."""
    pieces: list[tuple[int, bytes]] = []
    with local.open("rb") as source:
        for length in lengths:
            hasher = BlockHasher()
            while (want := min(READ_BYTES, length - hasher.length_bytes)) > 0:
                data = source.read(want)
                if not data:
                    break
                hasher.update(data)
            pieces.append((hasher.length_bytes, hasher.digest()))
    return file_checksum(pieces)
