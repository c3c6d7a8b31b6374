"""A NameNode's data folder: one process at a time, nobody else's eyes, a database that is sound.

<data>/LOCK            flock of the process that serves it
<data>/dfs.sqlite      the metadata (and its -wal, -shm, and .clean after a clean stop)
<data>/audit.jsonl     the audit trail, unless configured elsewhere
<data>/admin-password  the first admin's one-time password, until it is replaced
<data>/backup/         what upgrades left
<data>/member.row      what this NameNode promised as a member, and
<data>/voter.row       what the voter beside it did
<data>/correspondents  who else is of the cluster, where, and what they share
<data>/joining         under which uuid it asked to be let in, while it does
<data>/snapshots/      copies of the metadata for other NameNodes, or from them
<data>/diverged-*      databases that such a copy took the place of
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from dfs.base import crashpoint
from dfs.base.durable import sync_folder
from dfs.base.entropy import new_id
from dfs.base.errors import FolderInUse, ForeignFolder, LocalIoError
from dfs.failover.diverged import DIVERGED_PREFIX
from dfs.failover.snapshots import SNAPSHOTS_FOLDER
from dfs.failover.voter_house import CORRESPONDENTS_FILE, VOTER_FILE
from dfs.meta.session import DATABASE_FILE

LOCK_FILE: Final = "LOCK"
AUDIT_FILE: Final = "audit.jsonl"
PASSWORD_FILE: Final = "admin-password"
BACKUP_FOLDER: Final = "backup"
MEMBER_FILE: Final = "member.row"
UUID_FILE: Final = "joining"
# What a first start that was cut off may leave, or a member without a database yet; and what a new
# file system holds.
_OURS: Final = (
    *(LOCK_FILE, AUDIT_FILE, PASSWORD_FILE, BACKUP_FOLDER, DATABASE_FILE, "lost+found"),
    *(MEMBER_FILE, VOTER_FILE, CORRESPONDENTS_FILE, UUID_FILE),
    *(SNAPSHOTS_FOLDER, DIVERGED_PREFIX),
)
_FOUND_SHOWN: Final = 3


class NamenodeFolder:
    """The folder, locked for this process from its making to `close`.

    Raises:
        FolderInUse: another process has it.
        ForeignFolder: it holds something else; nothing in it was touched.
        LocalIoError: it cannot be made, entered or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            _require_ours(self.root)
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)  # it holds password hashes and block keys
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(self.root / LOCK_FILE, flags, 0o600)
        except OSError as exc:
            raise LocalIoError(
                f"cannot use the data folder {self.root}: {exc.strerror}",
                hint="name another with --data, or give this user the right to write there",
            ) from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FolderInUse(f"another process serves {self.root}") from None

    @property
    def database(self) -> Path:
        """The metadata database."""
        return self.root / DATABASE_FILE

    @property
    def audit(self) -> Path:
        """The audit trail, where the settings name no other place."""
        return self.root / AUDIT_FILE

    @property
    def password(self) -> Path:
        """The first admin's one-time password."""
        return self.root / PASSWORD_FILE

    @property
    def backups(self) -> Path:
        """Where upgrades leave copies."""
        return self.root / BACKUP_FOLDER

    @property
    def member_row(self) -> Path:
        """What this NameNode promised as a member."""
        return self.root / MEMBER_FILE

    @property
    def joining(self) -> Path:
        """The uuid under which it asks to be let in."""
        return self.root / UUID_FILE

    def keep_password(self, password: str) -> None:
        """Have the one-time password on the disk, for this user's eyes, when this returns.

        Raises:
            LocalIoError: it cannot be written.
        """
        try:
            self._write_private(self.password, f"{password}\n".encode())
        except OSError as exc:
            raise LocalIoError(f"cannot write {self.password}: {exc.strerror}") from exc
        crashpoint.reach("nn.password.kept")

    def joining_uuid(self) -> str:
        """The uuid under which it asks to be let in: made once, on the disk when this returns.

        Raises:
            LocalIoError: it cannot be read, or written.
        """
        try:
            if self.joining.exists():
                return self.joining.read_text(encoding="ascii").strip()
            uuid = new_id()
            self._write_private(self.joining, f"{uuid}\n".encode())
        except OSError as exc:
            raise LocalIoError(f"cannot keep {self.joining}: {exc.strerror}") from exc
        return uuid

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def _write_private(self, file: Path, content: bytes) -> None:
        new = file.with_name(f"{file.name}.new")
        fd = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        new.replace(file)
        sync_folder(file.parent)


def _require_ours(root: Path) -> None:
    """Refuse a folder of somebody's files, or of a DataNode, before anything is made in it.

    Raises:
        ForeignFolder: it holds neither a NameNode's database nor nothing.
        OSError: it cannot be read.
    """
    if not root.is_dir() or (root / DATABASE_FILE).exists():
        return
    strange = sorted(each.name for each in root.iterdir() if not each.name.startswith(_OURS))
    if strange:
        shown = ", ".join(strange[:_FOUND_SHOWN])
        raise ForeignFolder(
            f"{root} is neither a NameNode's folder nor empty (found: {shown})",
            hint="name an empty folder or a NameNode's with --data",
        )
