"""The NameNode as a client of DataNodes: one block, from one to another.

The target pulls from the source; when it cannot reach it, the bytes go through here, a piece at a
time.  Whoever moved them, what counts is the target's signed receipt, and that it vouches for the
truth as the block's writer computed it.
"""

from collections.abc import Callable, Iterator

from dfs.accounts.block_keys import BlockKeys, TokenWish
from dfs.base.checksum import Buffer
from dfs.base.errors import BlockCorrupt, DfsError, PeerUnreachable, TokenRefused
from dfs.base.ids import node_name
from dfs.base.records import BlockName, BlockTruth, NodeAddress, Receipt
from dfs.transfer.block_channel import BlockAccess, BlockChannel, Label, SourceIdle
from dfs.transfer.channels import Channels
from dfs.upkeep.steps import CopyBlock
from dfs.wire.tokens import Mode, receipt_holds

USER = "namenode"  # whom the tokens name
SIDE = "side"  # in the details of an error: who is to blame
SOURCE = "source"


def is_at_source(err: DfsError) -> bool:
    """Whether a copy failed at its source."""
    return err.details.get(SIDE) == SOURCE


class MiniClient:
    """Moves blocks between DataNodes.  Safe to share between threads.

    Args:
        timeout_s: a copy that takes longer is given up.
        sign: false only where the cluster runs without block tokens.
        relayed: told of each copy that went through here.
    """

    def __init__(
        self,
        channels: Channels,
        keys: BlockKeys,
        *,
        timeout_s: float,
        sign: bool = True,
        relayed: Callable[[CopyBlock], None] = lambda _step: None,
    ) -> None:
        self._channels = channels
        self._keys = keys
        self._timeout_s = timeout_s
        self._sign = sign
        self._relayed = relayed

    def copy(self, step: CopyBlock, source: NodeAddress, target: NodeAddress) -> Receipt:
        """Have the target hold the block; its receipt, checked.

        Raises:
            DfsError: what refused it; `is_at_source` says on which side.
        """
        try:
            receipt = self._pull(step, source, target)
        except PeerUnreachable as err:
            if not is_at_source(err):
                raise
            self._relayed(step)
            receipt = self._relay(step, source, target)
        return self._checked(step, receipt)

    def is_intact(self, name: BlockName, truth: BlockTruth, holder: NodeAddress) -> bool:
        """Whether that node holds the truth, by what its disk says now.

        Raises:
            DfsError: it could not be asked, or another node is at its address.
        """
        token = self._keys.mint(user=USER, mode=Mode.COPY, name=name, length_max=0, path="")
        with self._channels.to(holder) as channel:
            found = channel.probe(
                BlockAccess(name, "", token), verify=True, length_bytes=truth.length_bytes
            )
        return found.intact and found.matches(truth)

    def close(self) -> None:
        """End every conversation; copies under way fail at once."""
        self._channels.close()

    def _pull(self, step: CopyBlock, source: NodeAddress, target: NodeAddress) -> Receipt:
        access = self._write_access(step, peers=(source,))
        with self._channels.to(target) as channel:
            return channel.copy(
                access,
                source=source,
                source_token=self._read_access(step).token,
                truth=step.truth,
                deadline_s=self._timeout_s,
            )

    def _relay(self, step: CopyBlock, source: NodeAddress, target: NodeAddress) -> Receipt:
        with self._channels.to(source) as giving:
            relay = _Relay(giving, self._read_access(step), step.truth)
            label = relay.label()
            access = self._write_access(step, path=label.path, pack=label.pack)
            with self._channels.to(target) as taking:
                try:
                    uploaded = taking.upload(access, relay)
                except SourceIdle as exc:
                    raise PeerUnreachable(f"{node_name(source.node)}: {exc}") from exc
        if uploaded.failed:
            raise uploaded.failed[0].error
        if uploaded.truth != step.truth:
            raise _at_source(BlockCorrupt(f"{node_name(source.node)}: sent another block"))
        return uploaded.receipts[0]

    def _checked(self, step: CopyBlock, receipt: Receipt) -> Receipt:
        """The receipt, if the target signed that it holds the truth."""
        target = node_name(step.target)
        said = BlockTruth(receipt.block, receipt.generation, receipt.length_bytes, receipt.hash)
        if receipt.node != step.target or said != step.truth:
            raise BlockCorrupt(f"{target}: vouches for another copy than was ordered")
        if self._sign and not receipt_holds(receipt, self._keys.ring()):
            raise TokenRefused(f"{target}: the signature of its receipt does not hold")
        return receipt

    def _read_access(self, step: CopyBlock) -> BlockAccess:
        token = self._keys.mint(user=USER, mode=Mode.COPY, name=step.name, length_max=0, path="")
        return BlockAccess(step.name, "", token)

    def _write_access(
        self,
        step: CopyBlock,
        *,
        path: str = "",
        pack: bytes = b"",
        peers: tuple[NodeAddress, ...] = (),
    ) -> BlockAccess:
        """The right to store it; with no path the source's label says which file it was of."""
        wish = TokenWish(step.name, step.truth.length_bytes, path, peers)
        (token,) = self._keys.mint_many(user=USER, mode=Mode.WRITE, wishes=[wish])
        return BlockAccess(step.name, path, token, pack)


class _Relay:
    """The content of a block as its source sends it."""

    def __init__(self, channel: BlockChannel, access: BlockAccess, truth: BlockTruth) -> None:
        self._channel = channel
        self._access = access
        self._truth = truth
        self.length_bytes: int | None = truth.length_bytes

    def label(self) -> Label:
        """What was stored with it."""
        try:
            return self._channel.label(self._access)
        except DfsError as err:
            raise _at_source(err) from err

    def pieces(self) -> Iterator[Buffer]:
        """The content from the start."""
        try:
            yield from self._channel.download(
                self._access, offset=0, length_bytes=self._truth.length_bytes
            )
        except DfsError as err:
            raise _at_source(err) from err


def _at_source(err: DfsError) -> DfsError:
    err.details[SIDE] = SOURCE
    return err
