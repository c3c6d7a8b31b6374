"""Reading many small files at once: many stretches of a block in one conversation.

The NameNode says of all files in one answer where they lie; what lies close together in a block is
fetched together (`pack_plan.py`), and each file is held against its own checksum before anybody
sees it.  So a wrong byte is found whoever lied, costs only the file it is in, and is told of.

A replica that fails in the middle is followed by the next, for the files not there yet.  What no
replica gave this way is left to the reader of single files, which knows more ways: it asks again
where a block is, and hears the reasons of every replica.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dfs.base.checksum import Buffer, block_hash, file_checksum
from dfs.base.errors import BlockCorrupt, Stopping, TokenRefused
from dfs.base.records import BlockTruth, Holder
from dfs.base.states import NodeState
from dfs.base.units import MiB
from dfs.client.pack_plan import Part, Run, plan_runs, slices
from dfs.transfer.block_channel import BlockAccess
from dfs.transfer.channels import Channels
from dfs.transfer.local_read import LentBlock, LocalReader
from dfs.transfer.replicas import Replicas
from dfs.wire.pack_api import LocateManyReply, ManyFile

FILE_BYTES_MAX: Final = 4 * MiB  # larger files are worth a conversation each
RUNS_AT_ONCE: Final = 3

Take = Callable[[int, memoryview], None]
TakePart = Callable[[Part, memoryview], bool]


class BulkReader:
    """Fetches small files.  Safe to share between threads.

    Args:
        local: reads replicas of this computer from their files, where it can.
    """

    def __init__(
        self, channels: Channels, replicas: Replicas, *, local: LocalReader | None = None
    ) -> None:
        self._channels = channels
        self._local = local
        self.replicas = replicas

    def fetch(self, found: LocateManyReply, wanted: Iterable[int], take: Take) -> list[int]:
        """Give `take` the content of each file that is wanted; which it was not given, in order.

        Args:
            wanted: places in `found.files`.
            take: is told the place and the content, verified, which is good for as long as the
                call takes.  Called from several threads; what it raises ends all.
        """
        left: list[int] = []
        parts: list[Part] = []
        for number in wanted:
            file = found.files[number].value
            part = None if file is None else part_of(number, file)
            if file is not None and not file.extents and file.checksum == _EMPTY:
                take(number, memoryview(b""))
            elif part is None:
                left.append(number)
            else:
                parts.append(part)
        runs = plan_runs(parts)
        fetching = _Fetching(self, found, take)
        with ThreadPoolExecutor(RUNS_AT_ONCE, "dfs-bulk") as pool:
            for missing in pool.map(fetching.run, runs):
                left += [part.file for part in missing]
        return sorted(left)

    def attempt(
        self, access: BlockAccess, truth: BlockTruth, holder: Holder, run: Run, take: TakePart
    ) -> bool:
        """Read a run from one replica, as far as that gives it; parts may come twice.

        Args:
            take: says of each part whether it is right.

        Returns:
            Whether others may be asked with the same token.

        Raises:
            DfsError: everything was ended on this side, or what `take` raised.
        """
        node = holder.address.node
        wrong = 0

        def judge(given: tuple[Part, memoryview]) -> None:
            nonlocal wrong
            wrong += not take(*given)

        failure = self.replicas.hand_on(node, self._given(access, truth, holder, run), judge)
        if failure is not None and self._channels.closed:
            raise failure
        if wrong:
            why = BlockCorrupt(f"the bytes of {wrong} files in it do not have their checksum")
            self.replicas.failed(access.name, node, why)
        elif failure is not None:
            self.replicas.failed(access.name, node, failure)
        else:
            self.replicas.gave(node)
        return not isinstance(failure, TokenRefused)

    def _given(
        self, access: BlockAccess, truth: BlockTruth, holder: Holder, run: Run
    ) -> Generator[tuple[Part, memoryview], None, None]:
        """The parts of a run from one replica: from its file if it lends that, or over gRPC."""
        if self._local is not None and (
            yield from self._given_here(self._local, access, truth, holder, run)
        ):
            return
        with self._channels.to(holder.address) as channel:
            yield from slices(run.parts, channel.download_ranges(access, run.ranges))

    def _given_here(
        self,
        local: LocalReader,
        access: BlockAccess,
        truth: BlockTruth,
        holder: Holder,
        run: Run,
    ) -> Generator[tuple[Part, memoryview], None, bool]:
        """The parts from that node's own file, if it lends it; whether all of it was read.

        A file that does not read back intact is then asked for over the network, so that its
        DataNode judges it at once.
        """
        with local.borrow(holder.address, access) as lent:
            if lent is None or not lent.matches(truth):
                return False
            try:
                for given in slices(run.parts, _lent_pieces(lent, run)):
                    if self._channels.closed:
                        raise Stopping("the transfer was ended on this side")
                    yield given
            except BlockCorrupt as exc:
                self.replicas.suspect(access.name, holder.address.node, exc.message)
                return False
        return True


class _Fetching:
    """What was located, and how each run of it is fetched."""

    def __init__(self, reader: BulkReader, found: LocateManyReply, take: Take) -> None:
        self._reader = reader
        self._found = found
        self._take = take

    def run(self, run: Run) -> Sequence[Part]:
        """Read one run from whichever replicas give it; the parts that none gave."""
        window = self._found.windows[run.window]
        block = self._found.blocks[window.block]
        access = BlockAccess(block.name, "", window.token)
        holders = [
            Holder(self._found.nodes[each.node], each.state, NodeState(each.node_state))
            for each in block.holders
        ]
        missing = {part.file: part for part in run.parts}

        def take(part: Part, content: memoryview) -> bool:
            if part.file in missing:
                if not self._is_right(part, content):
                    return False
                self._take(part.file, content)
                del missing[part.file]
            return True

        for holder in self._reader.replicas.ordered(holders):
            for left in plan_runs(missing.values()):
                if not self._reader.attempt(access, block.truth, holder, left, take):
                    return list(missing.values())
            if not missing:
                break
        return list(missing.values())

    def _is_right(self, part: Part, content: memoryview) -> bool:
        file = self._found.files[part.file].value
        assert file is not None
        return file_checksum([(len(content), block_hash(content))]) == file.checksum


def _lent_pieces(lent: LentBlock, run: Run) -> Iterator[tuple[int, Buffer]]:
    for offset, length_bytes in run.ranges:
        at = offset
        for piece in lent.pieces(offset, length_bytes):
            yield at, piece
            at += len(piece)


_EMPTY: Final = file_checksum([])


def part_of(number: int, file: ManyFile) -> Part | None:
    """The one stretch that a small file is; None for what is better read by itself."""
    if len(file.extents) != 1 or file.size_bytes > FILE_BYTES_MAX:
        return None
    extent = file.extents[0]
    if (extent.file_offset, extent.length_bytes) != (0, file.size_bytes) or not file.size_bytes:
        return None
    end = extent.block_offset + extent.length_bytes
    return Part(extent.window, extent.block_offset, end, number)
