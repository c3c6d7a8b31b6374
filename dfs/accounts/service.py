"""The routes of `/v1/accounts`: what each does, in which order, and what it says happened.

Three kinds.  What only reads takes a connection, what only writes takes the transaction; both can
be answered like any route.  What hashes a password (register, add, login, password) goes by
itself: it hashes outside the writer's transaction, which then looks whether all still holds.
"""

from typing import Final

from sqlalchemy import Connection

from dfs.accounts import account_rows as rows
from dfs.accounts import groups, session_rows, users
from dfs.accounts.account_rows import Account
from dfs.accounts.login_check import LoginCheck
from dfs.accounts.names import check_name
from dfs.accounts.password_rules import check_password, password_bytes
from dfs.accounts.passwords import Passwords
from dfs.accounts.sessions import Session, Sessions
from dfs.accounts.users import RegisterHook
from dfs.base.clock import Clock
from dfs.base.entropy import new_password
from dfs.base.errors import BadRequest, RegistrationClosed, WrongPassword
from dfs.base.events import Emitter, Event
from dfs.base.ids import SUPERGROUP, SUPERUSER, GroupId, UserId
from dfs.base.records import Principal
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer
from dfs.settings.sections import AccountsConfig
from dfs.wire import accounts_api as api
from dfs.wire.shapes import Done, NameRequest, Nothing

# A password may change, or be hashed anew, between its check and the transaction that relies on
# it; one more round sees the new one.  Somebody whom this befalls twice may as well try again.
ROUNDS_MAX: Final = 3


