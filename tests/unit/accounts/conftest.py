"""A real database with one writer, a clock moved by hand, and Argon2id at its cheapest."""

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, func, select

from dfs.accounts.genesis import create_first_accounts
from dfs.accounts.passwords import HashCost, Passwords
from dfs.accounts.service import Accounts
from dfs.accounts.sessions import Session
from dfs.base.clock import ManualClock
from dfs.base.events import Event, RecordingEmitter
from dfs.meta import tables
from dfs.meta.cluster_tables import USER
from dfs.meta.schema import Base
from dfs.meta.session import Reader, reader_engine, writer_engine
from dfs.meta.writer import Writer
from dfs.settings.sections import AccountsConfig, LimitsConfig, NamenodeConfig
from dfs.wire.accounts_api import LoginRequest, RegisterRequest

CHEAP = HashCost(passes=1, memory_kib=8, lanes=1)
PASSWORD = "a walrus on a unicycle"
ADMIN_PASSWORD = "a one-time password"
HERE = "192.0.2.7"

assert tables  # its import declares half of the tables


@dataclass(frozen=True)
class Meta:
    """What a service of the NameNode is built from."""

    writer: Writer
    reader: Reader
    clock: ManualClock
    emit: RecordingEmitter
    file: Path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables without rows: made once, as every statement of it waits for the disk."""
    file = tmp_path_factory.mktemp("empty") / "dfs.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def meta(tmp_path: Path, empty_database: Path) -> Iterator[Meta]:
    file = tmp_path / "dfs.sqlite"
    shutil.copy(empty_database, file)
    engine = writer_engine(file)
    clock, emit = ManualClock(), RecordingEmitter()
    writer = Writer(
        engine,
        file,
        clock=clock,
        emit=emit,
        config=NamenodeConfig(),
        limits=LimitsConfig(),
        on_fatal=lambda reason: pytest.fail(reason),
    )
    reader = Reader(reader_engine(file, connections=8))
    yield Meta(writer, reader, clock, emit, file)
    writer.close()
    reader.close()


class Town:
    """A cluster's accounts with its administrator, and short ways to act on them."""

    def __init__(self, meta: Meta, **config: object) -> None:
        self.meta = meta
        self.homes: list[tuple[int, str, int]] = []
        self.passwords = Passwords(hashes_at_once=4, cost=CHEAP)
        admin = self.passwords.hash(ADMIN_PASSWORD)
        if not self.count(USER):
            meta.writer.submit(lambda txn: create_first_accounts(txn, password_hash=admin))
        self.accounts = self.build(**config)

    def build(self, *, passwords: Passwords | None = None, **config: object) -> Accounts:
        """The accounts as a process that starts now makes them."""
        return Accounts(
            self.meta.writer,
            self.meta.reader,
            self.meta.clock,
            AccountsConfig(**config),
            self.meta.emit,
            passwords=passwords or self.passwords,
            on_register=lambda txn, user, name, group: self.homes.append((user, name, group)),
        )

    def register(self, name: str, password: str = PASSWORD) -> None:
        self.accounts.register(RegisterRequest(name=name, password=password), address=HERE)

    def token(
        self, name: str, password: str = PASSWORD, *, at: str = HERE, bind: bool = False
    ) -> str:
        body = LoginRequest(name=name, password=password, bind_address=bind)
        return self.accounts.login(body, address=at).token

    def session(self, name: str, password: str = PASSWORD) -> Session:
        return self.accounts.authenticate(self.token(name, password), HERE)

    def newcomer(self, name: str) -> Session:
        self.register(name)
        return self.session(name)

    def admin(self) -> Session:
        return self.session("admin", ADMIN_PASSWORD)

    def write(self, act: Callable[..., Any], who: object, body: object) -> Any:
        return self.meta.writer.submit(lambda txn: act(txn, who, body))

    def read(self, act: Callable[..., Any], *given: object) -> Any:
        with self.meta.reader.view() as connection:
            return act(connection, *given)

    def count(self, table: Table) -> int:
        with self.meta.reader.view() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def events(self, event: Event) -> list[Mapping[str, object]]:
        return [fields for name, fields in self.meta.emit.events if name is event]


@pytest.fixture
def town(meta: Meta) -> Town:
    return Town(meta)


@pytest.fixture
def town_with(meta: Meta) -> Callable[..., Town]:
    return functools.partial(Town, meta)
