"""Which part of a DataNode obeys which order of a NameNode.

A handler that raises has not obeyed: the NameNode hears why.  What cannot be done because it is
done already (a block deleted, a pass under way) is obeyed.
"""

from collections.abc import Callable
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.errors import BadRequest, BlockNotFound
from dfs.base.records import BlockName, NodeCommand
from dfs.blockstore.store import BlockStore
from dfs.nodes.commands import Handlers
from dfs.nodes.orders import Order

PER_MILLE: Final = 1_000


class Scrub(Protocol):
    """What orders need of the scrubber."""

    def suspect(self, name: BlockName) -> bool:
        """Verify a block before any other; False when it is not here."""
        ...

    def begin(self, run: int) -> None:
        """Verify everything now."""
        ...

    def pause(self, until_ms: int) -> None:
        """Rest until then."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def trust(self) -> None:
        """An operator looked: close the circuit breaker and go on."""
        ...


class Levelling(Protocol):
    """What orders need of the mover between disks."""

    def begin(self, threshold: float) -> None:
        """Move blocks until every disk is that near to the mean use."""
        ...

    def stop(self) -> None:
        """Move no more."""
        ...


def command_handlers(store: BlockStore, scrub: Scrub, levelling: Levelling) -> Handlers:
    """Every order but `Order.REPORT`, which the beat that brought it obeys."""

    def delete(command: NodeCommand) -> None:
        store.delete(_block(command))
        crashpoint.reach("dn.command.deleted")

    def verify(command: NodeCommand) -> None:
        _require_held(scrub.suspect(_block(command)), command)

    def quarantine(command: NodeCommand) -> None:
        store.custody.quarantine(_block(command), command.reason)

    def purge_bad(command: NodeCommand) -> None:
        store.custody.purge_bad(_block(command))

    def restore(command: NodeCommand) -> None:
        _require_held(store.custody.restore(_block(command)), command)

    def spoil_canary(command: NodeCommand) -> None:
        store.custody.spoil_canary(_block(command))

    handlers: dict[str, Callable[[NodeCommand], None]] = {
        Order.DELETE: delete,
        Order.VERIFY: verify,
        Order.QUARANTINE: quarantine,
        Order.PURGE_BAD: purge_bad,
        Order.RESTORE: restore,
        Order.SCRUB: lambda command: scrub.begin(command.value),
        Order.SCRUB_PAUSE: lambda command: scrub.pause(command.value),
        Order.SCRUB_RESUME: lambda _command: scrub.resume(),
        Order.TRUST: lambda _command: scrub.trust(),
        Order.LEVEL_DISKS: lambda command: levelling.begin(command.value / PER_MILLE),
        Order.LEVEL_STOP: lambda _command: levelling.stop(),
        Order.SPOIL_CANARY: spoil_canary,
    }
    assert handlers.keys() | {Order.REPORT} == set(Order)
    return handlers


def _block(command: NodeCommand) -> BlockName:
    if command.block is None:
        raise BadRequest(f"the order to {command.verb} names no block")
    return command.block


def _require_held(held: bool, command: NodeCommand) -> None:  # noqa: FBT001 - the sentence reads so
    if not held:
        block = _block(command)
        raise BlockNotFound(
            f"block {block.block:016x} generation {block.generation} is not here to {command.verb}"
        )
