"""A real database with one writer, a clock moved by hand, and Argon2id at its cheapest."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from dfs.accounts.genesis import create_first_accounts
from dfs.accounts.passwords import HashCost, Passwords
from dfs.accounts.service import Accounts
from dfs.accounts.sessions import Session
from dfs.base.events import Event
from dfs.meta.cluster_tables import USER
from dfs.settings.sections import AccountsConfig
from dfs.wire.accounts_api import LoginRequest, RegisterRequest
from tests.metadata_rig import MetadataRig

CHEAP = HashCost(passes=1, memory_kib=8, lanes=1)
PASSWORD = "a walrus on a unicycle"
ADMIN_PASSWORD = "a one-time password"
HERE = "192.0.2.7"


class Town:
    """A cluster's accounts with its administrator, and short ways to act on them."""

    def __init__(self, meta: MetadataRig, **config: object) -> None:
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
        return self.meta.change(lambda txn: act(txn, who, body))

    def read(self, act: Callable[..., Any], *given: object) -> Any:
        return self.meta.look(lambda connection: act(connection, *given))

    def count(self, table: Table) -> int:
        rows = select(func.count()).select_from(table)
        return self.meta.look(lambda connection: connection.execute(rows).scalar_one())

    def events(self, event: Event) -> list[Mapping[str, object]]:
        return [fields for name, fields in self.meta.emit.events if name is event]


@pytest.fixture
def town(metadata: MetadataRig) -> Town:
    return Town(metadata)


@pytest.fixture
def town_with(metadata: MetadataRig) -> Callable[..., Town]:
    return functools.partial(Town, metadata)
