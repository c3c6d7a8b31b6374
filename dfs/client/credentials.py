"""Where the tokens of logged-in users are kept: one JSON file, mode 0600, keyed by NameNode.

A session is the cluster's: it stands under each of its NameNodes, and tells of all of them, so a
command finds the cluster although the one that it was told of is dead.

The file is replaced whole (temporary file, fsync, rename), so a reader sees the old or the new
one; who changes it locks its folder, since any command may have learnt of a NameNode.  Which file
it is, the composition root says; `default_file` computes the usual place from an environment it is
handed.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.base.errors import LocalIoError

_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


class Credential(msgspec.Struct, frozen=True):
    """A user's session at one cluster.

    Attributes:
        namenodes: of the cluster, by their base URLs; who led last comes first.
    """

    user: str
    token: str = msgspec.field()
    expires_ms: int = 0
    namenodes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Never shows the token."""
        return f"Credential(user={self.user!r}, expires_ms={self.expires_ms})"


def default_file(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/dfs/credentials.json`, else below `~/.config`."""
    return _xdg(environment, "XDG_CONFIG_HOME", ".config") / "dfs" / "credentials.json"


def default_state_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/dfs`, else below `~/.local/state`: where interrupted puts are kept."""
    return _xdg(environment, "XDG_STATE_HOME", ".local/state") / "dfs"


def _xdg(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    named = environment.get(variable, "")
    if named.startswith("/"):  # the XDG rule: a relative value is to be ignored
        return Path(named)
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / fallback


class CredentialsFile:
    """Reads and changes the file.  A file that is not there holds nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def find(self, namenodes: tuple[str, ...]) -> Credential | None:
        """The credential of the first of those NameNodes that has one.

        Raises:
            LocalIoError: the file cannot be read or is no credentials file.
        """
        held = self._read()
        return next((held[url] for url in namenodes if url in held), None)

    def keep(self, namenodes: tuple[str, ...], credential: Credential) -> None:
        """Remember the session, at each of the cluster's NameNodes.

        Raises:
            LocalIoError: the file cannot be written.
        """
        with self._locked():
            self._write(self._read() | dict.fromkeys(namenodes, credential))

    def remember(self, token: str, namenodes: Sequence[str]) -> None:
        """That session's cluster has those NameNodes; nothing, if the session is not kept here.

        Raises:
            LocalIoError: the file cannot be read or written.
        """
        if not self._read():
            return
        with self._locked():
            held = self._read()
            kept = next((one for one in held.values() if one.token == token), None)
            if kept is None:
                return
            told = msgspec.structs.replace(kept, namenodes=tuple(namenodes))
            under = [url for url, one in held.items() if one.token == token]
            self._write(held | dict.fromkeys((*under, *namenodes), told))

    def forget(self, namenodes: tuple[str, ...]) -> None:
        """Drop the session.

        Raises:
            LocalIoError: the file cannot be written.
        """
        if not self._read():
            return
        with self._locked():
            held = self._read()
            left = {url: one for url, one in held.items() if url not in namenodes}
            if left != held:
                self._write(left)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Change it alone, where the file system of its folder has locks."""
        try:
            self._file.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            fd = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise LocalIoError(f"cannot keep credentials in {self._file}: {exc}") from exc
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _read(self) -> dict[str, Credential]:
        try:
            return json_reader(dict[str, Credential])(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as exc:
            raise LocalIoError(
                f"cannot read credentials from {self._file}: {exc}",
                hint=f"remove {self._file} and log in again",
            ) from exc

    def _write(self, held: dict[str, Credential]) -> None:
        fresh = self._file.with_name(f"{self._file.name}.{new_id()}.part")
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            with os.fdopen(fd, "wb") as out:
                out.write(msgspec.json.format(msgspec.json.encode(held)) + b"\n")
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._file)
        except OSError as exc:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise LocalIoError(f"cannot keep credentials in {self._file}: {exc}") from exc
