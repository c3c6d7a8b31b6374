"""The one table of REST `/v1`: which address takes which shape and answers which, and who may ask.

The server binds a handler to each, the client calls by them, the OpenAPI document is printed from
them.  Every route is POST with a JSON body; those marked `safe` change nothing and answer GET too,
with the fields as query parameters (a list by repeating its name).
"""

from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from dfs.base.records import AllocatedBlock, FileStatus, LocatedFile
from dfs.wire import accounts_api as a
from dfs.wire import balance_api as b
from dfs.wire import check_api as c
from dfs.wire import compact_api as cp
from dfs.wire import data_api as d
from dfs.wire import files_api as f
from dfs.wire import ha_api as ha
from dfs.wire import health_api as h
from dfs.wire import nodes_api as n
from dfs.wire import pack_api as pk
from dfs.wire import repair_api as rp
from dfs.wire import safety_api as y
from dfs.wire import scrub_api as sc
from dfs.wire.shapes import Done, NameRequest, Nothing, Outcomes, Request

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")


class Caller(StrEnum):
    """Whose credential a route wants."""

    ANYONE = "anyone"
    SESSION = "session"
    ADMIN = "admin"  # a session of a superuser
    NODE = "node"  # a DataNode's own secret


class Route(msgspec.Struct, Generic[Q, R], frozen=True):
    """One address of `/v1`."""

    path: str
    takes: type[Q]
    gives: type[R]
    summary: str
    caller: Caller = Caller.SESSION
    safe: bool = False


REGISTER: Final = Route(
    "/v1/accounts/register", a.RegisterRequest, Done, "Make an account", Caller.ANYONE
)
LOGIN: Final = Route("/v1/accounts/login", a.LoginRequest, a.LoginReply, "Log in", Caller.ANYONE)
LOGOUT: Final = Route("/v1/accounts/logout", a.LogoutRequest, Done, "End this session, or all")
PASSWORD: Final = Route(
    "/v1/accounts/password", a.PasswordRequest, a.PasswordReply, "Change a password"
)
WHOAMI: Final = Route(
    "/v1/accounts/whoami", Nothing, a.WhoamiReply, "Whose session this is", safe=True
)
USERS: Final = Route("/v1/accounts/users", Nothing, a.UsersReply, "Who is registered", safe=True)
SESSIONS: Final = Route(
    "/v1/accounts/sessions",
    Nothing,
    a.SessionsReply,
    "Who is logged in and from where (one's own sessions, for administrators everybody's)",
    safe=True,
)
ADD_USER: Final = Route(
    "/v1/accounts/add", a.AddUserRequest, a.AddUserReply, "Make an account", Caller.ADMIN
)
REMOVE_USER: Final = Route(
    "/v1/accounts/remove", NameRequest, Done, "Remove an account (one's own, or as administrator)"
)
SET_USER_STATE: Final = Route(
    "/v1/accounts/state", a.UserStateRequest, Done, "Enable or disable an account", Caller.ADMIN
)
GROUPS: Final = Route(
    "/v1/accounts/groups", Nothing, a.GroupsReply, "Groups and their members", safe=True
)
SET_MEMBERS: Final = Route(
    "/v1/accounts/members", a.MembersRequest, Done, "Change a group", Caller.ADMIN
)