class Accounts:
    """See the module.

    Args:
        passwords: hashes; shared with whoever makes the first account.
        on_register: called in the transaction that makes a user, to make what belongs to them.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        config: AccountsConfig,
        emit: Emitter,
        *,
        passwords: Passwords,
        on_register: RegisterHook,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._config = config
        self._emit = emit
        self._passwords = passwords
        self._on_register = on_register
        self._check = LoginCheck(reader, passwords, clock=clock, config=config, emit=emit)
        self.open_sessions = Sessions(reader, clock=clock, config=config)

    def authenticate(self, token: str, address: str) -> Session:
        """The session of a bearer token; see `Sessions.authenticate`."""
        return self.open_sessions.authenticate(token, address)

    # --- routes that hash: they have transactions of their own ---

    def register(self, body: api.RegisterRequest, *, address: str) -> Done:
        """Make an account for whoever asks.

        Raises:
            RegistrationClosed: administrators make accounts here.
            BadRequest: the name or the password will not do.
            UserExists, LimitExceeded, Throttled, Overloaded: see the classes.
        """
        if self._config.registration != "open":
            raise RegistrationClosed("accounts are made by administrators here")
        self._check_new(body.name, body.password)
        self._check.admit_registration(address)
        hashed = self._passwords.hash(body.password)
        account = self._writer.submit(lambda txn: self._create(txn, body.name, hashed))
        self._emit.emit(
            Event.USER_REGISTERED, user=account.user, name=account.name, address=address
        )
        return Done()

    def add(self, who: Principal, body: api.AddUserRequest) -> api.AddUserReply:
        """Make an account as an administrator; a password not given is made, for one time.

        Raises:
            PermissionDenied: for administrators.
            BadRequest, UserExists, LimitExceeded, Overloaded: as `register`.
        """
        one_time = "" if body.password else new_password()
        self._check_new(body.name, body.password or one_time)
        hashed = self._passwords.hash(body.password or one_time)

        def create(txn: Txn) -> Account:
            users.need_superuser(txn.connection, who)
            return self._create(txn, body.name, hashed, must_change=bool(one_time))

        account = self._writer.submit(create)
        self._emit.emit(Event.USER_REGISTERED, user=account.user, name=account.name, by=who.user)
        return api.AddUserReply(one_time_password=one_time)

    def login(self, body: api.LoginRequest, *, address: str) -> api.LoginReply:
        """Open a session; its token is said here and kept nowhere.

        Raises:
            WrongPassword, AccountDisabled, Throttled, Overloaded: see `LoginCheck.identify`.
        """
        for _ in range(ROUNDS_MAX):
            reply = self._try_login(body, address)
            if reply is not None:
                return reply
        raise WrongPassword("the password was changed a moment ago")

    def password(self, session: Session, body: api.PasswordRequest) -> api.PasswordReply:
        """Replace one's own password, or as an administrator somebody's; their sessions end.

        One's own session goes on.  Who was given a password must replace it at the next login.

        Raises:
            WrongPassword, Throttled: the old password is not right.
            PermissionDenied: another's, and no administrator.
            UserNotFound, BadRequest, Overloaded: see the classes.
        """
        name = body.name or session.principal.name
        check_password(body.new, name=name, length_min=self._config.password_length_min)
        if name == session.principal.name:
            ended = self._change_own(session, body)
        else:
            ended = self._reset(session.principal, body)
        self._emit.emit(
            Event.PASSWORD_CHANGED, name=name, by=session.principal.user, sessions_ended=ended
        )
        return api.PasswordReply(sessions_ended=ended)

    # --- routes that only write ---

    def logout(self, txn: Txn, session: Session, body: api.LogoutRequest) -> Done:
        """End this session, or every session of its user."""
        user = session.principal.user
        mine = session_rows.sessions_of(txn.connection, user)
        gone = [one for one in mine if body.everywhere or one.id == session.session]
        self.open_sessions.end(txn, gone)
        self._emit_after(txn, Event.SESSION_ENDED, user=user, sessions=len(gone))
        return Done()

    def remove(self, txn: Txn, who: Principal, body: NameRequest) -> Done:
        """Remove an account: one's own, or as an administrator anybody's but user 1.

        What it owned keeps its owner's number; the name may be registered anew, by a new number.

        Raises:
            UserNotFound: there is none of that name.
            PermissionDenied: another's, and no administrator; or user 1.
        """
        account = rows.need_account(txn.connection, body.name)
        if account.user != who.user:
            users.need_superuser(txn.connection, who)
        users.remove_user(txn, account)
        self._shut_out(txn, account)
        self._emit_after(txn, Event.USER_REMOVED, user=account.user, name=account.name, by=who.user)
        return Done()

    def set_state(self, txn: Txn, who: Principal, body: api.UserStateRequest) -> Done:
        """Keep an account out, its sessions ended, or let it in again.

        Raises:
            UserNotFound: there is none of that name.
            PermissionDenied: no administrator; or user 1.
        """
        users.need_superuser(txn.connection, who)
        account = rows.need_account(txn.connection, body.name)
        users.set_disabled(txn, account, disabled=body.disabled)
        if body.disabled:
            self._shut_out(txn, account)
        self._emit_after(
            txn, Event.USER_CHANGED, user=account.user, disabled=body.disabled, by=who.user
        )
        return Done()

    def set_members(self, txn: Txn, who: Principal, body: api.MembersRequest) -> Done:
        """Change who is in a group; their sessions see it at once.

        Raises:
            PermissionDenied: no administrator.
            UserNotFound, BadRequest, LimitExceeded: see `groups.set_members`.
        """
        users.need_superuser(txn.connection, who)
        groups.set_members(txn, body.group, add=body.add, remove=body.remove)
        self.open_sessions.forget_after(txn)
        self._emit_after(
            txn,
            Event.USER_CHANGED,
            group=body.group,
            added=body.add,
            removed=body.remove,
            by=who.user,
        )
        return Done()

    # --- routes that only read ---

    def whoami(self, connection: Connection, session: Session) -> api.WhoamiReply:
        """Whose session it is."""
        who = session.principal
        return api.WhoamiReply(
            user=who.name,
            groups=sorted(rows.group_names(connection, who.groups).values()),
            superuser=who.is_superuser,
            address=who.address,
            expires_ms=session.expires_ms,
            must_change_password=session.must_change,
        )

    def users(self, connection: Connection, _who: Principal, _body: Nothing) -> api.UsersReply:
        """Who is registered."""
        called = {one.group: one.name for one in rows.groups(connection)}
        mine: dict[UserId, list[GroupId]] = {}
        for user, group in rows.memberships(connection):
            mine.setdefault(user, []).append(group)
        counts = session_rows.count_sessions(connection, now_ms=self._clock.now_ms())
        return api.UsersReply(
            users=[
                api.UserInfo(
                    name=one.name,
                    groups=sorted(called[group] for group in mine.get(one.user, [])),
                    superuser=one.user == SUPERUSER or SUPERGROUP in mine.get(one.user, []),
                    disabled=one.disabled,
                    created_ms=one.created_ms,
                    sessions=counts.get(one.user, 0),
                )
                for one in rows.accounts(connection)
            ]
        )

    def sessions(self, connection: Connection, who: Principal, _body: Nothing) -> api.SessionsReply:
        """Who is logged in and from where: oneself, for administrators everybody."""
        found = self.open_sessions.listed(connection, who)
        called = rows.user_names(connection, {one.user for one in found})
        return api.SessionsReply(
            sessions=[
                api.SessionInfo(
                    session=one.id,
                    user=called[one.user],
                    address=one.address,
                    created_ms=one.created_ms,
                    last_used_ms=one.last_used_ms,
                    expires_ms=one.expires_ms,
                    bound=one.bound,
                )
                for one in found
            ]
        )

    def groups(self, connection: Connection, _who: Principal, _body: Nothing) -> api.GroupsReply:
        """Groups and their members."""
        return api.GroupsReply(groups=groups.list_groups(connection))

    # --- steps ---

    def _check_new(self, name: str, password: str) -> None:
        check_name(name, of="user")
        check_password(password, name=name, length_min=self._config.password_length_min)

    def _create(self, txn: Txn, name: str, hashed: str, *, must_change: bool = False) -> Account:
        account = users.create_user(txn, name, password_hash=hashed, must_change=must_change)
        self._on_register(txn, account.user, account.name, account.primary_group)
        return account

    def _try_login(self, body: api.LoginRequest, address: str) -> api.LoginReply | None:
        """Check and open; None when the account changed between the two."""
        account = self._check.identify(body.name, body.password, address)
        hashed = self._up_to_date(account, body.password)
        reply = self._writer.submit(lambda txn: self._open(txn, account, hashed, body, address))
        if reply is not None:
            self._emit.emit(
                Event.LOGIN_SUCCEEDED, user=account.user, name=account.name, address=address
            )
        return reply

    def _up_to_date(self, account: Account, password: str) -> str:
        """The account's hash, made anew where today's cost is another."""
        if self._passwords.is_outdated(account.password_hash):
            return self._passwords.hash(password)
        return account.password_hash

    def _open(
        self, txn: Txn, account: Account, hashed: str, body: api.LoginRequest, address: str
    ) -> api.LoginReply | None:
        """Open the session; None when the account is not as it was when it was checked."""
        if rows.account_by_id(txn.connection, account.user) != account:
            return None
        if hashed != account.password_hash:
            must_change = account.must_change_password
            users.set_password_hash(txn, account, hashed, must_change=must_change)
        token, opened = self.open_sessions.open(
            txn, account, address=address, bind=body.bind_address
        )
        return api.LoginReply(
            token=token,
            user=account.name,
            expires_ms=opened.expires_ms,
            must_change_password=account.must_change_password,
        )

    def _change_own(self, session: Session, body: api.PasswordRequest) -> int:
        who = session.principal
        account = self._check.identify(who.name, body.old, who.address)
        if password_bytes(body.new) == password_bytes(body.old):
            raise BadRequest("the new password is the old one")
        hashed = self._passwords.hash(body.new)

        def change(txn: Txn) -> int:
            if rows.account_by_id(txn.connection, who.user) != account:
                raise WrongPassword("the password was changed a moment ago")
            users.set_password_hash(txn, account, hashed, must_change=False)
            self.open_sessions.forget_after(txn)
            return self.open_sessions.end_all_of(txn, who.user, but=session.session)

        return self._writer.submit(change)

    def _reset(self, who: Principal, body: api.PasswordRequest) -> int:
        if not who.is_superuser:  # before the work of a hash; asked again below
            raise users.for_administrators()
        hashed = self._passwords.hash(body.new)

        def reset(txn: Txn) -> int:
            users.need_superuser(txn.connection, who)
            account = rows.need_account(txn.connection, body.name)
            users.set_password_hash(txn, account, hashed, must_change=True)
            return self.open_sessions.end_all_of(txn, account.user)

        return self._writer.submit(reset)

    def _shut_out(self, txn: Txn, account: Account) -> None:
        self.open_sessions.end_all_of(txn, account.user)
        self.open_sessions.forget_after(txn)

    def _emit_after(self, txn: Txn, event: Event, **fields: object) -> None:
        txn.after_commit(lambda: self._emit.emit(event, **fields))
