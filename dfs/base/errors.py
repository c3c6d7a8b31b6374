"""Pure: the one tree of errors.

A *kind* says what sort of refusal it is; each surface (REST, gRPC, command line) maps it once.
A *code* is stable and names the case; it travels, and the far side raises the same class again.

    DfsError
      BAD_INPUT        BadRequest  BadPath  BadConfig  LimitExceeded  LengthMismatch
      UNAUTHENTICATED  NotLoggedIn  SessionExpired  WrongPassword  TokenRefused  NodeNotJoined
      DENIED           PermissionDenied  RegistrationClosed  PasswordExpired  AccountDisabled
      NOT_FOUND        PathNotFound  UserNotFound  GroupNotFound  NodeNotFound  BlockNotFound
                       LocalNotFound
      CONFLICT         PathExists  NotADirectory  IsADirectory  DirectoryNotEmpty  MoveIntoItself
                       BeingWritten  LeaseLost  UserExists  GroupExists  BlockConflict  FolderInUse
                       ForeignFolder  NotInTrash  NodeInUse  LocalExists  PortInUse  SourceChanged
                       JobConflict
      FENCED           StaleEpoch  StaleGeneration  NotLeader
      UNAVAILABLE      NamenodeUnreachable  PeerUnreachable  PlacementRefused  DiskFull
                       VolumeReadOnly  Overloaded  Throttled  DatabaseUnavailable
                       SchemaMismatch  Stopping  Starting  DaemonFailed  ProgramFault
                       LocalDiskFull  LocalIoError  WaitTimedOut  SafeMode  Regressed
      CORRUPT          BlockCorrupt  DataUnavailable  MetadataCorrupt
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """What sort of refusal an error is; surfaces branch on this alone."""

    BAD_INPUT = "bad_input"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    FENCED = "fenced"
    UNAVAILABLE = "unavailable"
    CORRUPT = "corrupt"


class DfsError(Exception):
    """Any refusal or fault that DFS reports.

    Args:
        message: what happened, naming the thing it happened to.
        hint: what to do next; the class's own hint when not given.
        details: facts for programs (JSON values only).
    """

    kind: ClassVar[ErrorKind]
    code: ClassVar[str]
    default_hint: ClassVar[str] = ""

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.details: dict[str, object] = dict(details or {})


class BadRequest(DfsError):
    """The request does not say something that can be done."""

    kind, code = ErrorKind.BAD_INPUT, "bad_request"


class BadPath(DfsError):
    """The path is not one DFS can hold."""

    kind, code = ErrorKind.BAD_INPUT, "bad_path"
    default_hint = "paths are absolute UTF-8; no name is empty, '.' or '..', or holds '/' or NUL"


class BadConfig(DfsError):
    """The configuration is wrong; the message names the key."""

    kind, code = ErrorKind.BAD_INPUT, "bad_config"
    default_hint = "every key and its meaning: config.ini, docs/configure.md"


class LimitExceeded(DfsError):
    """A stated limit (name, depth, entries, blocks, batch) would be passed."""

    kind, code = ErrorKind.BAD_INPUT, "limit_exceeded"
    default_hint = "the limits are in docs/configure.md, section [limits]"


class LengthMismatch(DfsError):
    """Fewer or more bytes arrived than were announced."""

    kind, code = ErrorKind.BAD_INPUT, "length_mismatch"
    default_hint = "send it again"


class NotLoggedIn(DfsError):
    """No credential came with the request."""

    kind, code = ErrorKind.UNAUTHENTICATED, "not_logged_in"
    default_hint = "log in with: dfs login NAME"


class SessionExpired(DfsError):
    """The session is over: expired, logged out, or from another address."""

    kind, code = ErrorKind.UNAUTHENTICATED, "session_expired"
    default_hint = "log in again with: dfs login NAME"


class WrongPassword(DfsError):
    """Unknown user or wrong password; which of the two is not said."""

    kind, code = ErrorKind.UNAUTHENTICATED, "wrong_password"
    default_hint = "check the name and the password; an administrator can set a new one"


class TokenRefused(DfsError):
    """A block token, or the seal on letters, is missing, forged, expired or for something else."""

    kind, code = ErrorKind.UNAUTHENTICATED, "token_refused"
    default_hint = "ask the NameNode for a new one (locate or allocate again)"


class NodeNotJoined(DfsError):
    """The DataNode's credential is unknown to this cluster."""

    kind, code = ErrorKind.UNAUTHENTICATED, "node_not_joined"
    default_hint = "join again with a token from: dfs-admin join-token"