STAT: Final = Route(
    "/v1/fs/stat", f.PathsRequest, Outcomes[FileStatus], "Status of paths", safe=True
)
LIST: Final = Route("/v1/fs/list", f.ListRequest, f.ListReply, "A page of a directory", safe=True)
FIND: Final = Route(
    "/v1/fs/find", f.FindRequest, f.FindReply, "A page of what is below a path", safe=True
)
MKDIR: Final = Route("/v1/fs/mkdir", f.MkdirRequest, Outcomes[FileStatus], "Make directories")
MOVE: Final = Route("/v1/fs/move", f.MoveRequest, Outcomes[FileStatus], "Rename")
COPY: Final = Route("/v1/fs/copy", f.CopyRequest, Outcomes[FileStatus], "Copy without moving bytes")
REMOVE: Final = Route(
    "/v1/fs/remove", f.RemoveRequest, Outcomes[f.Removed], "Remove, into the trash"
)
UNDELETE: Final = Route(
    "/v1/fs/undelete", f.UndeleteRequest, FileStatus, "Bring back from the trash"
)
TRASH: Final = Route(
    "/v1/fs/trash", f.TrashRequest, f.TrashReply, "What was removed lately", safe=True
)
DU: Final = Route("/v1/fs/du", f.DuRequest, Outcomes[f.Usage], "Totals below paths", safe=True)
DF: Final = Route("/v1/fs/df", Nothing, f.DfReply, "Room in the cluster", safe=True)
CHMOD: Final = Route("/v1/fs/chmod", f.ChmodRequest, Outcomes[f.Touched], "Set modes")
CHOWN: Final = Route("/v1/fs/chown", f.ChownRequest, Outcomes[f.Touched], "Set owners and groups")
SETREP: Final = Route("/v1/fs/setrep", f.SetrepRequest, Outcomes[f.Touched], "Set copies wanted")
TOUCH: Final = Route("/v1/fs/touch", f.TouchRequest, Outcomes[FileStatus], "Set modification times")
CHECKSUM: Final = Route(
    "/v1/fs/checksum", f.PathsRequest, Outcomes[f.Checksum], "Checksums of files", safe=True
)
LOCATE: Final = Route(
    "/v1/fs/locate",
    f.PathsRequest,
    Outcomes[LocatedFile],
    "Where files are, and the right to read them",
    safe=True,
)
CREATE: Final = Route(
    "/v1/fs/create", d.CreateRequest, Outcomes[d.OpenedFile], "Begin to write files"
)
ALLOCATE: Final = Route(
    "/v1/fs/allocate", d.AllocateRequest, Outcomes[list[AllocatedBlock]], "Further blocks"
)
COMPLETE: Final = Route(
    "/v1/fs/complete", d.CompleteRequest, Outcomes[d.Completed], "Make written files visible"
)
BEGIN_PACKS: Final = Route(
    "/v1/packs/begin",
    pk.BeginPacksRequest,
    Outcomes[pk.OpenedPack],
    "Begin to write packs: blocks that many small files share",
)
COMMIT_FILES: Final = Route(
    "/v1/packs/commit",
    pk.CommitFilesRequest,
    pk.CommitFilesReply,
    "Make thousands of small files visible, with the packs they lie in",
)
LOCATE_MANY: Final = Route(
    "/v1/fs/locate-many",
    pk.LocateManyRequest,
    pk.LocateManyReply,
    "Where many files are, each block said once, and the right to read them",
    safe=True,
)
RENEW: Final = Route("/v1/fs/renew", d.LeasesRequest, Outcomes[Done], "Keep writes alive")
ABANDON: Final = Route("/v1/fs/abandon", d.LeasesRequest, Outcomes[Done], "Give writes up")
SUSPECT: Final = Route(
    "/v1/blocks/suspect", d.SuspectRequest, Done, "Say that a replica did not read back"
)

