"""Users, groups and memberships: rows in, records out.

A user's groups are its membership rows, the primary group among them.  A removed user keeps its
row, under which nobody can log in, so that its files still show an owner: `ada#7`, which no living
user can be called.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, select

from dfs.accounts.names import is_name
from dfs.base.errors import GroupNotFound, UserNotFound
from dfs.base.ids import GroupId, UserId
from dfs.base.records import Principal
from dfs.meta.cluster_tables import GROUP, MEMBERSHIP, USER
from dfs.meta.txn import Txn

USERS_GROUP: Final = GroupId(2)  # everybody's primary group
IDS_AT_ONCE: Final = 500  # in one statement; SQLite takes 32,766 parameters at most


@dataclass(frozen=True, slots=True)
class Account:
    """A user who was not removed."""

    user: UserId
    name: str
    password_hash: str = field(repr=False)
    primary_group: GroupId
    disabled: bool
    must_change_password: bool
    created_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """A group."""

    group: GroupId
    name: str
    created_ms: int


def account_by_name(connection: Connection, name: str) -> Account | None:
    """The living user of that name."""
    return _account(connection, _LIVING.where(USER.c.name == name)) if is_name(name) else None


def account_by_id(connection: Connection, user: UserId) -> Account | None:
    """The living user of that id."""
    return _account(connection, _LIVING.where(USER.c.id == user))


def need_account(connection: Connection, name: str) -> Account:
    """The living user of that name.

    Raises:
        UserNotFound: there is none.
    """
    account = account_by_name(connection, name)
    if account is None:
        raise UserNotFound(f"no such user: {name[:64]}")
    return account


def accounts(connection: Connection) -> list[Account]:
    """Every living user, by name."""
    return [_to_account(row) for row in connection.execute(_LIVING.order_by(USER.c.name))]


def count_accounts(connection: Connection) -> int:
    """How many users live."""
    living = select(func.count()).select_from(USER).where(USER.c.removed_ms.is_(None))
    return int(connection.execute(living).scalar_one())


def put_account(txn: Txn, account: Account, *, removed_ms: int | None = None) -> None:
    """Write the row of a user."""
    row = {
        "id": account.user,
        "name": account.name,
        "password_hash": account.password_hash,
        "primary_group": account.primary_group,
        "disabled": int(account.disabled),
        "must_change_password": int(account.must_change_password),
        "created_ms": account.created_ms,
        "removed_ms": removed_ms,
    }
    txn.put(USER, row)


def group_by_name(connection: Connection, name: str) -> Group | None:
    """The group of that name."""
    wanted = select(GROUP.c.id, GROUP.c.name, GROUP.c.created_ms).where(GROUP.c.name == name)
    row = connection.execute(wanted).first() if is_name(name) else None
    return None if row is None else Group(*row)


def groups(connection: Connection) -> list[Group]:
    """Every group, by name."""
    wanted = select(GROUP.c.id, GROUP.c.name, GROUP.c.created_ms).order_by(GROUP.c.name)
    return [Group(*row) for row in connection.execute(wanted)]


def put_group(txn: Txn, group: Group) -> None:
    """Write the row of a group."""
    txn.put(GROUP, {"id": group.group, "name": group.name, "created_ms": group.created_ms})


def memberships(connection: Connection) -> Iterator[tuple[UserId, GroupId]]:
    """Who is in which group."""
    wanted = select(MEMBERSHIP.c.user, MEMBERSHIP.c.group)
    return ((UserId(user), GroupId(group)) for user, group in connection.execute(wanted))


def groups_of(connection: Connection, user: UserId) -> frozenset[GroupId]:
    """The groups a user is in."""
    wanted = select(MEMBERSHIP.c.group).where(MEMBERSHIP.c.user == user)
    return frozenset(GroupId(group) for group in connection.execute(wanted).scalars())


def put_memberships(txn: Txn, group: GroupId, users: Iterable[UserId]) -> None:
    """Have users in a group."""
    txn.put(MEMBERSHIP, *({"user": user, "group": group} for user in users))


def drop_memberships(txn: Txn, pairs: Iterable[tuple[UserId, GroupId]]) -> None:
    """Have users out of groups."""
    txn.drop(MEMBERSHIP, *pairs)


def principal_of(connection: Connection, account: Account, *, address: str = "") -> Principal:
    """The user as permission checks see it."""
    found = groups_of(connection, account.user)
    return Principal(account.user, account.name, found, address)


def find_user(connection: Connection, name: str) -> UserId:
    """The id of a living user.

    Raises:
        UserNotFound: there is none of that name.
    """
    return need_account(connection, name).user


def find_group(connection: Connection, name: str) -> GroupId:
    """The id of a group.

    Raises:
        GroupNotFound: there is none of that name.
    """
    group = group_by_name(connection, name)
    if group is None:
        raise GroupNotFound(f"no such group: {name[:64]}")
    return group.group


def user_names(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """What users are called, by id; removed ones as `name#id`."""
    columns = select(USER.c.id, USER.c.name, USER.c.removed_ms)
    return {
        user: name if removed_ms is None else f"{name}#{user}"
        for part in _parts(ids)
        for user, name, removed_ms in connection.execute(columns.where(USER.c.id.in_(part)))
    }


def group_names(connection: Connection, ids: Iterable[int]) -> dict[int, str]:
    """What groups are called, by id."""
    columns = select(GROUP.c.id, GROUP.c.name)
    return {
        group: name
        for part in _parts(ids)
        for group, name in connection.execute(columns.where(GROUP.c.id.in_(part)))
    }


_LIVING: Final = select(
    USER.c.id,
    USER.c.name,
    USER.c.password_hash,
    USER.c.primary_group,
    USER.c.disabled,
    USER.c.must_change_password,
    USER.c.created_ms,
).where(USER.c.removed_ms.is_(None))


def _account(connection: Connection, wanted: Select[*tuple[Any, ...]]) -> Account | None:
    row = connection.execute(wanted).first()
    return None if row is None else _to_account(row)


def _to_account(row: Row[*tuple[Any, ...]]) -> Account:
    user, name, password_hash, primary_group, disabled, must_change, created_ms = row
    return Account(
        UserId(user),
        name,
        password_hash,
        GroupId(primary_group),
        bool(disabled),
        bool(must_change),
        created_ms,
    )


def _parts(ids: Iterable[int]) -> Iterator[Sequence[int]]:
    wanted = sorted(set(ids))
    return (wanted[at : at + IDS_AT_ONCE] for at in range(0, len(wanted), IDS_AT_ONCE))