class PermissionDenied(DfsError):
    """The user may not do this to that path."""

    kind, code = ErrorKind.DENIED, "permission_denied"
    default_hint = "see owner and mode with: dfs stat PATH"


class RegistrationClosed(DfsError):
    """Accounts are made by administrators here."""

    kind, code = ErrorKind.DENIED, "registration_closed"
    default_hint = "ask an administrator for: dfs-admin users add NAME"


class PasswordExpired(DfsError):
    """The one-time password must be replaced first."""

    kind, code = ErrorKind.DENIED, "password_expired"
    default_hint = "set your own with: dfs passwd"


class AccountDisabled(DfsError):
    """The account exists but may not log in."""

    kind, code = ErrorKind.DENIED, "account_disabled"
    default_hint = "ask an administrator"


class PathNotFound(DfsError):
    """No such file or directory in DFS."""

    kind, code = ErrorKind.NOT_FOUND, "path_not_found"


class UserNotFound(DfsError):
    """No such user."""

    kind, code = ErrorKind.NOT_FOUND, "user_not_found"
    default_hint = "who is registered: dfs-admin users"


class GroupNotFound(DfsError):
    """No such group."""

    kind, code = ErrorKind.NOT_FOUND, "group_not_found"
    default_hint = "groups are made by: dfs-admin groups add NAME"


class NodeNotFound(DfsError):
    """No such DataNode."""

    kind, code = ErrorKind.NOT_FOUND, "node_not_found"
    default_hint = "which there are: dfs-admin nodes"


class BlockNotFound(DfsError):
    """This DataNode does not hold that block and generation."""

    kind, code = ErrorKind.NOT_FOUND, "block_not_found"


class LocalNotFound(DfsError):
    """No such file or directory on this computer."""

    kind, code = ErrorKind.NOT_FOUND, "local_not_found"


class PathExists(DfsError):
    """Something of that name is there already."""

    kind, code = ErrorKind.CONFLICT, "path_exists"
    default_hint = "replace a file with -f, or choose another name"


class NotADirectory(DfsError):
    """A file stands where a directory is needed."""

    kind, code = ErrorKind.CONFLICT, "not_a_directory"


class IsADirectory(DfsError):
    """A directory stands where a file is needed."""

    kind, code = ErrorKind.CONFLICT, "is_a_directory"
    default_hint = "add -r to work on directories"


class DirectoryNotEmpty(DfsError):
    """The directory has entries."""

    kind, code = ErrorKind.CONFLICT, "directory_not_empty"
    default_hint = "remove it with everything below: -r"


class MoveIntoItself(DfsError):
    """A directory cannot move below itself."""

    kind, code = ErrorKind.CONFLICT, "move_into_itself"


class BeingWritten(DfsError):
    """Another client is writing that path and its lease is live."""

    kind, code = ErrorKind.CONFLICT, "being_written"
    default_hint = (
        "try again when it is done; an abandoned write is released after the soft lease limit"
    )


class LeaseLost(DfsError):
    """The write was abandoned or taken over; nothing of it is visible."""

    kind, code = ErrorKind.CONFLICT, "lease_lost"
    default_hint = "put the file again"


class UserExists(DfsError):
    """That user name is taken."""

    kind, code = ErrorKind.CONFLICT, "user_exists"
    default_hint = "choose another name"


