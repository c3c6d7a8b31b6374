"""A NameNode's first start in a cluster that is there: a join token against a name.

The order of effects:

    1 the uuid of its voter is on the disk   (asked under it again, the answer is the same)
    2 the leader has written the newcomer down, and answered
    3 the voter's row, whom it writes to, and last the member's row are on the disk

A crash before the last leaves a newcomer that asks again.
"""

import contextlib
from collections.abc import Callable
from typing import Final

from dfs.base import crashpoint
from dfs.base.clock import Clock
from dfs.base.errors import BadConfig
from dfs.base.events import Emitter
from dfs.daemons.namenode_ballot import (
    Ballot,
    own_url,
    timers_of,
)
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.whereabouts import machine_of
from dfs.failover.row_file import RowFile
from dfs.failover.voter_house import VOTER_FILE, VoterHouse
from dfs.ha.rows import MemberRow, VoterRow, joining_row
from dfs.nodes.joining import ask_leader
from dfs.settings.sections import Config
from dfs.wire import routes
from dfs.wire.ha_api import JoinMemberReply, JoinMemberRequest
from dfs.wire.http_link import HttpLink

ANSWER_S: Final = 20.0


def join_cluster(
    folder: NamenodeFolder,
    config: Config,
    *,
    token: str,
    clock: Clock,
    emit: Emitter,
    stopped: Callable[[], bool],
) -> Ballot | None:
    """Be let in; None when told to stop before anybody answered.

    Raises:
        BadConfig: no token, no fixed port, or times that are not the cluster's.
        LocalIoError: the disk does not keep what has to be kept.
        DfsError: the leader refused; asking again would not help.
    """
    if not config.namenode.port and not config.ha.advertise:
        raise BadConfig("a standby needs a port that others can know: [namenode] port")
    timers = timers_of(config.ha)
    uuid = folder.joining_uuid()
    request = JoinMemberRequest(
        token=token,
        uuid=uuid,
        url=own_url(config, port=config.namenode.port),
        machine=machine_of(config.ha),
        voter=uuid,
        times_s=timers.times_s,
    )
    link = HttpLink(timeout_s=ANSWER_S, connections=1)
    with contextlib.closing(link):
        reply = ask_leader(
            config.ha.peers,
            routes.JOIN_MEMBER,
            request,
            link=link,
            clock=clock,
            emit=emit,
            stopped=stopped,
        )
    if reply is None:
        return None
    crashpoint.reach("nn.ha.joined")
    return _keep(folder, config, reply, uuid=uuid, clock=clock)


def _keep(
    folder: NamenodeFolder, config: Config, reply: JoinMemberReply, *, uuid: str, clock: Clock
) -> Ballot:
    RowFile(folder.root / VOTER_FILE, VoterRow).keep(VoterRow(uuid, reply.cluster))
    house = VoterHouse(
        folder.root, cluster=reply.cluster, clock=clock, on_failure=lambda _reason: None
    )
    house.learn(reply.correspondents)
    house.stop()
    crashpoint.reach("nn.ha.told")
    file = RowFile(folder.member_row, MemberRow)
    row = joining_row(cluster=reply.cluster, member=reply.name)
    file.keep(row)
    folder.joining.unlink(missing_ok=True)
    return Ballot(folder=folder, member=file, row=row, timers=timers_of(config.ha))
