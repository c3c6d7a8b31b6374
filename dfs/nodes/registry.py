"""The NameNode's register of DataNodes: who may come in, where each is, what it last said.

Who joined, where and with which disks is in the database (journaled: a standby knows it).  What
beats say (usage, volumes, liveness) is in memory and always current; after a restart every node is
JOINED until it is heard.  A node that this run has not seen register is told so with each beat; its
next word is then a registration and a full stock report.

Decides when a node is live, stale or dead (`liveness.py` says how), never what becomes of its
blocks.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import BadRequest, ForeignFolder, NodeInUse, NodeNotJoined, PortInUse
from dfs.base.events import Emitter, Event
from dfs.base.ids import NodeId, node_name, parse_node_name
from dfs.base.records import (
    BlockKey,
    BlockName,
    NodeAddress,
    NodeCommand,
    NodeView,
)
from dfs.base.states import NodeDuty, NodeState
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes import node_rows
from dfs.nodes.admission import Admission
from dfs.nodes.duties import Duties
from dfs.nodes.newer_history import NewerHistory, Reached
from dfs.nodes.node_rows import NodeRecord
from dfs.nodes.presence import VOLUMES_MAX, LivenessReport, Presence, VoterSeen
from dfs.settings.sections import LivenessConfig
from dfs.wire.ha_api import Correspondents
from dfs.wire.nodes_api import (
    Beat,
    BeatReply,
    JoinReply,
    JoinRequest,
    JoinTokenReply,
    KeyItem,
    NodeRegistration,
)

EPOCHS_AHEAD_MAX: Final = 1 << 20
VOTER_CHARACTERS_MAX: Final = 64
_SOCKET = re.compile(r"/[^\0]{1,1023}")


class KeySource(Protocol):
    """The block keys, as far as a beat's answer needs them."""

    def keys_missing_from(self, ids: Sequence[int]) -> list[BlockKey]:
        """Keys in force that are not among those ids."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What every DataNode is told, and held against."""

    cluster: str
    namenodes: tuple[str, ...]  # at the start; `NodeRegistry.namenodes` says which there are now
    block_tokens: bool
    join_token_life_s: float


