"""Pure: the identifiers of DFS, each a type of its own, and how the few that people see are spelt.

Every number here is 64-bit, starts at 1, comes from a counter in the metadata database and is
never used twice.
"""

from typing import NewType

from dfs.base.errors import BadRequest

BlockId = NewType("BlockId", int)
Generation = NewType("Generation", int)
InodeId = NewType("InodeId", int)
DirentId = NewType("DirentId", int)
NodeId = NewType("NodeId", int)
UserId = NewType("UserId", int)
GroupId = NewType("GroupId", int)
Epoch = NewType("Epoch", int)
TxId = NewType("TxId", int)

ROOT_INODE = InodeId(1)
FIRST_EPOCH = Epoch(1)
SUPERUSER = UserId(1)
SUPERGROUP = GroupId(1)

_NODE_PREFIX = "dn-"
_DIGITS_MAX = 18  # what a database can hold


def node_name(node: NodeId) -> str:
    """How a DataNode is called in messages, tables and commands: ``dn-3``."""
    return f"{_NODE_PREFIX}{node}"


def parse_node_name(text: str) -> NodeId:
    """Read ``dn-3`` (or a bare ``3``).

    Raises:
        BadRequest: the text is not a node's name.
    """
    digits = text.removeprefix(_NODE_PREFIX)
    if not digits.isascii() or not digits.isdigit() or len(digits) > _DIGITS_MAX:
        raise BadRequest(
            f"not a node name: {text[:40]!r}", hint="names look like dn-3; see: dfs-admin nodes"
        )
    return NodeId(int(digits))
