"""Beginning to write files, and getting more blocks for them.

A file being written is an inode under construction with a lease and no name.  Everything works on
batches: a thousand files cost a few statements each way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.accounts.block_keys import BlockKeys, TokenWish
from dfs.base import crashpoint, paths
from dfs.base.checksum import block_lengths
from dfs.base.entropy import Random, new_id
from dfs.base.errors import (
    BadRequest,
    BeingWritten,
    DfsError,
    LimitExceeded,
    PathExists,
    PlacementRefused,
    Starting,
)
from dfs.base.ids import InodeId, NodeId, node_name
from dfs.base.records import AllocatedBlock, NodeView, Principal
from dfs.base.states import InodeKind, NodeState
from dfs.blocks.blockmap import BlockWish, NewBlock, allocate
from dfs.blocks.explanation import explain_write
from dfs.blocks.promises import Promises
from dfs.meta.txn import Txn
from dfs.namespace.batch import attempt
from dfs.namespace.edit import Edit, EntryCounts, check_mode
from dfs.namespace.inode_rows import Inode, find_inodes, put_inodes
from dfs.namespace.leases import (
    Lease,
    LeaseClock,
    check_lease,
    find_leases,
    find_leases_of_names,
    give_up,
    put_leases,
)
from dfs.namespace.resolve import Place
from dfs.settings.sections import Config
from dfs.wire.check_api import Explained
from dfs.wire.data_api import (
    AllocateItem,
    AllocateRequest,
    CreateRequest,
    NewFile,
    OpenedFile,
)
from dfs.wire.shapes import Outcome, Outcomes, error_body
from dfs.wire.tokens import Mode

BLOCK_SIZE_BYTES_MIN: Final = 64 * 1024
FIRST_BLOCKS_MAX: Final = 64  # allocated with the file; more come as it is written
DIRECTORY_MODE: Final = 0o755  # of directories made on the way


@dataclass(frozen=True, slots=True)
class _Plan:
    """A file that may be written: checked, nothing done yet."""

    file: NewFile
    place: Place
    inode: InodeId
    lease: str
    block_size_bytes: int
    replication: int
    lengths: Sequence[int]  # of the blocks to allocate now, at most

    def wishes(self) -> list[BlockWish]:
        return [
            BlockWish(self.inode, number, length, self.replication)
            for number, length in enumerate(self.lengths)
        ]


class Writing:
    """Opens files for writing and hands out blocks.

    Args:
        nodes: every DataNode as of now.
        keys: signs the tokens with which clients write.
    """

    def __init__(
        self,
        *,
        counts: EntryCounts,
        heard: LeaseClock,
        nodes: Callable[[], Sequence[NodeView]],
        keys: BlockKeys,
        rng: Random,
        config: Config,
    ) -> None:
        self._counts = counts
        self._heard = heard
        self._nodes = nodes
        self._keys = keys
        self._rng = rng
        self._config = config.namenode
        self._liveness = config.liveness
        self._replication = config.replication
        self._limits = config.limits
        self._client = config.client
        self._promises = Promises()

    def create(self, txn: Txn, who: Principal, body: CreateRequest) -> Outcomes[OpenedFile]:
        """Begin files: a lease, an inode nobody sees, and the first blocks of each.

        Raises:
            Starting: DataNodes that may take the blocks are still to be heard of.
        """
        default = self._replication.default
        self.check_awake(max((file.replication or default for file in body.files), default=0))
        edit = Edit(txn, who, self._counts)
        first_blocks = max(1, min(body.first_blocks, FIRST_BLOCKS_MAX))
        edit.resolver.look_at_many([file.path for file in body.files] if body.files[1:] else ())
        outcomes: list[Outcome[_Plan]] = [
            attempt(lambda file=file: self._plan(edit, file, first_blocks))  # type: ignore[misc]
            for file in body.files
        ]
        outcomes = self._without_rivals(txn, outcomes)
        plans = [each.value for each in outcomes if each.value is not None]
        blocks, refused = self._allocate_each(txn, plans)
        opened = [plan for plan in plans if plan.inode not in refused]
        self._put(txn, who, opened)
        tokens = self.with_tokens(who, [(plan.place.path, blocks[plan.inode]) for plan in opened])
        answers = {
            plan.inode: self._opened(plan, allocated)
            for plan, allocated in zip(opened, tokens, strict=True)
        }
        crashpoint.reach("nn.create.applied")
        return Outcomes(outcomes=[_answer(each, answers, refused) for each in outcomes])

    def allocate(
        self, txn: Txn, who: Principal, body: AllocateRequest
    ) -> Outcomes[list[AllocatedBlock]]:
        """Further blocks, or others in place of those that no target took.

        Raises:
            Starting: as `create`.
        """
        inodes = [InodeId(item.inode) for item in body.items]
        leases, found = find_leases(txn, inodes), find_inodes(txn.connection, inodes)
        self.check_awake(max((inode.replication for inode in found.values()), default=0))

        def one(item: AllocateItem) -> list[AllocatedBlock]:
            lease = check_lease(leases.get(InodeId(item.inode)), item.lease, who)
            self._heard.hear((lease.inode,))
            inode = found[lease.inode]
            self._check_numbers(item.number, item.count)
            wishes = [
                BlockWish(
                    inode.id,
                    number,
                    inode.block_size_bytes,
                    inode.replication,
                    frozenset(NodeId(node) for node in item.exclude),
                )
                for number in range(item.number, item.number + item.count)
            ]
            made = self.place_blocks(txn, wishes)
            return self.with_tokens(who, [(lease.path, made)])[0]

        answer = Outcomes(outcomes=[attempt(lambda item=item: one(item)) for item in body.items])  # type: ignore[misc]
        crashpoint.reach("nn.allocate.applied")
        return answer

    def would_place(self, *, size_bytes: int, copies: int) -> Explained:
        """Where a new block would go now; nothing is promised by it.

        Raises:
            Starting: as `create`.
        """
        self.check_awake(copies)
        nodes = self._nodes()
        return explain_write(
            size_bytes=size_bytes,
            copies=copies,
            nodes=nodes,
            promised=self._promises.outstanding(nodes),
            rng=self._rng,
        )

    def _plan(self, edit: Edit, file: NewFile, first_blocks: int) -> _Plan:
        """Check one file of a batch.

        Raises:
            DfsError: it may not be written there, or not so.
        """
        check_mode(file.mode)
        block_size = self._block_size(file)
        replication = self.copies(file.replication)
        lengths = self._first_lengths(file, block_size, first_blocks)
        place = self._place(edit, file)  # last: it may make directories on the way
        return _Plan(
            file=file,
            place=place,
            inode=InodeId(edit.txn.take("inode")),
            lease=new_id(),
            block_size_bytes=block_size,
            replication=replication,
            lengths=lengths,
        )

    def _place(self, edit: Edit, file: NewFile) -> Place:
        names = paths.parse(file.path)
        if file.parents and len(names) > 1:
            edit.make_directories(names[:-1], mode=DIRECTORY_MODE)
        place = edit.resolver.place(file.path)
        if place.entry is None:
            edit.require_writable(place.parent, place.parent_path)
            edit.reserve(place)
        elif place.inode.is_directory:
            raise PathExists(f"a directory is already there: {place.path}")
        elif not file.overwrite:
            raise PathExists(f"already there: {place.path}")
        else:
            edit.require_removable(place)
        return place

    def check_awake(self, copies: int) -> None:
        """Refuse blocks while DataNodes that would hold them may just not have been heard yet.

        Without this, a write that goes on over a restart of its NameNode would be refused, or get
        fewer copies than there are nodes for.  A node that stays silent is not waited for longer
        than any other.

        Raises:
            Starting: there are such DataNodes.
        """
        nodes = self._nodes()
        heard = sum(node.state is NodeState.LIVE for node in nodes)
        awaited = [
            node_name(node.node)
            for node in nodes
            if node.state is NodeState.JOINED and node.silent_s < self._liveness.stale_after_s
        ]
        if awaited and heard < copies:
            raise Starting(f"not heard yet since this NameNode started: {', '.join(awaited[:10])}")

    def _block_size(self, file: NewFile) -> int:
        wanted = file.block_size_bytes or self._client.block_size_bytes
        if not BLOCK_SIZE_BYTES_MIN <= wanted <= self._limits.block_size_bytes_max:
            raise BadRequest(
                f"block size {wanted} is not between {BLOCK_SIZE_BYTES_MIN}"
                f" and {self._limits.block_size_bytes_max} bytes"
            )
        return wanted

    def copies(self, asked: int | None) -> int:
        """How many copies a file gets that asks for so many, or leaves it to the cluster.

        Raises:
            BadRequest: more or fewer than the cluster makes of any file.
        """
        wanted = self._replication.default if asked is None else asked
        if not 1 <= wanted <= self._replication.maximum:
            raise BadRequest(
                f"replication {wanted} is not between 1 and {self._replication.maximum}"
            )
        return wanted

    def _first_lengths(self, file: NewFile, block_size: int, first_blocks: int) -> Sequence[int]:
        if file.size_bytes is None:
            return [block_size]
        if file.size_bytes < 0:
            raise BadRequest("size_bytes is below 0")
        count = -(-file.size_bytes // block_size)
        if count > self._limits.blocks_per_file_max:
            raise LimitExceeded(
                f"{file.path} needs {count} blocks of {block_size} bytes;"
                f" a file may have {self._limits.blocks_per_file_max}",
                hint="use a larger --block-size",
            )
        return block_lengths(min(file.size_bytes, first_blocks * block_size), block_size)

    def _check_numbers(self, number: int, count: int) -> None:
        if number < 0 or not 1 <= count <= FIRST_BLOCKS_MAX:
            raise BadRequest(f"number is 0 or more and count between 1 and {FIRST_BLOCKS_MAX}")
        if number + count > self._limits.blocks_per_file_max:
            raise LimitExceeded(
                f"a file may have {self._limits.blocks_per_file_max} blocks",
                hint="use a larger --block-size",
            )

    def _without_rivals(self, txn: Txn, outcomes: Sequence[Outcome[_Plan]]) -> list[Outcome[_Plan]]:
        """Refuse paths that another client is writing; end writes whose soft limit has passed."""
        names = [
            (each.value.place.parent.id, each.value.place.name) for each in outcomes if each.value
        ]
        rivals = find_leases_of_names(txn, names)
        silent = {
            key: lease
            for key, lease in rivals.items()
            if self._heard.silent_s(lease.inode) > self._config.lease_soft_s
        }
        ended = [lease.inode for lease in silent.values()]
        give_up(txn, ended, keep_ms=int(self._config.block_token_life_s * 1000))
        txn.after_commit(lambda: self._heard.forget(ended))
        taken = set(rivals) - set(silent)
        checked: list[Outcome[_Plan]] = []
        for each in outcomes:
            if each.value is None:
                checked.append(each)
                continue
            key = each.value.place.parent.id, each.value.place.name
            if key in taken:
                refusal = BeingWritten(f"another client is writing {each.value.place.path}")
                checked.append(Outcome(error=error_body(refusal)))
            else:
                taken.add(key)
                checked.append(each)
        return checked

    def _allocate_each(
        self, txn: Txn, plans: Sequence[_Plan]
    ) -> tuple[dict[InodeId, list[NewBlock]], dict[InodeId, DfsError]]:
        """Blocks for all files at once; only if that is refused, file by file to find which."""
        blocks: dict[InodeId, list[NewBlock]] = {plan.inode: [] for plan in plans}
        try:
            for made in self.place_blocks(txn, [wish for plan in plans for wish in plan.wishes()]):
                blocks[made.name.file].append(made)
        except PlacementRefused:
            return self._allocate_one_by_one(txn, plans)
        return blocks, {}

    def _allocate_one_by_one(
        self, txn: Txn, plans: Sequence[_Plan]
    ) -> tuple[dict[InodeId, list[NewBlock]], dict[InodeId, DfsError]]:
        blocks: dict[InodeId, list[NewBlock]] = {}
        refused: dict[InodeId, DfsError] = {}
        for plan in plans:
            try:
                blocks[plan.inode] = self.place_blocks(txn, plan.wishes())
            except PlacementRefused as exc:
                refused[plan.inode] = exc
        return blocks, refused

    def place_blocks(self, txn: Txn, wishes: Sequence[BlockWish]) -> list[NewBlock]:
        """Blocks for those wishes, in their order.

        Raises:
            PlacementRefused: a block found no target at all.
        """
        return allocate(txn, wishes, nodes=self._nodes(), rng=self._rng, promises=self._promises)

    def _put(self, txn: Txn, who: Principal, plans: Sequence[_Plan]) -> None:
        put_inodes(txn, *(_new_inode(txn, who, plan) for plan in plans))
        put_leases(
            txn,
            [
                Lease(
                    plan.inode,
                    plan.lease,
                    plan.place.parent.id,
                    plan.place.name,
                    plan.place.path,
                    who.user,
                    int(plan.file.overwrite),
                    txn.now_ms,
                )
                for plan in plans
            ],
        )
        self._heard.hear(plan.inode for plan in plans)

    def min_acks(self, replication: int) -> int:
        """On how many nodes a block must be before its file becomes visible."""
        return min(self._replication.min_acks, replication)

    def with_tokens(
        self, who: Principal, files: Sequence[tuple[str, Sequence[NewBlock]]]
    ) -> list[list[AllocatedBlock]]:
        """The blocks of each file with the right to write them under its path."""
        wishes = [
            TokenWish(block.name, block.length_max_bytes, path, block.targets)
            for path, blocks in files
            for block in blocks
        ]
        tokens = iter(self._keys.mint_many(user=who.name, mode=Mode.WRITE, wishes=wishes))
        return [
            [
                AllocatedBlock(
                    block.name, block.length_max_bytes, block.targets, next(tokens), block.refusals
                )
                for block in blocks
            ]
            for _, blocks in files
        ]

    def _opened(self, plan: _Plan, blocks: list[AllocatedBlock]) -> OpenedFile:
        return OpenedFile(
            path=plan.place.path,
            inode=plan.inode,
            lease=plan.lease,
            block_size_bytes=plan.block_size_bytes,
            replication=plan.replication,
            min_acks=self.min_acks(plan.replication),
            blocks=blocks,
        )


def _answer(
    outcome: Outcome[_Plan],
    answers: dict[InodeId, OpenedFile],
    refused: dict[InodeId, DfsError],
) -> Outcome[OpenedFile]:
    if outcome.value is None:
        return Outcome(error=outcome.error)
    refusal = refused.get(outcome.value.inode)
    if refusal is not None:
        return Outcome(error=error_body(refusal))
    return Outcome(value=answers[outcome.value.inode])


def _new_inode(txn: Txn, who: Principal, plan: _Plan) -> Inode:
    return Inode(
        id=plan.inode,
        kind=InodeKind.FILE,
        owner=who.user,
        group=plan.place.parent.group,
        mode=plan.file.mode,
        size_bytes=0,
        replication=plan.replication,
        block_size_bytes=plan.block_size_bytes,
        created_ms=txn.now_ms,
        modified_ms=txn.now_ms,
        changed_ms=txn.now_ms,
        checksum=b"",
        version=1,
        under_construction=1,
    )
