"""How a NameNode is let in, to stand by: a name for a join token, in one transaction.

Decides nothing about who leads or votes.  The newcomer is on the roll; the leader hears it knock.
"""

from typing import Final

from dfs.base.errors import BadConfig, BadRequest, LimitExceeded, NodeInUse, NodeNotJoined
from dfs.base.events import Emitter, Event
from dfs.failover import member_rows
from dfs.failover.place import Place
from dfs.failover.roll import MEMBERS_MAX, MemberRecord, Roll, can_be_written_to, member_name
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.nodes.node_rows import secret_hash, spend_token
from dfs.wire.ha_api import JoinMemberReply, JoinMemberRequest

_HEX_UUID: Final = 32


def admit(
    place: Place, writer: Writer, request: JoinMemberRequest, *, emit: Emitter
) -> JoinMemberReply:
    """Let a NameNode in, to stand by: a name for its join token.

    The same data folder asking again gets the same name.

    Raises:
        NodeNotJoined: the token is unknown, used up or expired.
        BadRequest: no uuid, or no address.
        BadConfig: its times of failover are others than ours.
        NodeInUse: another member is at its address.
        LimitExceeded: there are as many as a cluster may have.
    """
    if len(request.uuid) != _HEX_UUID or len(request.voter) != _HEX_UUID or not request.url:
        raise BadRequest("a NameNode joins with its uuid, that of its voter, and its address")
    if not can_be_written_to(request.url, request.machine):
        raise BadRequest(
            f"nobody could write to {request.url[:80]!r} on {request.machine[:40]!r}",
            hint="see [ha] advertise and [ha] machine there",
        )
    _require_our_times(place, request)
    name, roll = writer.submit(lambda txn: _write_newcomer(txn, request))
    emit.emit(Event.MEMBER_JOINED, member=name, url=request.url, machine=request.machine)
    return JoinMemberReply(
        name=name,
        cluster=place.cluster,
        leader=place.name,
        correspondents=roll.correspondents(place.times_s),
    )


def _require_our_times(place: Place, request: JoinMemberRequest) -> None:
    ours = place.times_s
    wrong = [key for key, value in sorted(ours.items()) if request.times_s.get(key) != value]
    if wrong:
        raise BadConfig(
            f"[ha] {', '.join(wrong)} differ from those of {place.name}",
            hint="all NameNodes of a cluster have the same times in [ha]",
        )


def _write_newcomer(txn: Txn, request: JoinMemberRequest) -> tuple[str, Roll]:
    roll = member_rows.read_roll(txn.connection)
    name = roll.name_of(request.uuid)
    for other, record in roll.members.items():
        if other != name and record.url == request.url:
            raise NodeInUse(
                f"{other} is at {request.url} already",
                hint=f"if it is gone for good: dfs-admin ha remove {other}",
            )
    token_hash = secret_hash(request.token).hex()
    is_repeated = bool(name) and member_rows.was_let_in_by(txn, request.uuid, token_hash)
    if not is_repeated and not spend_token(txn, request.token):
        raise NodeNotJoined(
            "the join token is unknown, used up or expired",
            hint="make one with dfs-admin join-token",
        )
    if not name and len(roll.members) >= MEMBERS_MAX:
        raise LimitExceeded(f"a cluster has at most {MEMBERS_MAX} NameNodes")
    name = name or member_name(txn.take(member_rows.SEQUENCE))
    record = MemberRecord(request.uuid, request.url, request.machine, request.voter)
    member_rows.put_member(txn, name, record)
    member_rows.note_token(txn, request.uuid, token_hash)
    return name, member_rows.read_roll(txn.connection)
