"""Making, changing and removing users, inside a transaction.

User 1, made with the cluster, cannot be removed or disabled: there is always a superuser.  Whoever
changes something is looked up again in the same transaction, since a session may know less.
"""

import dataclasses
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from dfs.accounts import account_rows as rows
from dfs.accounts.account_rows import USERS_GROUP, Account
from dfs.base.errors import LimitExceeded, PermissionDenied, UserExists
from dfs.base.ids import SUPERUSER, GroupId, UserId
from dfs.base.records import Principal
from dfs.meta.txn import Txn

USERS_MAX: Final = 10_000
SEQUENCE_NAME: Final = "user"

# What else a new user needs (a home directory), made in the same transaction.
RegisterHook = Callable[[Txn, UserId, str, GroupId], None]


def create_user(txn: Txn, name: str, *, password_hash: str, must_change: bool) -> Account:
    """A new user in the group `users`; the name was checked.

    Raises:
        UserExists: the name is taken.
        LimitExceeded: there are as many users as there may be.
    """
    if rows.account_by_name(txn.connection, name) is not None:
        raise UserExists(f"the name {name} is taken")
    if rows.count_accounts(txn.connection) >= USERS_MAX:
        raise LimitExceeded(f"there are {USERS_MAX} users already")
    account = Account(
        user=UserId(txn.take(SEQUENCE_NAME)),
        name=name,
        password_hash=password_hash,
        primary_group=USERS_GROUP,
        disabled=False,
        must_change_password=must_change,
        created_ms=txn.now_ms,
    )
    rows.put_account(txn, account)
    rows.put_memberships(txn, account.primary_group, [account.user])
    return account


def remove_user(txn: Txn, account: Account) -> None:
    """Remove a user: the id and what it owns remain, the name is free, nobody can log in by it.

    Raises:
        PermissionDenied: it is user 1.
    """
    _need_not_first(account, "removed")
    nobodys = dataclasses.replace(account, password_hash="", disabled=True)
    rows.put_account(txn, nobodys, removed_ms=txn.now_ms)
    mine = rows.groups_of(txn.connection, account.user)
    rows.drop_memberships(txn, ((account.user, group) for group in mine))


def set_disabled(txn: Txn, account: Account, *, disabled: bool) -> None:
    """Keep a user out, or let them in again.

    Raises:
        PermissionDenied: it is user 1.
    """
    if disabled:
        _need_not_first(account, "disabled")
    rows.put_account(txn, dataclasses.replace(account, disabled=disabled))


def set_password_hash(txn: Txn, account: Account, password_hash: str, *, must_change: bool) -> None:
    """Replace a password."""
    changed = dataclasses.replace(
        account, password_hash=password_hash, must_change_password=must_change
    )
    rows.put_account(txn, changed)


def need_superuser(connection: Connection, who: Principal) -> None:
    """Refuse who is no superuser, as of this transaction.

    Raises:
        PermissionDenied: not, or not any more.
    """
    account = rows.account_by_id(connection, who.user)
    if account is None or account.disabled:
        raise for_administrators()
    if not rows.principal_of(connection, account).is_superuser:
        raise for_administrators()


def for_administrators() -> PermissionDenied:
    """The refusal of who is no superuser."""
    return PermissionDenied("this is for administrators", hint="log in as a member of supergroup")


def _need_not_first(account: Account, done: str) -> None:
    if account.user == SUPERUSER:
        raise PermissionDenied(
            f"{account.name} was made with the cluster and cannot be {done}",
            hint="there must always be one administrator",
        )
