"""Inodes as callers see them: with names of owner and group, and a path."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from dfs.accounts.account_rows import group_names, user_names
from dfs.base.ids import GroupId, UserId
from dfs.base.records import FileStatus
from dfs.base.states import InodeKind
from dfs.namespace.inode_rows import Inode

_KINDS: Final = {kind.value: kind for kind in InodeKind}  # calling the enumeration takes longer


class StatusView:
    """Makes `FileStatus` records; remembers names of users and groups, which never change.

    (A removed account's id is not used again, so a remembered name stays true.)
    """

    def __init__(self) -> None:
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}

    def one(self, connection: Connection, path: str, inode: Inode) -> FileStatus:
        """The status of one inode."""
        if inode.owner not in self._users or inode.group not in self._groups:
            self._learn(connection, [(path, inode)])
        return self._status(path, inode)

    def many(self, connection: Connection, found: Iterable[tuple[str, Inode]]) -> list[FileStatus]:
        """The status of many, names looked up together."""
        pairs = list(found)
        self._learn(connection, pairs)
        return [self._status(path, inode) for path, inode in pairs]

    def owner(self, connection: Connection, user: UserId) -> str:
        """The name of a user, present or removed."""
        if user not in self._users:
            self._users.update(user_names(connection, [user]))
        return self._users.get(user, str(user))

    def _learn(self, connection: Connection, pairs: list[tuple[str, Inode]]) -> None:
        users = {inode.owner for _, inode in pairs} - self._users.keys()
        groups = {inode.group for _, inode in pairs} - self._groups.keys()
        if users:
            self._users.update(user_names(connection, [UserId(user) for user in users]))
        if groups:
            self._groups.update(group_names(connection, [GroupId(group) for group in groups]))

    def _status(self, path: str, inode: Inode) -> FileStatus:
        return FileStatus(
            path=path,
            inode=inode.id,
            kind=_KINDS[inode.kind],
            owner=self._users.get(inode.owner, str(inode.owner)),
            group=self._groups.get(inode.group, str(inode.group)),
            mode=inode.mode,
            size_bytes=inode.size_bytes,
            replication=inode.replication,
            block_size_bytes=inode.block_size_bytes,
            modified_ms=inode.modified_ms,
            changed_ms=inode.changed_ms,
            checksum=inode.checksum,
            version=inode.version,
        )
