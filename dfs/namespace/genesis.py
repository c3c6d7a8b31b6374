"""The first transaction of a cluster: its id, its epoch, its root, its first accounts and homes."""

from typing import Final

from dfs.accounts.genesis import create_first_accounts
from dfs.base.ids import FIRST_EPOCH, ROOT_INODE, SUPERGROUP, SUPERUSER, GroupId, InodeId, UserId
from dfs.base.records import Principal
from dfs.base.states import InodeKind
from dfs.meta.cluster_tables import SETTING
from dfs.meta.txn import Txn
from dfs.meta.writer import EPOCH_KEY, Writer
from dfs.namespace.changes import make_way
from dfs.namespace.edit import Edit, EntryCounts
from dfs.namespace.inode_rows import Inode, put_inodes

CLUSTER_KEY: Final = "cluster"
CREATED_KEY: Final = "created_ms"
ROOT_MODE: Final = 0o755
TMP_MODE: Final = 0o1777
HOME_MODE: Final = 0o750
_ONE_ENTRY: Final = 1_000_000


def create_cluster(writer: Writer, *, cluster: str, password_hash: str) -> None:
    """Fill an empty database: nothing works before it, and it works once."""

    def work(txn: Txn) -> None:
        assert txn.get(SETTING, CLUSTER_KEY) is None, "the cluster exists already"
        txn.put(
            SETTING,
            {"key": CLUSTER_KEY, "value": cluster},
            {"key": EPOCH_KEY, "value": str(FIRST_EPOCH)},
            {"key": CREATED_KEY, "value": str(txn.now_ms)},
        )
        create_first_accounts(txn, password_hash=password_hash)
        _make_root(txn)
        admin = Principal(SUPERUSER, "admin", frozenset({SUPERGROUP}))
        edit = Edit(txn, admin, EntryCounts(entries_max=_ONE_ENTRY))
        edit.make_directory(edit.resolver.place("/tmp"), mode=TMP_MODE)
        edit.make_directory(edit.resolver.place("/user"), mode=ROOT_MODE)
        make_home(txn, SUPERUSER, "admin", SUPERGROUP)

    writer.submit(work)


def make_home(txn: Txn, user: UserId, name: str, group: GroupId) -> None:
    """`/user/<name>`, the user's own.

    What a removed account of that name left there stays its own, under `<name>#<its id>`, which is
    how a removed account is called everywhere: a new account neither owns it nor stumbles over it.
    """
    superuser = Principal(SUPERUSER, "admin", frozenset({SUPERGROUP}))
    edit = Edit(txn, superuser, EntryCounts(entries_max=_ONE_ENTRY))
    edit.make_directories(("user",), mode=ROOT_MODE)
    place = edit.resolver.place(f"/user/{name}")
    if place.entry is not None:
        if place.inode.owner == user:
            return
        aside = edit.resolver.place(f"/user/{name}#{place.inode.owner}")
        make_way(edit, aside, overwrite=False, by_directory=True)
        edit.rename(place, aside)
        place = edit.resolver.place(f"/user/{name}")
    home = edit.make_directory(place, mode=HOME_MODE)
    edit.renew(home, owner=user, group=group)


def _make_root(txn: Txn) -> None:
    number = InodeId(txn.take("inode"))
    assert number == ROOT_INODE, "the root is the first inode"
    root = Inode(
        id=number,
        kind=InodeKind.DIRECTORY,
        owner=SUPERUSER,
        group=SUPERGROUP,
        mode=ROOT_MODE,
        size_bytes=0,
        replication=0,
        block_size_bytes=0,
        created_ms=txn.now_ms,
        modified_ms=txn.now_ms,
        changed_ms=txn.now_ms,
        checksum=b"",
        version=1,
        under_construction=0,
    )
    put_inodes(txn, root)
