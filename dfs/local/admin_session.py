"""The admin of a local cluster: its one-time password replaced by one we keep, and its session.

Order of effects when the one-time password is replaced: the new one is on the disk beside the old
(`admin-password.next`) before the NameNode learns it, and takes its name after.  A crash between
leaves both, and both are tried.
"""

from pathlib import Path
from typing import Final

from dfs.base.clock import Clock
from dfs.base.entropy import SystemRandom, new_password
from dfs.base.errors import DfsError, ErrorKind, LocalNotFound, WrongPassword
from dfs.client.credentials import Credential, CredentialsFile
from dfs.client.namenode_link import NamenodeLink
from dfs.local.roster import Folder, write_private
from dfs.settings.sections import Config
from dfs.wire import routes
from dfs.wire.accounts_api import LoginReply, LoginRequest, PasswordRequest
from dfs.wire.ha_api import HaStatus
from dfs.wire.nodes_api import JoinTokenRequest
from dfs.wire.shapes import Nothing

ADMIN: Final = "admin"
ANSWER_MAX_S: Final = 2.0
ONE_TIME_FILE: Final = "admin-password"  # in the NameNode's data folder, made at its first start


class AdminSession:
    """Logs the admin in when needed and keeps the session where `dfs` finds it."""

    def __init__(self, folder: Folder, *, config: Config, clock: Clock, namenode: Path) -> None:
        self._folder = folder
        self._one_time = namenode / ONE_TIME_FILE
        self._kept = CredentialsFile(folder.credentials)
        self.link = NamenodeLink(
            config.cluster.namenodes, config=config.client, clock=clock, rng=SystemRandom()
        )

    def open(self) -> NamenodeLink:
        """A link on which the admin is logged in.

        Raises:
            LocalNotFound: no password of the admin is known here.
            DfsError: the NameNode did not answer or refused.
        """
        self.resume()
        if not (self.link.token and self._is_valid()):
            self._log_in()
        return self.link

    def resume(self) -> None:
        """Take up the session that is kept, without asking whether it holds: nobody may lead."""
        held = self._kept.find(self.link.configured)
        self.link.token = held.token if held else ""

    def join_token(self, *, uses: int) -> str:
        """A token with which so many daemons may join."""
        return self.link.call(routes.JOIN_TOKEN, JoinTokenRequest(uses=uses)).token

    def ha_status(self, url: str) -> HaStatus | None:
        """How failover stands as that NameNode sees it; None when it does not say."""
        try:
            return self.link.ask_one(url, routes.HA_STATUS, Nothing(), patience_s=ANSWER_MAX_S)
        except DfsError:
            return None

    def close(self) -> None:
        """Close the connections; the session goes on."""
        self.link.close()

    def _is_valid(self) -> bool:
        try:
            return not self.link.call(routes.WHOAMI, Nothing()).must_change_password
        except DfsError as exc:
            if exc.kind in (ErrorKind.UNAUTHENTICATED, ErrorKind.DENIED):
                return False
            raise

    def _log_in(self) -> None:
        password, reply = self._known_password()
        if reply.must_change_password:
            self._replace(password)  # the session goes on
        credential = Credential(user=ADMIN, token=reply.token, expires_ms=reply.expires_ms)
        self._kept.keep(self.link.configured, credential)

    def _known_password(self) -> tuple[str, LoginReply]:
        """The one that works, of those this folder holds, and what it was answered."""
        for file in (self._next, self._folder.password, self._one_time):
            try:
                password = file.read_text(encoding="utf-8").strip()
            except FileNotFoundError:
                continue
            try:
                reply = self._ask(password)
            except WrongPassword:
                continue
            if file == self._next:
                file.replace(self._folder.password)
            return password, reply
        raise LocalNotFound(
            f"no valid password of {ADMIN!r} in {self._folder.root}",
            hint=f"log in by hand with: dfs login {ADMIN}",
        )

    def _replace(self, old: str) -> None:
        password = new_password()
        write_private(self._next, f"{password}\n".encode())
        self.link.call(routes.PASSWORD, PasswordRequest(new=password, old=old))
        self._next.replace(self._folder.password)
        self._one_time.unlink(missing_ok=True)

    def _ask(self, password: str) -> LoginReply:
        reply = self.link.call(routes.LOGIN, LoginRequest(name=ADMIN, password=password))
        self.link.token = reply.token
        return reply

    @property
    def _next(self) -> Path:
        return self._folder.password.with_name("admin-password.next")
