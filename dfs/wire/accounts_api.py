"""The REST shapes of accounts: users, groups, sessions."""

import msgspec

from dfs.wire.shapes import Reply, Request


class RegisterRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new account (anyone where registration is open, else administrators)."""

    name: str
    password: str


class LoginRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Name and password; `bind_address` ties the session to the caller's address."""

    name: str
    password: str
    bind_address: bool = False


class LoginReply(Reply, frozen=True, kw_only=True):
    """The bearer token, said once."""

    token: str
    user: str
    expires_ms: int
    must_change_password: bool = False


class LogoutRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This session, or every session of the user."""

    everywhere: bool = False


class PasswordRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new password: with the old one for oneself; an administrator needs none for others."""

    new: str
    old: str = ""
    name: str = ""


class PasswordReply(Reply, frozen=True, kw_only=True):
    """Changed; every other session of the account ended."""

    sessions_ended: int


class WhoamiReply(Reply, frozen=True, kw_only=True):
    """Who the session belongs to."""

    user: str
    groups: list[str]
    superuser: bool
    address: str
    expires_ms: int
    must_change_password: bool


class UserInfo(msgspec.Struct, frozen=True):
    """A registered user."""

    name: str
    groups: list[str]
    superuser: bool
    disabled: bool
    created_ms: int
    sessions: int


class UsersReply(Reply, frozen=True, kw_only=True):
    """Who is registered."""

    users: list[UserInfo]


class SessionInfo(msgspec.Struct, frozen=True):
    """Somebody who is logged in."""

    session: int
    user: str
    address: str
    created_ms: int
    last_used_ms: int
    expires_ms: int
    bound: bool


class SessionsReply(Reply, frozen=True, kw_only=True):
    """Who is logged in, and from where."""

    sessions: list[SessionInfo]


class AddUserRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account made by an administrator; without a password a one-time one is made."""

    name: str
    password: str = ""


class AddUserReply(Reply, frozen=True, kw_only=True):
    """`one_time_password` is empty when the administrator chose one."""

    one_time_password: str = ""


class UserStateRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Let an account in, or keep it out."""

    name: str
    disabled: bool


class MembersRequest(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Change who is in a group; the group is made if new."""

    group: str
    add: list[str] = []
    remove: list[str] = []


class GroupInfo(msgspec.Struct, frozen=True):
    """A group and who is in it."""

    name: str
    members: list[str]


class GroupsReply(Reply, frozen=True, kw_only=True):
    """Every group."""

    groups: list[GroupInfo]
