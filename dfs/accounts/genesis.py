"""The accounts a cluster begins with: `supergroup`, `users`, and the administrator."""

from typing import Final

from dfs.accounts import account_rows as rows
from dfs.accounts import groups, users
from dfs.accounts.account_rows import USERS_GROUP, Account, Group
from dfs.base.ids import SUPERGROUP, SUPERUSER, GroupId, UserId
from dfs.meta.txn import Txn

ADMIN_NAME: Final = "admin"
SUPERGROUP_NAME: Final = "supergroup"
USERS_GROUP_NAME: Final = "users"


def create_first_accounts(txn: Txn, *, password_hash: str) -> None:
    """Make groups 1 and 2 and user 1, whose password is for one time; ids come from the sequences.

    The database must have no accounts yet.
    """
    for known, name in ((SUPERGROUP, SUPERGROUP_NAME), (USERS_GROUP, USERS_GROUP_NAME)):
        group = GroupId(txn.take(groups.SEQUENCE_NAME))
        assert group == known
        rows.put_group(txn, Group(group, name, txn.now_ms))
    admin = Account(
        user=UserId(txn.take(users.SEQUENCE_NAME)),
        name=ADMIN_NAME,
        password_hash=password_hash,
        primary_group=SUPERGROUP,
        disabled=False,
        must_change_password=True,
        created_ms=txn.now_ms,
    )
    assert admin.user == SUPERUSER
    rows.put_account(txn, admin)
    rows.put_memberships(txn, SUPERGROUP, [admin.user])
