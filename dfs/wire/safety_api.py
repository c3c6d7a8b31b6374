"""The REST shapes of safety: safe mode, storms, regression, and what is wanted of each node."""

from dfs.base.states import NodeDuty
from dfs.wire.shapes import Reply, Request


class SafetyReply(Reply, frozen=True, kw_only=True):
    """What holds changes, repair and deletions back now; each reason is "" when it does not.

    Attributes:
        safe_mode: why safe mode is on.
        by_hand: the administrator who entered it; "" when nobody did.
        since_ms: since when it is on; 0 when it is not.
        starting: the start of the NameNode is not over.
        blocks: blocks known at the start; `found` of them on nodes that have reported since.
        wanted_percent: how many of them must be found.
        awaited: nodes whose reports are waited for.
        frozen: why the storm brake is on; `vanished` are the nodes.
        regressed: what DataNodes have seen that the metadata does not know.
        no_deletes: why nothing is deleted, for whichever reason.
    """

    safe_mode: str
    by_hand: str
    since_ms: int
    starting: bool
    blocks: int
    found: int
    wanted_percent: float
    awaited: list[int]
    frozen: str
    vanished: list[int]
    regressed: str
    no_deletes: str


class LeaveSafeModeRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Turn safe mode off; by force also before enough is known of blocks."""

    force: bool = False


class AcceptedReply(Reply, frozen=True, kw_only=True):
    """A loss was accepted: of nodes, or of transactions (`epoch` is the one that began)."""

    nodes: list[int] = []
    epoch: int = 0


class DutyRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is wanted of a DataNode from now on.

    Attributes:
        for_s: how long maintenance lasts; 0: until it is recommissioned.
        force: also when it is the last node in service.
    """

    name: str
    duty: NodeDuty
    for_s: float = 0.0
    force: bool = False


class DutyReply(Reply, frozen=True, kw_only=True):
    """What is wanted of a DataNode now.

    Attributes:
        blocks_left: blocks that have too few copies elsewhere while the node leaves; 0 when it does
            not.
    """

    node: int
    duty: NodeDuty
    excused_until_ms: int
    blocks_left: int
