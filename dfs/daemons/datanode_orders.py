"""Which part of a DataNode obeys which order of a NameNode."""

from collections.abc import Callable

from dfs.base import crashpoint
from dfs.base.errors import BadRequest, BlockNotFound
from dfs.base.records import BlockName, NodeCommand
from dfs.blockstore.store import BlockStore
from dfs.nodes.commands import Handlers
from dfs.nodes.orders import Order


def command_handlers(store: BlockStore) -> Handlers:
    """Every order but `Order.REPORT`, which the beat that brought it obeys."""

    def delete(command: NodeCommand) -> None:
        if command.block is not None:
            store.delete(command.block)
            crashpoint.reach("dn.command.deleted")

    def verify(command: NodeCommand) -> None:
        store.verify(_block(command))

    def quarantine(command: NodeCommand) -> None:
        store.quarantine(_block(command), command.reason)

    def purge_bad(command: NodeCommand) -> None:
        store.purge_bad(_block(command))

    def restore(command: NodeCommand) -> None:
        if not store.restore(_block(command)):
            raise BlockNotFound("no intact file of that block is in the purge area")

    def trust(_command: NodeCommand) -> None:
        store.trust()

    def spoil_canary(command: NodeCommand) -> None:
        store.spoil_canary(_block(command))

    handlers: dict[str, Callable[[NodeCommand], None]] = {
        Order.DELETE: delete,
        Order.VERIFY: verify,
        Order.QUARANTINE: quarantine,
        Order.PURGE_BAD: purge_bad,
        Order.RESTORE: restore,
        Order.TRUST: trust,
        Order.SPOIL_CANARY: spoil_canary,
    }
    return handlers


def _block(command: NodeCommand) -> BlockName:
    if command.block is None:
        raise BadRequest(f"the order to {command.verb} names no block")
    return command.block
