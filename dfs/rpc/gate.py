"""Who may do what to which block: the check before anything is read or written.

A caller shows a token signed by a NameNode for one mode, block, generation and place.  A cluster
may run without block tokens, but never for deleting: no client can hold a token for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.errors import BadRequest, LengthMismatch, LimitExceeded, TokenRefused
from dfs.base.paths import PATH_BYTES_MAX
from dfs.base.records import BlockName
from dfs.nodes.standing import Standing
from dfs.wire import dataNode_pb2 as pb
from dfs.wire.codec import read_block_ref
from dfs.wire.tokens import (
    BlockToken,
    Mode,
    check_peer,
    check_token,
    check_window,
    digest_path,
    key_id_of,
    read_token,
)

KEY_WAIT_S: Final = 2.0

READERS: Final = frozenset({Mode.READ, Mode.COPY})
WRITERS: Final = frozenset({Mode.WRITE})
DELETERS: Final = frozenset({Mode.DELETE})


@dataclass(frozen=True, slots=True)
class Admission:
    """A block that the caller may write here."""

    name: BlockName
    path: str
    length: int | None  # None: not known yet
    length_max: int
    token: BlockToken | None  # None where the cluster runs without block tokens

    def check_peers(self, peers: Sequence[pb.Target]) -> None:
        """Refuse to connect to anybody the NameNode did not name for this block.

        Raises:
            TokenRefused: the token names others.
        """
        if self.token is not None:
            for peer in peers:
                check_peer(self.token, node=peer.node, address=peer.address)


class Gate:
    """See the module.

    Args:
        block_bytes_max: the longest block where no token says how long it may be.
    """

    def __init__(self, standing: Standing, *, block_bytes_max: int) -> None:
        self._standing = standing
        self._block_bytes_max = block_bytes_max

    def admit_reader(self, ref: pb.BlockRef, ranges: Sequence[tuple[int, int]]) -> BlockName:
        """The block, if the caller may read those ranges of it (none: all of it, and its label).

        Raises:
            TokenRefused, BadRequest: see `dfs.wire.tokens` and `dfs.wire.codec`.
        """
        name = read_block_ref(ref)
        if self._standing.tokens_required:
            check_window(self._token(ref.token, name, READERS), ranges)
        return name

    def admit_probe(self, ref: pb.BlockRef) -> BlockName:
        """The block, if the caller may read any of it: what is told is not its content.

        Raises:
            TokenRefused, BadRequest: as for a reader.
        """
        name = read_block_ref(ref)
        if self._standing.tokens_required:
            self._token(ref.token, name, READERS)
        return name

    def admit_deletion(self, ref: pb.BlockRef) -> BlockName:
        """The block, if a NameNode asks for its deletion.

        Raises:
            TokenRefused, BadRequest: as for a reader.
        """
        name = read_block_ref(ref)
        self._token(ref.token, name, DELETERS)
        return name

    def admit_writer(self, ref: pb.BlockRef) -> Admission:
        """The block, if the caller may write it under that path and at that length.

        Also refuses when there is no key to sign the receipt with: better before data flows.

        Raises:
            TokenRefused, BadRequest: as for a reader.
            LengthMismatch: longer than allowed.
            LimitExceeded: the path is longer than any path of DFS.
        """
        name = read_block_ref(ref)
        length_max, token = self._block_bytes_max, None
        if self._standing.tokens_required:
            token = self._token(ref.token, name, WRITERS)
            if token.path_digest != digest_path(ref.filename):
                raise TokenRefused("the block token is for another file name")
            length_max = token.length_max_bytes
        if len(ref.filename.encode()) > PATH_BYTES_MAX:
            raise LimitExceeded(f"file name is longer than {PATH_BYTES_MAX} bytes")
        if ref.block_size > length_max:
            raise LengthMismatch(f"{ref.block_size} bytes announced, {length_max} allowed")
        self._standing.ring.newest()
        return Admission(name, ref.filename, ref.block_size or None, length_max, token)

    def _token(self, raw: bytes, name: BlockName, modes: frozenset[Mode]) -> BlockToken:
        standing = self._standing
        key_id = key_id_of(raw)
        if key_id is not None and standing.ring.find(key_id) is None:
            standing.await_key(key_id, timeout_s=KEY_WAIT_S)
        token = read_token(raw, standing.ring, now_ms=standing.now_ms())
        check_token(token, cluster=standing.cluster, name=name, modes=modes)
        return token


def check_targets(targets: list[pb.Target], *, own: int, targets_max: int) -> None:
    """Refuse a pipeline that is too long, comes back here, or names a target twice.

    Raises:
        BadRequest: with the reason.
    """
    nodes = [target.node for target in targets]
    if len(targets) > targets_max:
        raise BadRequest(f"a pipeline has at most {targets_max} further targets")
    if own in nodes or len(set(nodes)) < len(nodes):
        raise BadRequest("a pipeline names each target once, and not the one it is sent to")
    if not all(target.address for target in targets):
        raise BadRequest("a pipeline target has no address")
