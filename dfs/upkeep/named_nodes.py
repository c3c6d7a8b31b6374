"""Pure: the DataNodes that an operator named, for orders that may go to all of them."""

from collections.abc import Sequence

from dfs.base.errors import NodeNotFound
from dfs.base.ids import node_name, parse_node_name
from dfs.base.records import NodeView


def named_nodes(names: Sequence[str], views: Sequence[NodeView]) -> list[NodeView]:
    """Those of the nodes, each once, in the order of the names; every node when none is named.

    Raises:
        BadRequest: a word that names no node.
        NodeNotFound: no node has that name.
    """
    known = {view.node: view for view in views}
    if not names:
        return list(known.values())
    wanted = dict.fromkeys(parse_node_name(name) for name in names)
    for node in wanted:
        if node not in known:
            raise NodeNotFound(f"no such DataNode: {node_name(node)}")
    return [known[node] for node in wanted]