JOIN: Final = Route(
    "/v1/nodes/join", n.JoinRequest, n.JoinReply, "A DataNode joins with a token", Caller.ANYONE
)
REGISTER_NODE: Final = Route(
    "/v1/nodes/register", n.NodeRegistration, n.BeatReply, "A DataNode started", Caller.NODE
)
BEAT: Final = Route("/v1/nodes/beat", n.Beat, n.BeatReply, "A DataNode lives", Caller.NODE)
STOCK: Final = Route(
    "/v1/nodes/stock", n.StockReport, n.StockReply, "What a DataNode holds", Caller.NODE
)
STOCK_DIGESTS: Final = Route(
    "/v1/nodes/stock-digests",
    n.StockDigests,
    n.StockBuckets,
    "Sums of what a DataNode holds: which part differs",
    Caller.NODE,
)
NODES: Final = Route("/v1/nodes/list", Nothing, n.NodesReply, "Every DataNode", safe=True)
JOIN_TOKEN: Final = Route(
    "/v1/nodes/join-token",
    n.JoinTokenRequest,
    n.JoinTokenReply,
    "A token with which DataNodes join",
    Caller.ADMIN,
)
REMOVE_NODE: Final = Route(
    "/v1/nodes/remove", n.RemoveNodeRequest, Done, "Forget a dead DataNode", Caller.ADMIN
)
SET_DUTY: Final = Route(
    "/v1/nodes/duty", y.DutyRequest, y.DutyReply, "Say what is wanted of a DataNode", Caller.ADMIN
)
LEAVING: Final = Route(
    "/v1/nodes/leaving",
    NameRequest,
    y.DutyReply,
    "How far a DataNode is emptied",
    Caller.ADMIN,
    safe=True,
)
TRUST_NODE: Final = Route(
    "/v1/nodes/trust",
    NameRequest,
    Done,
    "Say that somebody looked: a doubtful DataNode is believed again",
    Caller.ADMIN,
)
SWEEPS: Final = Route(
    "/v1/nodes/sweeps",
    n.SweepsRequest,
    n.SweepsReply,
    "Health reports that sweeps collected",
    Caller.ADMIN,
    safe=True,
)
CLUSTER: Final = Route(
    "/v1/cluster", Nothing, n.ClusterReply, "What a client needs to know", safe=True
)
SCRUB_STATUS: Final = Route(
    "/v1/scrub/status",
    Nothing,
    sc.ScrubReply,
    "How far each DataNode is with verifying what it holds",
    Caller.ADMIN,
    safe=True,
)
SCRUB_START: Final = Route(
    "/v1/scrub/start",
    sc.ScrubStartRequest,
    sc.ScrubOrdered,
    "Verify everything held, now",
    Caller.ADMIN,
)
SCRUB_PAUSE: Final = Route(
    "/v1/scrub/pause",
    sc.ScrubPauseRequest,
    sc.ScrubOrdered,
    "Let scrubbing rest for a while",
    Caller.ADMIN,
)
SCRUB_RESUME: Final = Route(
    "/v1/scrub/resume",
    sc.ScrubResumeRequest,
    sc.ScrubOrdered,
    "Let scrubbing go on",
    Caller.ADMIN,
)

COPIES: Final = Route(
    "/v1/fs/copies",
    f.PathsRequest,
    Outcomes[rp.CopiesOf],
    "How far files are from having exactly the copies they should",
    safe=True,
)
REPAIR_STATUS: Final = Route(
    "/v1/repair/status",
    Nothing,
    rp.RepairReply,
    "How well blocks are kept, and what is done about it",
    Caller.ADMIN,
    safe=True,
)
REPAIR_PAUSE: Final = Route(
    "/v1/repair/pause",
    rp.RepairPauseRequest,
    rp.RepairPauseReply,
    "Let repair rest for a while",
    Caller.ADMIN,
)
REPAIR_RESUME: Final = Route("/v1/repair/resume", Nothing, Done, "Let repair go on", Caller.ADMIN)
REPAIR_BUDGET: Final = Route(
    "/v1/repair/budget",
    rp.RepairBudgetRequest,
    rp.RepairBudgetReply,
    "How many bytes a second each class of repair may move",
    Caller.ADMIN,
)
RESTORE_REPLICA: Final = Route(
    "/v1/repair/restore",
    rp.RestoreRequest,
    Done,
    "Bring a node's copy of a block back from its purge area",
    Caller.ADMIN,
)
HISTORY: Final = Route(
    "/v1/blocks/history",
    rp.HistoryRequest,
    rp.HistoryReply,
    "What happened to a block, or to the blocks of a file",
    Caller.ADMIN,
    safe=True,
)

