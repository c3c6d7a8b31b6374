"""Which part of a DataNode obeys which order of a NameNode."""

from collections.abc import Callable

from dfs.base import crashpoint
from dfs.base.records import NodeCommand
from dfs.blockstore.store import BlockStore
from dfs.nodes.commands import Handlers
from dfs.nodes.orders import Order


def command_handlers(store: BlockStore) -> Handlers:
    """Every order but `Order.REPORT`, which the beat that brought it obeys."""

    def delete(command: NodeCommand) -> None:
        if command.block is not None:
            store.delete(command.block)
            crashpoint.reach("dn.command.deleted")

    handlers: dict[str, Callable[[NodeCommand], None]] = {
        Order.DELETE: delete,
    }
    return handlers
