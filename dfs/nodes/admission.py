"""How a DataNode becomes one of the cluster: a join token against an id and a credential.

Tokens and credentials are random and kept as SHA-256 alone.  An answer that got lost is given again
from memory to the same uuid with the same token, for a while; after a restart the node needs
another use of a token.
"""

import dataclasses
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.entropy import new_token
from dfs.base.errors import BadRequest, ForeignFolder, NodeNotJoined
from dfs.base.ids import NodeId, node_name
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes import node_rows
from dfs.nodes.node_rows import NodeRecord, TokenRecord
from dfs.wire.nodes_api import JoinReply, JoinRequest, JoinTokenReply

USES_MAX: Final = 1_000
LIFE_MAX_S: Final = 365 * 86_400.0
ANSWERS_MAX: Final = 256

_UUID: Final = re.compile(r"[0-9a-f]{32}")


class Admission:
    """Makes join tokens and honours them.

    Args:
        cluster: the id that a joining node is told.
        default_life_s: of a token whose maker does not say.
    """

    def __init__(
        self, writer: Writer, clock: Clock, *, cluster: str, default_life_s: float
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._cluster = cluster
        self._default_life_s = default_life_s
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, bytes], JoinReply] = OrderedDict()

    def create_token(self, uses: int, life_s: float | None) -> JoinTokenReply:
        """See `NodeRegistry.create_join_token`."""
        life_s = self._default_life_s if life_s is None else life_s
        if not 1 <= uses <= USES_MAX:
            raise BadRequest(f"a join token has 1 to {USES_MAX} uses")
        if not 0 < life_s <= LIFE_MAX_S:
            raise BadRequest("a join token lives longer than 0 s and at most a year")
        token = new_token("dfsj")
        expires_ms = self._clock.now_ms() + int(life_s * 1000)

        def write(txn: Txn) -> None:
            node_rows.drop_expired_tokens(txn)
            number = txn.take("join_token")
            node_rows.put_token(
                txn, TokenRecord(number, node_rows.secret_hash(token), uses, expires_ms)
            )

        self._writer.submit(write)
        return JoinTokenReply(token=token, uses=uses, expires_ms=expires_ms)

    def join(
        self, request: JoinRequest, *, may_rejoin: Callable[[NodeId], bool]
    ) -> tuple[JoinReply, NodeRecord | None]:
        """See `NodeRegistry.join`; the record is None when an answer is only repeated.

        Args:
            may_rejoin: whether a node that joined before may be given a new credential.
        """
        if not _UUID.fullmatch(request.uuid):
            raise BadRequest("a DataNode's uuid has 32 hex digits")
        asked = (request.uuid, node_rows.secret_hash(request.token))
        with self._lock:  # a repeated request waits for the first, and is answered alike
            if asked in self._answers:
                return self._answers[asked], None
            secret = new_token("dfsn")
            record = self._writer.submit(
                lambda txn: _admit(txn, request, secret=secret, may_rejoin=may_rejoin)
            )
            crashpoint.reach("nn.node.joined")
            reply = JoinReply(node=record.node, secret=secret, cluster=self._cluster)
            self._answers[asked] = reply
            if len(self._answers) > ANSWERS_MAX:
                self._answers.popitem(last=False)
        return reply, record


def _admit(
    txn: Txn, request: JoinRequest, *, secret: str, may_rejoin: Callable[[NodeId], bool]
) -> NodeRecord:
    if not node_rows.spend_token(txn, request.token):
        raise NodeNotJoined("the join token is unknown, used up or expired")
    before = node_rows.find_by_uuid(txn.connection, request.uuid)
    hashed = node_rows.secret_hash(secret)
    if before is None:
        node = NodeId(txn.take("node"))
        record = NodeRecord(node, request.uuid, hashed, joined_ms=txn.now_ms)
    elif may_rejoin(before.node):
        record = dataclasses.replace(before, secret_hash=hashed)
    else:
        raise ForeignFolder(
            f"{node_name(before.node)} joined with this uuid already and does not count as dead",
            hint="is this a copy of its data folder? otherwise wait until it counts as dead",
        )
    node_rows.put_node(txn, record)
    return record