FSCK: Final = Route(
    "/v1/check/files",
    c.FsckRequest,
    c.FsckReply,
    "How well a page of files is kept",
    Caller.ADMIN,
    safe=True,
)
INVARIANTS: Final = Route(
    "/v1/check/metadata",
    c.InvariantRequest,
    c.InvariantReply,
    "Whether the metadata keeps its own rules",
    Caller.ADMIN,
    safe=True,
)
EXPLAIN: Final = Route(
    "/v1/check/explain",
    c.ExplainRequest,
    c.ExplainReply,
    "Why a write, read or repair goes where it goes",
    Caller.ADMIN,
    safe=True,
)
HEALTH: Final = Route(
    "/v1/health",
    h.HealthRequest,
    h.HealthReport,
    "What every health check finds now",
    Caller.ADMIN,
    safe=True,
)
HEALTH_RUNS: Final = Route(
    "/v1/health/runs",
    h.HealthRunsRequest,
    h.HealthRunsReply,
    "What health checks found before",
    Caller.ADMIN,
    safe=True,
)
BALANCE_STATUS: Final = Route(
    "/v1/balance/status",
    Nothing,
    b.BalanceReply,
    "How full the DataNodes are, and the job that levels them",
    Caller.ADMIN,
    safe=True,
)
BALANCE_PLAN: Final = Route(
    "/v1/balance/plan",
    b.BalanceRequest,
    b.BalancePlanReply,
    "What levelling the DataNodes would begin with",
    Caller.ADMIN,
    safe=True,
)
BALANCE_START: Final = Route(
    "/v1/balance/start",
    b.BalanceRequest,
    b.BalanceReply,
    "Move blocks until the DataNodes are level",
    Caller.ADMIN,
)
BALANCE_STOP: Final = Route(
    "/v1/balance/stop", Nothing, b.BalanceReply, "Move no more blocks", Caller.ADMIN
)
BALANCE_DISKS: Final = Route(
    "/v1/balance/disks",
    b.DisksRequest,
    b.DisksOrdered,
    "Let DataNodes level their own disks",
    Caller.ADMIN,
)
COMPACT_STATUS: Final = Route(
    "/v1/compact/status",
    Nothing,
    cp.CompactReply,
    "How full packs are, and how far compaction is",
    Caller.ADMIN,
    safe=True,
)
COMPACT_START: Final = Route(
    "/v1/compact/start", Nothing, cp.CompactReply, "Compact packs now", Caller.ADMIN
)
COMPACT_STOP: Final = Route(
    "/v1/compact/stop", Nothing, cp.CompactReply, "Compact no more packs", Caller.ADMIN
)
SAFETY: Final = Route(
    "/v1/safety",
    Nothing,
    y.SafetyReply,
    "What holds changes, repair and deletions back",
    Caller.ADMIN,
    safe=True,
)
ENTER_SAFE_MODE: Final = Route(
    "/v1/safety/enter", Nothing, y.SafetyReply, "Let nothing be changed", Caller.ADMIN
)
LEAVE_SAFE_MODE: Final = Route(
    "/v1/safety/leave",
    y.LeaveSafeModeRequest,
    y.SafetyReply,
    "Let changes be made again",
    Caller.ADMIN,
)
ACCEPT_LOSS: Final = Route(
    "/v1/safety/accept-loss",
    Nothing,
    y.AcceptedReply,
    "Heal without the nodes that vanished together",
    Caller.ADMIN,
)
ACCEPT_REGRESSION: Final = Route(
    "/v1/safety/accept-regression",
    Nothing,
    y.AcceptedReply,
    "Go on from metadata older than what DataNodes have seen",
    Caller.ADMIN,
)
JOIN_MEMBER: Final = Route(
    "/v1/ha/join",
    ha.JoinMemberRequest,
    ha.JoinMemberReply,
    "A NameNode wants to stand by",
    Caller.ANYONE,
)
HA_STATUS: Final = Route(
    "/v1/ha/status", Nothing, ha.HaStatus, "How failover stands", Caller.ADMIN, safe=True
)
HA_ORDER: Final = Route(
    "/v1/ha/order",
    ha.HaOrderRequest,
    ha.HaOrderReply,
    "Switch over, promote, force, change voters or members, verify",
    Caller.ADMIN,
)
AUDIT: Final = Route(
    "/v1/audit", n.AuditRequest, n.AuditReply, "The newest audit lines", Caller.ADMIN, safe=True
)

ROUTES: Final[tuple[Route[Any, Any], ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Route)
)
