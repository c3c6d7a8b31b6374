"""Sessions end by time, by address, by being ended; their tokens are kept nowhere."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from dfs.accounts.expiry import Expiry
from dfs.accounts.session_memory import Known, SessionMemory
from dfs.accounts.session_rows import OpenSession
from dfs.accounts.sessions import SESSIONS_PER_USER_MAX, Session
from dfs.base.errors import NotLoggedIn, SessionExpired
from dfs.base.events import Event
from dfs.base.ids import UserId
from dfs.meta.cluster_tables import JOURNAL, RETRY_CACHE, SESSION
from dfs.meta.retry_cache import RequestKey
from dfs.wire.accounts_api import LogoutRequest
from dfs.wire.shapes import Nothing
from tests.builders import a_principal

HERE, THERE = "192.0.2.7", "198.51.100.9"
HOUR_S = 3600.0
KEEP_S = 900.0


@pytest.fixture
def short(town_with: Callable[..., Any]) -> Any:
    """A town whose sessions last ten hours, one when not used, with ada in it."""
    town = town_with(session_life_s=10 * HOUR_S, session_idle_s=HOUR_S)
    town.register("ada")
    return town


def _expiry(town: Any) -> Expiry:
    meta = town.meta
    return Expiry(
        meta.writer, town.accounts.open_sessions, emit=meta.emit, retry_cache_keep_s=KEEP_S
    )


def _row(number: int = 1) -> OpenSession:
    return OpenSession(number, b"%d" % number, UserId(5), HERE, False, 0, 0, 1_000)  # noqa: FBT003


def _known(number: int = 1) -> Known:
    return Known(_row(number), Session(a_principal(), number, 1_000, must_change=False))


def test_token_is_stored_nowhere(town: Any) -> None:
    town.register("ada")
    token = town.token("ada")
    assert token.startswith("dfs_")
    assert len(token) >= 40
    town.meta.writer.submit(lambda txn: txn.connection)  # a later batch, so that the first is out
    stored = b"".join(path.read_bytes() for path in town.meta.file.parent.iterdir())
    assert token.encode() not in stored
    assert token.removeprefix("dfs_").encode() not in stored
    said = [str(fields) for _, fields in town.meta.emit.events]
    assert not any(token in line for line in said)


def test_every_login_gets_a_new_token(town: Any) -> None:
    town.register("ada")
    assert len({town.token("ada") for _ in range(20)}) == 20


@pytest.mark.parametrize("token", ["", "x", "dfsn_" + "x" * 43, "Bearer dfs_x"])
def test_what_is_no_token_is_not_logged_in(town: Any, token: str) -> None:
    with pytest.raises(NotLoggedIn):
        town.accounts.authenticate(token, HERE)


@pytest.mark.parametrize("token", ["dfs_", "dfs_" + "x" * 43, "dfs_\ud800", "dfs_" + "x" * 100_000])
def test_invented_token_is_refused(town: Any, token: str) -> None:
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(token, HERE)


def test_session_ends_when_its_life_is_over_however_used(short: Any) -> None:
    token = short.token("ada")
    for _ in range(19):
        short.meta.clock.advance(HOUR_S / 2)
        short.accounts.authenticate(token, HERE)
    short.meta.clock.advance(HOUR_S / 2)
    with pytest.raises(SessionExpired, match="expired"):
        short.accounts.authenticate(token, HERE)


def test_session_ends_when_it_is_not_used(short: Any) -> None:
    token = short.token("ada")
    short.meta.clock.advance(HOUR_S - 1)
    short.accounts.authenticate(token, HERE)
    short.meta.clock.advance(HOUR_S)
    with pytest.raises(SessionExpired, match="not used"):
        short.accounts.authenticate(token, HERE)


def test_unused_time_starts_anew_with_a_namenode_and_the_life_does_not(short: Any) -> None:
    token = short.token("ada")
    short.meta.clock.advance(9.5 * HOUR_S)
    short.accounts = short.build(session_life_s=10 * HOUR_S, session_idle_s=HOUR_S)
    short.accounts.authenticate(token, HERE)
    short.meta.clock.advance(HOUR_S / 2)
    with pytest.raises(SessionExpired, match="expired"):
        short.accounts.authenticate(token, HERE)


def test_session_is_good_from_anywhere_unless_bound(town: Any) -> None:
    town.register("ada")
    free, bound = town.token("ada"), town.token("ada", bind=True)
    assert town.accounts.authenticate(free, THERE).principal.address == THERE
    assert town.accounts.authenticate(free, HERE).principal.address == HERE
    assert town.accounts.authenticate(bound, HERE).principal.address == HERE
    with pytest.raises(SessionExpired, match=HERE):
        town.accounts.authenticate(bound, THERE)
    town.accounts.authenticate(bound, HERE)  # the thief's try did not end it


def test_every_session_is_bound_when_the_configuration_says_so(
    town_with: Callable[..., Any],
) -> None:
    town = town_with(bind_address=True)
    town.register("ada")
    token = town.token("ada")
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(token, THERE)


def test_logout_ends_this_session_alone(town: Any) -> None:
    town.register("ada")
    one, other = town.token("ada"), town.token("ada")
    session = town.accounts.authenticate(one, HERE)
    town.write(town.accounts.logout, session, LogoutRequest())
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(one, HERE)
    town.accounts.authenticate(other, HERE)


def test_logout_everywhere_ends_every_session_of_the_user_alone(town: Any) -> None:
    town.register("ada")
    town.register("bob")
    tokens, bobs = [town.token("ada") for _ in range(3)], town.token("bob")
    session = town.accounts.authenticate(tokens[0], HERE)
    town.write(town.accounts.logout, session, LogoutRequest(everywhere=True))
    for token in tokens:
        with pytest.raises(SessionExpired):
            town.accounts.authenticate(token, HERE)
    town.accounts.authenticate(bobs, HERE)


def test_sessions_survive_a_restart(town: Any) -> None:
    town.register("ada")
    token = town.token("ada")
    town.accounts = town.build()
    assert town.accounts.authenticate(token, HERE).principal.name == "ada"


def test_session_unused_longest_ends_when_there_are_too_many(town: Any) -> None:
    town.register("ada")
    tokens = []
    for _ in range(SESSIONS_PER_USER_MAX):
        tokens.append(town.token("ada"))
        town.meta.clock.advance(1)
    town.accounts.authenticate(tokens[0], HERE)
    town.token("ada")
    assert town.count(SESSION) == SESSIONS_PER_USER_MAX
    town.accounts.authenticate(tokens[0], HERE)
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(tokens[1], HERE)


def test_authenticating_writes_nothing(town: Any) -> None:
    town.register("ada")
    token, txid = town.token("ada"), town.meta.writer.txid
    for _ in range(50):
        town.accounts.authenticate(token, HERE)
    assert town.meta.writer.txid == txid


def test_expiry_drops_what_is_over_and_only_that(short: Any) -> None:
    short.token("ada")
    short.meta.clock.advance(HOUR_S / 2)
    used, expiry = short.token("ada"), _expiry(short)
    assert not expiry.expire_once()
    short.meta.clock.advance(HOUR_S / 2)
    report = expiry.expire_once()
    assert (report.sessions, report.answers) == (1, 0)
    assert short.count(SESSION) == 1
    short.accounts.authenticate(used, HERE)
    assert short.events(Event.SESSION_ENDED)[-1]["reason"] == "expired"


def test_expiry_keeps_what_was_used_lately(short: Any) -> None:
    token, expiry = short.token("ada"), _expiry(short)
    for _ in range(6):
        short.meta.clock.advance(HOUR_S / 2)
        short.accounts.authenticate(token, HERE)
        assert not expiry.expire_once()


def test_last_use_is_saved_without_the_journal(short: Any) -> None:
    token, expiry = short.token("ada"), _expiry(short)
    short.meta.clock.advance(600)
    session = short.accounts.authenticate(token, HERE)
    txid = short.meta.writer.txid
    expiry.expire_once()
    assert short.meta.writer.txid == txid
    with short.meta.reader.view() as connection:
        saved = connection.execute(select(SESSION.c.last_used_ms)).scalar_one()
    assert saved == short.meta.clock.now_ms()
    short.meta.clock.advance(60)
    short.accounts.authenticate(token, HERE)
    listed = short.read(short.accounts.sessions, session.principal, Nothing()).sessions
    assert listed[0].last_used_ms == saved + 60_000  # newer than what is saved


def test_saving_a_use_does_not_bring_an_ended_session_back(short: Any) -> None:
    session, expiry = short.session("ada"), _expiry(short)
    memory = short.accounts.open_sessions._memory
    short.write(short.accounts.logout, session, LogoutRequest())
    memory.touch(session.session, short.meta.clock.now_ms())  # a request that was under way
    expiry.expire_once()
    assert short.count(SESSION) == 0


def test_old_answers_are_forgotten_without_the_journal(town: Any) -> None:
    writer, expiry = town.meta.writer, _expiry(town)
    writer.answer(RequestKey("ada", "1"), lambda txn: b"first")
    town.meta.clock.advance(KEEP_S)
    writer.answer(RequestKey("ada", "2"), lambda txn: b"second")
    assert not expiry.expire_once()
    town.meta.clock.advance(1)
    records = town.count(JOURNAL)
    assert expiry.expire_once().answers == 1
    assert town.count(RETRY_CACHE) == 1
    assert town.count(JOURNAL) == records


def test_lookup_that_began_before_a_change_is_not_kept() -> None:
    memory = SessionMemory()
    version = memory.version
    memory.forget()
    memory.keep(_known(), version=version)
    assert memory.find(b"1") is None
    memory.keep(_known(), version=memory.version)
    assert memory.find(b"1") == _known()
    version = memory.version
    memory.drop([_row()])
    memory.keep(_known(), version=version)
    assert memory.find(b"1") is None


def test_memory_of_sessions_is_bounded() -> None:
    memory = SessionMemory(known_max=3, used_max=3)
    for number in range(10):
        memory.keep(_known(number), version=memory.version)
        memory.touch(number, number)
    assert [number for number in range(10) if memory.find(b"%d" % number)] == [7, 8, 9]
    assert memory.take_unsaved(limit=2).keys() <= {7, 8, 9}
    assert len(memory.take_unsaved(limit=10)) == 1
    assert memory.take_unsaved(limit=10) == {}
    assert memory.used_ms(0) == 0
    assert memory.used_ms(9) == 9
