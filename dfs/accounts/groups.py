"""Groups: made by naming members, changed inside a transaction."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from dfs.accounts import account_rows as rows
from dfs.accounts.account_rows import Account, Group
from dfs.accounts.names import check_name
from dfs.base.errors import BadRequest, LimitExceeded
from dfs.base.ids import GroupId
from dfs.meta.txn import Txn
from dfs.wire.accounts_api import GroupInfo

GROUPS_MAX: Final = 10_000
SEQUENCE_NAME: Final = "group"


def set_members(txn: Txn, name: str, *, add: Iterable[str], remove: Iterable[str]) -> None:
    """Have users in a group, others out of it; the group is made if new.

    Raises:
        UserNotFound: a name is nobody's; nothing is changed.
        BadRequest: not a group name, or the group is the primary one of who is to leave it.
        LimitExceeded: there are as many groups as there may be.
    """
    leaving = [rows.need_account(txn.connection, one) for one in remove]
    joining = [rows.need_account(txn.connection, one).user for one in add]
    group = rows.group_by_name(txn.connection, name) or _create(txn, name)
    for account in leaving:
        _need_not_primary(account, group)
    rows.drop_memberships(txn, ((one.user, group.group) for one in leaving))
    rows.put_memberships(txn, group.group, joining)


def list_groups(connection: Connection) -> list[GroupInfo]:
    """Every group with its members, both by name."""
    members: dict[GroupId, list[str]] = {}
    called = {one.user: one.name for one in rows.accounts(connection)}
    for user, group in rows.memberships(connection):
        members.setdefault(group, []).append(called[user])
    return [
        GroupInfo(name=one.name, members=sorted(members.get(one.group, [])))
        for one in rows.groups(connection)
    ]


def _create(txn: Txn, name: str) -> Group:
    check_name(name, of="group")
    if len(rows.groups(txn.connection)) >= GROUPS_MAX:
        raise LimitExceeded(f"there are {GROUPS_MAX} groups already")
    group = Group(GroupId(txn.take(SEQUENCE_NAME)), name, txn.now_ms)
    rows.put_group(txn, group)
    return group


def _need_not_primary(account: Account, group: Group) -> None:
    if account.primary_group == group.group:
        raise BadRequest(f"{group.name} is the primary group of {account.name}")