class NodeRegistry:
    """See the module.  Safe to share between threads.

    Args:
        keys: where a beat's answer takes missing block keys from.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        clock: Clock,
        emit: Emitter,
        config: LivenessConfig,
        keys: KeySource,
        facts: ClusterFacts,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._emit = emit
        self._keys = keys
        self._facts = facts
        self.presence = Presence(clock=clock, emit=emit, config=config)
        self._duties = Duties(
            writer,
            presence=self.presence,
            clock=clock,
            emit=emit,
            clean_stop_s=config.clean_stop_s,
        )
        self._admission = Admission(
            writer, clock, cluster=facts.cluster, default_life_s=facts.join_token_life_s
        )
        # Asked with every beat, so that what was ordered when it might is not told when it may not.
        self.why_no_deletes: Callable[[], str] = lambda: ""
        # Asked with every answer: of several NameNodes, some come and go while this one runs.
        self.namenodes: Callable[[], Sequence[str]] = lambda: facts.namenodes
        self.correspondents: Callable[[], Correspondents | None] = lambda: None
        # Told when a DataNode has seen a higher epoch than ours: another NameNode may lead.
        self.on_epoch_seen: Callable[[int], None] = lambda _epoch: None
        self.newer = NewerHistory(Reached(writer.epoch, writer.opened_txid))
        self.load()

    def load(self) -> None:
        """Take over the nodes in the database that memory does not know, and forget those gone."""
        with self._reader.view() as connection:
            self.presence.replace_all(node_rows.load_nodes(connection))

    # ---- joining

    def create_join_token(self, uses: int, life_s: float | None = None) -> JoinTokenReply:
        """A token that lets that many DataNodes join; said once, kept as a hash.

        Raises:
            BadRequest: no use, too many, or no life.
        """
        return self._admission.create_token(uses, life_s)

    def join(self, request: JoinRequest) -> JoinReply:
        """Let a DataNode in: an id and a credential for its join token.

        The same node asking again with the same token (it never saw the answer) gets the same
        answer.

        Raises:
            NodeNotJoined: the token is unknown, used up or expired.
            ForeignFolder: the node of that uuid is in service: this is a copy of its folder.
            BadRequest: the uuid is none.
        """
        reply, record = self._admission.join(request, may_rejoin=self.presence.is_unused)
        if record is not None:
            self.presence.remember(record)
            self._emit.emit(Event.NODE_JOINED, node=node_name(record.node), uuid=record.uuid)
        return reply

    def authenticate(self, secret: str) -> NodeId:
        """Whose credential it is; from memory.

        Raises:
            NodeNotJoined: nobody's, or that of a node that was removed.
        """
        node = self.presence.owner_of(secret)
        if node is None:
            raise NodeNotJoined("this DataNode's credential is not known to the cluster")
        return node

    # ---- registering and beating

    def register(self, node: NodeId, registration: NodeRegistration) -> BeatReply:
        """A DataNode started, or is asked to introduce itself again.  The order of effects:

        1 where it is and which disks it has are committed
        2 memory says that it is live (in the order of commits, so the last word stands)
        3 it is answered

        Raises:
            ForeignFolder: it belongs to another cluster, or another node registered its disk.
            PortInUse: another node, not a dead one, is at its address.
            NodeNotJoined: it was removed.
            BadRequest: no address, more volumes than can be, or an epoch that cannot be.
        """
        self._check(registration)
        self._heed_epoch(registration.epoch)
        self.newer.note(node, Reached(registration.epoch, registration.txid), now=self._reached())
        self._writer.submit(lambda txn: self._write_registration(txn, node, registration))
        crashpoint.reach("nn.node.registered")
        return self._reply(node, known_keys=(), registered=True)

    def _check(self, registration: NodeRegistration) -> None:
        if registration.cluster != self._facts.cluster:
            raise ForeignFolder(
                f"this DataNode belongs to cluster {registration.cluster[:40]},"
                f" not to {self._facts.cluster}",
                hint="point it at its own NameNode, or give it an empty folder and a join token",
            )
        ports = (registration.grpc_port, registration.http_port)
        if not 0 < len(registration.host) <= 255 or not all(0 < port < 65536 for port in ports):
            raise BadRequest(f"no address: {registration.host[:80]!r}, ports {ports}")
        if not registration.rack.startswith("/") or len(registration.rack) > 255:
            raise BadRequest(f"not a rack: {registration.rack[:80]!r}", hint="racks begin with '/'")
        if registration.local and not _SOCKET.fullmatch(registration.local):
            raise BadRequest(f"not the path of a socket: {registration.local[:80]!r}")
        if len(registration.voter) > VOTER_CHARACTERS_MAX or len(registration.machine) > 255:
            raise BadRequest("not a voter of a machine that has a name")
        if len(registration.volumes) > VOLUMES_MAX:
            raise BadRequest(f"a DataNode has at most {VOLUMES_MAX} volumes")

    def _write_registration(self, txn: Txn, node: NodeId, registration: NodeRegistration) -> None:
        before = node_rows.get_node(txn, node)
        if before is None:
            raise NodeNotJoined(f"{node_name(node)} was removed from the cluster")
        uuids = [volume.volume for volume in registration.volumes]
        for volume, owner in node_rows.volume_owners(txn.connection, uuids).items():
            if owner != node:
                raise ForeignFolder(f"volume {volume} is registered by {node_name(owner)}")
        self._check_address(txn, node, registration)
        record = _registered(before, registration, now_ms=txn.now_ms)
        node_rows.put_node(txn, record)
        node_rows.put_volumes(txn, node, registration.volumes)
        txn.after_commit(lambda: self._take_registration(record, registration))

    def _check_address(self, txn: Txn, node: NodeId, registration: NodeRegistration) -> None:
        """Who registered last at an address has it; only the dead lose it to others.

        Two nodes at one address would answer for each other: one copy would pass for two.
        """
        host, port = registration.host, registration.grpc_port
        holder = node_rows.last_at_address(txn.connection, host, port)
        if holder is None or holder.node == node:
            return
        # One that came back in this very transaction is still dead in memory.
        back = holder.registered_ms >= txn.now_ms
        if self.presence.is_dead(holder.node) and not back:
            return
        name = node_name(holder.node)
        raise PortInUse(
            f"{host}:{port} is the address of {name}, which does not count as dead",
            hint="give each DataNode an address of its own; if that one is gone for good:"
            f" dfs-admin node remove {name} --force",
        )

    def _take_registration(self, record: NodeRecord, registration: NodeRegistration) -> None:
        self.presence.take_registration(
            record,
            registration.usage,
            registration.volumes,
            voter=registration.voter,
            machine=registration.machine or registration.host,
        )
        self._emit.emit(
            Event.NODE_REGISTERED,
            node=node_name(record.node),
            address=record.address.grpc,
            rack=record.rack,
            version=record.version,
            restarts=registration.restarts,
            clean_stop=registration.clean_stop,
            free_bytes=registration.usage.free_bytes,
            total_bytes=registration.usage.total_bytes,
        )

    def beat(self, node: NodeId, beat: Beat) -> BeatReply:
        """A DataNode lives: keep what it says, and answer what is wanted of it.

        A node that counts as dead, or never registered, must register before its beats count.

        Raises:
            NodeNotJoined: it was removed.
            BadRequest: it speaks of an epoch that cannot be.
        """
        self._heed_epoch(beat.epoch)
        registered = self.presence.take_beat(
            node,
            beat.usage,
            beat.volumes,
            beat.acknowledged,
            failed=beat.failed,
            condition=beat.condition,
        )
        self._duties.heard(node, leaving=beat.leaving)
        self.newer.note(node, Reached(beat.epoch, beat.txid), now=self._reached())
        return self._reply(
            node,
            known_keys=beat.keys,
            registered=registered,
            correspondents=self._newer_correspondents(beat.correspondents),
        )

    def _heed_epoch(self, epoch: int) -> None:
        """Tell of a higher one than ours before anything else is made of who has seen it.

        An epoch is a start of a NameNode, or that one of several came to lead: nobody saw one that
        is a million ahead.  Were it believed, the epochs after it would outgrow the numbers that a
        database can hold.
        """
        if epoch > self._writer.epoch + EPOCHS_AHEAD_MAX:
            raise BadRequest(
                f"no NameNode of this cluster can have reached epoch {epoch}",
                hint="look at the DataNode that says so: its memory, disk or code is broken",
            )
        if epoch > self._writer.epoch:
            self.on_epoch_seen(epoch)

    def _reached(self) -> Reached:
        return Reached(self._writer.epoch, self._writer.txid)

    def _newer_correspondents(self, version: int) -> Correspondents | None:
        """What a DataNode that knows those of that version is to be told."""
        ours = self.correspondents()
        return ours if ours is not None and ours.version > version else None

    def _reply(
        self,
        node: NodeId,
        *,
        known_keys: Sequence[int],
        registered: bool,
        correspondents: Correspondents | None = None,
    ) -> BeatReply:
        return BeatReply(
            epoch=self._writer.epoch,
            txid=self._writer.txid,
            now_ms=self._clock.now_ms(),
            registered=registered,
            block_tokens=self._facts.block_tokens,
            keys=[_key_item(key) for key in self._keys.keys_missing_from(known_keys)],
            commands=self._commands(node) if registered else [],
            namenodes=list(self.namenodes()),
            correspondents=correspondents,
        )

    def _commands(self, node: NodeId) -> list[NodeCommand]:
        return self.presence.orders(node, deletions=not self.why_no_deletes())

    # ---- liveness

    def tick_once(self) -> LivenessReport:
        """Note who has been silent for too long, and whose maintenance is over."""
        self._duties.end_maintenance()
        return self.presence.tick_once()

    # ---- duties

    def set_duty(
        self,
        node: NodeId | str,
        duty: NodeDuty,
        *,
        until_ms: int = 0,
        force: bool = False,
        why_not: Callable[[Connection], str] = lambda _connection: "",
    ) -> NodeRecord:
        """Say what is wanted of a DataNode from now on; it is journaled.

        Args:
            node: its id, or its name.
            until_ms: when maintenance ends by itself; 0: when somebody says so.
            force: also when it is the last node in service.
            why_not: asked inside the transaction; anything but "" refuses it.

        Raises:
            NodeNotFound: no such node.
            NodeInUse: it is the last one that could take blocks.
            JobConflict: it is on its way out; it must be recommissioned first.  Or `why_not`.
            BadRequest: no name, or an end that cannot be.
        """
        return self._duties.set(node, duty, until_ms=until_ms, force=force, why_not=why_not)

    # ---- what others see, and ask

    def views(self) -> tuple[NodeView, ...]:
        """Every DataNode as of now, in the order of ids; the same object while nothing changed."""
        return self.presence.views()

    def address(self, node: NodeId) -> NodeAddress:
        """Where a DataNode is.

        Raises:
            NodeNotFound: no such node.
        """
        return self.presence.address(node)

    def voters(self) -> dict[str, VoterSeen]:
        """The voters in the processes of DataNodes that are registered and live, by their uuids."""
        return self.presence.voters()

    def enqueue(
        self,
        node: NodeId,
        verb: str,
        block: BlockName | None = None,
        *,
        reason: str = "",
        value: int = 0,
    ) -> bool:
        """Order something of a DataNode; it is told with every beat until it has done it.

        Returns:
            False when the node is gone, too much waits for it already, or it could not do the same
            lately: order again later.
        """
        return self.presence.enqueue(
            node, verb, block, epoch=self._writer.epoch, reason=reason, value=value
        )

    def cancel(self, node: NodeId, verb: str, block: BlockName | None = None) -> bool:
        """Order it no more; whether it was waiting.  The node may have been told already."""
        return self.presence.cancel(node, verb, block)

    # ---- removing

    def remove(self, name: str, *, force: bool = False) -> NodeId:
        """Forget a DataNode for good: its credential, its disks, and by and by its replicas.

        Args:
            force: also when it is still heard, or holds the only copy of something.

        Raises:
            NodeNotFound: no such node.
            NodeInUse: it is not dead, or no live node is known to hold some block of it.
        """
        node = parse_node_name(name)
        self.presence.address(node)  # or NodeNotFound
        if not force:
            self._check_removable(node)
        self._writer.submit(lambda txn: self._write_removal(txn, node, force=force))
        crashpoint.reach("nn.node.removed")
        self._emit.emit(Event.NODE_CHANGED, node=node_name(node), change="removed", force=force)
        return node

    def _check_removable(self, node: NodeId) -> None:
        if not self.presence.is_unused(node) and not self._is_emptied(node):
            raise NodeInUse(
                f"{node_name(node)} does not count as dead",
                hint="stop it and wait until it counts as dead, or add --force",
            )
        with self._reader.view() as connection:
            self._check_not_sole(connection, node)

    def _check_not_sole(self, connection: Connection, node: NodeId) -> None:
        heard = {view.node for view in self.views() if view.state is NodeState.LIVE}
        sole = node_rows.count_sole_copies(connection, node, heard=heard)
        if sole:
            raise NodeInUse(
                f"{node_name(node)} holds the only known copy of {sole} blocks"
                " (a copy counts elsewhere when it is good and its node is live)",
                hint="bring it back and let them be copied; --force gives them up",
                details={"sole_copies": sole},
            )

    def _is_emptied(self, node: NodeId) -> bool:
        """Whether it was decommissioned and is heard no more."""
        return any(
            view.duty is NodeDuty.DECOMMISSIONED and view.state is not NodeState.LIVE
            for view in self.views()
            if view.node == node
        )

    def _write_removal(self, txn: Txn, node: NodeId, *, force: bool) -> None:
        if not force:  # again, by the rows of now: a write may have ended meanwhile
            self._check_not_sole(txn.connection, node)
        node_rows.drop_node(txn, node)
        txn.after_commit(lambda: self.presence.forget(node))


def _registered(before: NodeRecord, said: NodeRegistration, *, now_ms: int) -> NodeRecord:
    """The node with its new address; what it had free at its first registration stays for ever.

    It is back: only maintenance goes on excusing it.
    """
    first = not before.registered_ms
    in_maintenance = before.duty is NodeDuty.MAINTENANCE
    return dataclasses.replace(
        before,
        host=said.host,
        grpc_port=said.grpc_port,
        http_port=said.http_port,
        rack=said.rack,
        local=said.local,
        version=said.version[:32],
        first_total_bytes=said.usage.total_bytes if first else before.first_total_bytes,
        first_free_bytes=said.usage.free_bytes if first else before.first_free_bytes,
        registered_ms=now_ms,
        excused_until_ms=before.excused_until_ms if in_maintenance else 0,
    )


def _key_item(key: BlockKey) -> KeyItem:
    return KeyItem(key.key_id, key.secret, key.created_ms, key.expires_ms)
