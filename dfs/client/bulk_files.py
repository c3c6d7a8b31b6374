"""Many files for a program or a pipe, in the order asked: small ones fetched many at a time.

Groups of files are located in one request and fetched in long stretches, the next group while the
one before is being taken; so at most two groups are in memory.  What cannot be fetched like that -
large files, files that no replica gave at once - is read by itself when its turn comes.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import BinaryIO, Final

from dfs.base.errors import DfsError, LimitExceeded
from dfs.base.units import MiB
from dfs.client.batches import result_of
from dfs.client.bulk_read import FILE_BYTES_MAX
from dfs.client.cluster_link import ClusterLink
from dfs.client.file import open_reader
from dfs.client.get import get_stream, write_all
from dfs.client.namenode_link import error_of
from dfs.client.options import SilentProgress
from dfs.wire.pack_api import LocateManyReply

GROUP_FILES_MAX: Final = 1_000
GROUP_BYTES_MAX: Final = 32 * MiB

_Content = bytes | DfsError | None  # None: read it by itself


def read_many(
    cluster: ClusterLink, paths: Iterable[str]
) -> Generator[tuple[str, bytes | DfsError], None, None]:
    """See `DfsClient.read_many`."""
    for path, content in _contents(cluster, paths):
        if content is not None:
            yield path, content
            continue
        try:
            with open_reader(cluster, path) as source:
                whole: bytes | DfsError = source.readall()
        except DfsError as exc:
            whole = exc
        yield path, whole


def get_streams(
    cluster: ClusterLink, paths: Sequence[str], out: BinaryIO
) -> Iterator[DfsError | None]:
    """See `DfsClient.get_streams`."""
    for path, content in _contents(cluster, paths):
        refusal = None
        try:
            if isinstance(content, DfsError):
                refusal = content
            elif content is not None:
                write_all(out, content)
            else:
                get_stream(cluster, path, out, offset=0, length=None, progress=SilentProgress())
        except DfsError as exc:
            refusal = exc
        yield refusal


def _contents(
    cluster: ClusterLink, paths: Iterable[str]
) -> Generator[tuple[str, _Content], None, None]:
    """Each path with its content, one group being fetched while another is taken."""
    names = iter(paths)
    ahead: Future[list[_Content]] | None = None
    taking: Sequence[str] = ()
    pool = ThreadPoolExecutor(1, "dfs-ahead")
    try:
        while some := list(islice(names, GROUP_FILES_MAX)):
            found = _located(cluster, some)
            for group in _groups(found, len(some)):
                following = pool.submit(_fetch, cluster, found, group)
                if ahead is not None:
                    contents = result_of(ahead)
                    yield from zip(taking, contents, strict=True)
                ahead, taking = following, [some[number] for number in group]
        if ahead is not None:
            contents = result_of(ahead)
            yield from zip(taking, contents, strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a stalled node must not hold us here


def _located(cluster: ClusterLink, paths: Sequence[str]) -> LocateManyReply | DfsError:
    try:
        return cluster.names.locate_many(paths, insist=True)
    except DfsError as exc:
        return exc


def _groups(found: LocateManyReply | DfsError, count: int) -> Iterator[range]:
    """The places of files in a row that are fetched together."""
    start = held = 0
    if not isinstance(found, DfsError):
        for number, outcome in enumerate(found.files):
            size = outcome.value.size_bytes if outcome.value is not None else 0
            size = size if size <= FILE_BYTES_MAX else 0
            if held and held + size > GROUP_BYTES_MAX:
                yield range(start, number)
                start, held = number, 0
            held += size
    yield range(start, count)


def _fetch(cluster: ClusterLink, found: LocateManyReply | DfsError, group: range) -> list[_Content]:
    """The content of the files of a group, as far as it can be had together."""
    contents: dict[int, _Content] = dict.fromkeys(group)
    if isinstance(found, DfsError):
        return [found] * len(group)

    def take(number: int, content: memoryview) -> None:
        contents[number] = bytes(content)

    wanted: list[int] = []
    for number in group:
        outcome = found.files[number]
        if outcome.error is None:
            wanted.append(number)
        elif not isinstance(error := error_of(outcome), LimitExceeded):
            contents[number] = error
    try:
        cluster.plane.bulk.fetch(found, wanted, take)
    except DfsError as exc:
        return [exc if content is None else content for content in contents.values()]
    return list(contents.values())
