"""A real NameNode on loopback, in this process: real SQLite, real waitress, every service."""

from pathlib import Path

import msgspec
import urllib3
from msgspec.structs import replace

from dfs.accounts.passwords import HashCost, Passwords
from dfs.base.clock import SystemClock
from dfs.base.decoding import json_reader
from dfs.base.entropy import new_id
from dfs.daemons.namenode import Outside, make_ballot
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.namenode_process import NamenodeProcess
from dfs.daemons.namenode_reign import open_database
from dfs.meta.soundness import Soundness
from dfs.meta.upgrade import upgrade
from dfs.namespace.genesis import create_cluster
from dfs.observe.logs import Log
from dfs.settings.sections import Config, LimitsConfig, NamenodeConfig
from dfs.wire import routes
from dfs.wire.accounts_api import LoginReply, LoginRequest, PasswordRequest, RegisterRequest
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import Route

ONE_TIME = "made-for-one-time"
ADMIN_PASSWORD = "the admin's own words"
PASSWORD = "a password of twelve"
_CHEAP = HashCost(passes=1, memory_kib=64, lanes=1)


class Answer:
    """An HTTP answer, as it came."""

    def __init__(self, got: urllib3.BaseHTTPResponse) -> None:
        self.status = got.status
        self.headers = got.headers
        self.raw = got.data

    @property
    def json(self) -> dict[str, object]:
        return json_reader(dict[str, object])(self.raw)

    @property
    def error(self) -> dict[str, object]:
        found = self.json["error"]
        assert isinstance(found, dict)
        assert set(found) == {"code", "message", "hint", "details"}
        return found


class NamenodeRig:
    """Started when made; `stop` ends it as SIGTERM does."""

    def __init__(
        self,
        data: Path,
        *,
        limits: LimitsConfig | None = None,
        namenode: NamenodeConfig | None = None,
    ) -> None:
        self.clock = SystemClock()
        self.log_file = data / "log"
        kept = replace(namenode or NamenodeConfig(), port=0, data=str(data), threads=8)
        self.config = Config(namenode=kept, limits=limits or LimitsConfig())
        self.folder = NamenodeFolder(data)
        self._create()
        log = Log(process="namenode", file=str(self.log_file))
        soundness = Soundness(self.folder.database, clock=self.clock)
        soundness.prove_for_start()
        self.process = NamenodeProcess(
            self.config,
            self.folder,
            log=log,
            clock=self.clock,
            soundness=soundness,
            ballot=make_ballot(self.folder, Outside(self.config, log, self.clock)),
        )
        self.process.start()
        self.url = f"http://127.0.0.1:{self.process.http.port}"
        self._pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=30)

    def _create(self) -> None:
        log = Log(process="namenode", file=str(self.log_file))
        upgrade(self.folder.database, self.folder.backups, self.clock)
        database = open_database(
            self.folder.database,
            config=self.config,
            clock=self.clock,
            log=log,
            on_fatal=lambda _reason: None,
        )
        hashed = Passwords(hashes_at_once=1, cost=_CHEAP).hash(ONE_TIME)
        create_cluster(database.writer, cluster=new_id(), password_hash=hashed)
        database.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        token: str = "",
        request: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if request:
            sent[REQUEST_ID_HEADER] = request
        return Answer(self._pool.request(method, self.url + path, body=body, headers=sent))

    def post(self, route: Route, body: object, *, token: str = "", request: str = "") -> Answer:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.send("POST", route.path, body=raw, token=token, request=request)

    def admin(self) -> str:
        """A token of the admin, whose one-time password was replaced."""
        first = self.login("admin", ONE_TIME)
        if first is not None:
            changed = self.post(
                routes.PASSWORD,
                PasswordRequest(new=ADMIN_PASSWORD, old=ONE_TIME),
                token=first.token,
            )
            assert changed.status == 200, changed.raw
        again = self.login("admin", ADMIN_PASSWORD)
        assert again is not None
        return again.token

    def user(self, name: str) -> str:
        """A token of a new user."""
        made = self.post(routes.REGISTER, RegisterRequest(name=name, password=PASSWORD))
        assert made.status == 200, made.raw
        reply = self.login(name, PASSWORD)
        assert reply is not None
        return reply.token

    def login(self, name: str, password: str) -> LoginReply | None:
        answer = self.post(routes.LOGIN, LoginRequest(name=name, password=password))
        if answer.status != 200:
            return None
        return json_reader(LoginReply)(answer.raw)

    def audit_lines(self) -> list[dict[str, object]]:
        """Every audit line, oldest first."""
        lines = self.folder.audit.read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def log_lines(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(line) for line in self.log_file.read_bytes().splitlines()]

    def stop(self) -> None:
        self._pool.clear()
        self.process.close()
        self.folder.close()