class GroupExists(DfsError):
    """That group name is taken."""

    kind, code = ErrorKind.CONFLICT, "group_exists"


class BlockConflict(DfsError):
    """The same block and generation is stored with other bytes."""

    kind, code = ErrorKind.CONFLICT, "block_conflict"
    default_hint = "this is never normal: keep both copies and report it"


class FolderInUse(DfsError):
    """Another process serves this data folder."""

    kind, code = ErrorKind.CONFLICT, "folder_in_use"
    default_hint = "stop it first, or name another folder with --data"


class ForeignFolder(DfsError):
    """The data folder belongs to another cluster or node, or is no data folder."""

    kind, code = ErrorKind.CONFLICT, "foreign_folder"
    default_hint = "name the right folder with --data"


class NotInTrash(DfsError):
    """Nothing of that name was removed lately."""

    kind, code = ErrorKind.CONFLICT, "not_in_trash"
    default_hint = "see what can be brought back with: dfs trash"


class NodeInUse(DfsError):
    """The DataNode is still needed: it is not dead, or holds the only copy of something."""

    kind, code = ErrorKind.CONFLICT, "node_in_use"


class LocalExists(DfsError):
    """The local target exists."""

    kind, code = ErrorKind.CONFLICT, "local_exists"
    default_hint = "replace it with -f, or choose another name"


class PortInUse(DfsError):
    """Another process listens there."""

    kind, code = ErrorKind.CONFLICT, "port_in_use"
    default_hint = "choose another with --port (or --http-port)"


class SourceChanged(DfsError):
    """The local file changed while it was read."""

    kind, code = ErrorKind.CONFLICT, "source_changed"
    default_hint = "put it again when nothing writes to it"


class JobConflict(DfsError):
    """Such a job runs already, or none runs that could be changed."""

    kind, code = ErrorKind.CONFLICT, "job_conflict"


class StaleEpoch(DfsError):
    """The command comes from a NameNode that leads no more; today's leader repeats what holds."""

    kind, code = ErrorKind.FENCED, "stale_epoch"


class NotLeader(DfsError):
    """It does not lead; details has the leader's URL ("" if unknown), and all as `namenodes`."""

    kind, code = ErrorKind.FENCED, "not_leader"
    default_hint = "ask the leader; see: dfs-admin ha status"


class StaleGeneration(DfsError):
    """A newer generation of the block is stored, and stays."""

    kind, code = ErrorKind.FENCED, "stale_generation"


class NamenodeUnreachable(DfsError):
    """No NameNode answers."""

    kind, code = ErrorKind.UNAVAILABLE, "namenode_unreachable"
    default_hint = "is it running, and is DFS_NAMENODE (or --namenode) right?"


class PeerUnreachable(DfsError):
    """A DataNode does not answer."""

    kind, code = ErrorKind.UNAVAILABLE, "peer_unreachable"
    default_hint = "see: dfs-admin nodes"


class PlacementRefused(DfsError):
    """No DataNode can take the block; details list each one with its reason."""

    kind, code = ErrorKind.UNAVAILABLE, "placement_refused"
    default_hint = "see: dfs-admin nodes"


class DiskFull(DfsError):
    """The DataNode has no room for the block above its reserve."""

    kind, code = ErrorKind.UNAVAILABLE, "disk_full"
    default_hint = "add a DataNode or free space"


class VolumeReadOnly(DfsError):
    """The disk failed a write and takes no more."""

    kind, code = ErrorKind.UNAVAILABLE, "volume_read_only"
    default_hint = "replace the disk; its blocks are copied elsewhere"


class Overloaded(DfsError):
    """A bounded queue is full."""

    kind, code = ErrorKind.UNAVAILABLE, "overloaded"
    default_hint = "try again shortly"


class Throttled(DfsError):
    """Too many attempts; details.retry_after_s says how long to wait."""

    kind, code = ErrorKind.UNAVAILABLE, "throttled"


class DatabaseUnavailable(DfsError):
    """The metadata database could not take a change; nothing of the change remains."""

    kind, code = ErrorKind.UNAVAILABLE, "database_unavailable"
    default_hint = "free space on the NameNode's disk, and see its log"


class SchemaMismatch(DfsError):
    """The database is of another version than the program."""

    kind, code = ErrorKind.UNAVAILABLE, "schema_mismatch"
    default_hint = "run: dfs-namenode upgrade"


class Stopping(DfsError):
    """The daemon is draining and takes no new work."""

    kind, code = ErrorKind.UNAVAILABLE, "stopping"
    default_hint = "try again; another daemon or its next start will answer"


class Starting(DfsError):
    """The NameNode has just started and has not heard enough of its DataNodes yet."""

    kind, code = ErrorKind.UNAVAILABLE, "starting"
    default_hint = "try again shortly; see: dfs-admin nodes"


class DaemonFailed(DfsError):
    """A daemon that was started on this computer ended, or did not serve in time."""

    kind, code = ErrorKind.UNAVAILABLE, "daemon_failed"


class ProgramFault(DfsError):
    """A daemon met a bug of its own while it answered; its log has the stack."""

    kind, code = ErrorKind.UNAVAILABLE, "bug"
    default_hint = "please report it, with the daemon's log"


class LocalDiskFull(DfsError):
    """The disk of this computer is full; no partial file was left."""

    kind, code = ErrorKind.UNAVAILABLE, "local_disk_full"
    default_hint = "free space and get it again"


class LocalIoError(DfsError):
    """This computer could not read or write a local file."""

    kind, code = ErrorKind.UNAVAILABLE, "local_io_error"


class WaitTimedOut(DfsError):
    """What was waited for had not happened when the time was up; it may still happen."""

    kind, code = ErrorKind.UNAVAILABLE, "wait_timed_out"
    default_hint = "it goes on in the background; wait longer with --timeout"


class SafeMode(DfsError):
    """The NameNode does not know yet where enough blocks are; nothing is changed until it does."""

    kind, code = ErrorKind.UNAVAILABLE, "safe_mode"
    default_hint = "it ends by itself when the DataNodes are back; see: dfs-admin safemode"


class Regressed(DfsError):
    """DataNodes saw newer metadata than this NameNode has: it would hand out numbers twice."""

    kind, code = ErrorKind.UNAVAILABLE, "regressed"
    default_hint = "start it with its newest database, or see: dfs-admin safemode, docs/recover.md"


class BlockCorrupt(DfsError):
    """Bytes do not match the hash that was recorded when they were written."""

    kind, code = ErrorKind.CORRUPT, "block_corrupt"
    default_hint = "another replica is used where there is one; see: dfs verify PATH"


class DataUnavailable(DfsError):
    """No replica of a block can be read intact now; no wrong byte was delivered."""

    kind, code = ErrorKind.CORRUPT, "data_unavailable"
    default_hint = "see which and where with: dfs locate PATH"


class MetadataCorrupt(DfsError):
    """The metadata database fails its checks."""

    kind, code = ErrorKind.CORRUPT, "metadata_corrupt"
    default_hint = "stop, keep the folder, restore a backup: docs/recover.md"


def _leaves(parent: type[DfsError]) -> list[type[DfsError]]:
    return [leaf for child in parent.__subclasses__() for leaf in (child, *_leaves(child))]


def classes_by_code() -> dict[str, type[DfsError]]:
    """Every error class of the tree, by its code."""
    return {leaf.code: leaf for leaf in _leaves(DfsError)}


def from_code(
    code: str, message: str, hint: str = "", details: Mapping[str, object] | None = None
) -> DfsError:
    """The error the far side raised; a code unknown here (a newer peer's) is `PeerUnreachable`."""
    leaf = classes_by_code().get(code, PeerUnreachable)
    return leaf(message, hint=hint, details=details)
