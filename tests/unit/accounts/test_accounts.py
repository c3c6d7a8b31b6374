"""Who may come in, who is there, and what is left when an account goes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from dfs.accounts.account_rows import find_group, find_user, group_names, user_names
from dfs.accounts.passwords import HashCost, Passwords
from dfs.accounts.sessions import ROUTES_BEFORE_NEW_PASSWORD
from dfs.base.errors import (
    AccountDisabled,
    BadRequest,
    GroupNotFound,
    LimitExceeded,
    PermissionDenied,
    RegistrationClosed,
    SessionExpired,
    Throttled,
    UserExists,
    UserNotFound,
    WrongPassword,
)
from dfs.base.events import Event
from dfs.base.ids import SUPERUSER
from dfs.meta.cluster_tables import MEMBERSHIP, SESSION, USER
from dfs.wire import routes
from dfs.wire.accounts_api import (
    AddUserRequest,
    MembersRequest,
    PasswordRequest,
    UserStateRequest,
)
from dfs.wire.shapes import NameRequest, Nothing

PASSWORD = "a walrus on a unicycle"
ADMIN_PASSWORD = "a one-time password"
OTHER = "a hedgehog under a bridge"
HERE = "192.0.2.7"


def _hash_of(town: Any, name: str) -> str:
    with town.meta.reader.view() as connection:
        wanted = select(USER.c.password_hash).where(
            USER.c.name == name, USER.c.removed_ms.is_(None)
        )
        return str(connection.execute(wanted).scalar_one())


def _members(town: Any, admin: Any, group: str, *, add: Any = (), remove: Any = ()) -> None:
    body = MembersRequest(group=group, add=list(add), remove=list(remove))
    town.write(town.accounts.set_members, admin.principal, body)


# --- the beginning ---


def test_cluster_begins_with_an_administrator_who_must_change_the_password(town: Any) -> None:
    session = town.admin()
    assert session.must_change
    assert session.principal.user == SUPERUSER
    assert session.principal.is_superuser
    said = town.read(town.accounts.whoami, session)
    assert (said.user, said.groups, said.superuser) == ("admin", ["supergroup"], True)
    assert said.must_change_password
    assert said.address == HERE


def test_first_ids_come_from_the_sequences(town: Any) -> None:
    town.register("ada")
    assert town.read(find_user, "ada") == 2
    _members(town, town.admin(), "staff", add=["ada"])
    assert town.read(find_group, "staff") == 3


def test_routes_before_a_new_password_are_three(town: Any) -> None:
    assert {routes.PASSWORD.path, routes.WHOAMI.path, routes.LOGOUT.path} == set(
        ROUTES_BEFORE_NEW_PASSWORD
    )


# --- making accounts ---


def test_registered_user_logs_in(town: Any) -> None:
    session = town.newcomer("ada")
    assert session.principal.name == "ada"
    assert session.principal.groups == {2}
    assert not session.principal.is_superuser
    assert not session.must_change
    assert town.homes == [(session.principal.user, "ada", 2)]
    assert town.events(Event.USER_REGISTERED)[0]["name"] == "ada"


def test_password_is_kept_as_argon2id_only(town: Any) -> None:
    town.register("ada")
    assert _hash_of(town, "ada").startswith("$argon2id$")
    assert PASSWORD.encode() not in town.meta.file.read_bytes()


@pytest.mark.parametrize(
    ("name", "password"),
    [("Ada", PASSWORD), ("ada", "short"), ("ada", "passwordpassword"), ("", PASSWORD)],
)
def test_registration_is_refused_when_name_or_password_will_not_do(
    town: Any, name: str, password: str
) -> None:
    with pytest.raises(BadRequest):
        town.register(name, password)
    assert town.count(USER) == 1


def test_registration_is_refused_when_the_name_is_taken(town: Any) -> None:
    town.register("ada")
    with pytest.raises(UserExists):
        town.register("ada", OTHER)
    assert town.token("ada")


def test_registration_is_refused_when_closed(town_with: Callable[..., Any]) -> None:
    town = town_with(registration="closed")
    with pytest.raises(RegistrationClosed):
        town.register("ada")
    town.accounts.add(town.admin().principal, AddUserRequest(name="ada", password=PASSWORD))
    assert not town.session("ada").must_change


def test_user_is_not_made_when_what_belongs_to_it_cannot_be(town: Any) -> None:
    def refuse(*_: object) -> None:
        raise LimitExceeded("no room for a home")

    town.accounts._on_register = refuse
    with pytest.raises(LimitExceeded):
        town.register("ada")
    assert town.count(USER) == 1


def test_added_user_gets_a_one_time_password(town: Any) -> None:
    reply = town.accounts.add(town.admin().principal, AddUserRequest(name="ada"))
    session = town.session("ada", reply.one_time_password)
    assert session.must_change
    body = PasswordRequest(old=reply.one_time_password, new=PASSWORD)
    town.accounts.password(session, body)
    assert not town.session("ada").must_change


def test_one_address_registers_slowly_after_many(town: Any) -> None:
    for at in range(50):
        town.register(f"user{at}")
    with pytest.raises(Throttled):
        town.register("onemore")


# --- who may change accounts ---


def test_administration_is_refused_to_others(town: Any) -> None:
    ada = town.newcomer("ada")
    town.register("bob")
    acts = [
        lambda: town.accounts.add(ada.principal, AddUserRequest(name="eve")),
        lambda: town.write(town.accounts.remove, ada.principal, NameRequest(name="bob")),
        lambda: town.write(
            town.accounts.set_state, ada.principal, UserStateRequest(name="bob", disabled=True)
        ),
        lambda: _members(town, ada, "supergroup", add=["ada"]),
        lambda: town.accounts.password(ada, PasswordRequest(name="bob", new=OTHER)),
    ]
    for act in acts:
        with pytest.raises(PermissionDenied):
            act()
    assert town.token("bob")


def test_administration_is_refused_to_who_was_an_administrator(town: Any) -> None:
    admin, ada = town.admin(), town.newcomer("ada")
    _members(town, admin, "supergroup", add=["ada"])
    former = town.accounts.authenticate(town.token("ada"), HERE).principal
    assert former.is_superuser
    _members(town, admin, "supergroup", remove=["ada"])
    with pytest.raises(PermissionDenied):
        town.accounts.add(former, AddUserRequest(name="eve"))
    assert not town.session("ada").principal.is_superuser
    assert not ada.principal.is_superuser


@pytest.mark.parametrize("by", ["admin", "ada"])
def test_first_administrator_stays_whoever_asks(town: Any, by: str) -> None:
    admin = town.admin()
    town.register("ada")
    _members(town, admin, "supergroup", add=["ada"])
    who = (admin if by == "admin" else town.session("ada")).principal
    with pytest.raises(PermissionDenied, match="made with the cluster"):
        town.write(town.accounts.remove, who, NameRequest(name="admin"))
    with pytest.raises(PermissionDenied, match="made with the cluster"):
        town.write(town.accounts.set_state, who, UserStateRequest(name="admin", disabled=True))
    with pytest.raises(BadRequest, match="primary group"):
        _members(
            town,
            town.session(by, PASSWORD if by == "ada" else ADMIN_PASSWORD),
            "supergroup",
            remove=["admin"],
        )
    assert town.admin().principal.is_superuser


# --- groups ---


def test_group_is_made_by_naming_members_and_sessions_see_it_at_once(town: Any) -> None:
    admin = town.admin()
    town.register("ada")
    token = town.token("ada")
    assert town.accounts.authenticate(token, HERE).principal.groups == {2}
    _members(town, admin, "staff", add=["ada"])
    staff = town.read(find_group, "staff")
    assert town.accounts.authenticate(token, HERE).principal.groups == {2, staff}
    _members(town, admin, "staff", remove=["ada"])
    assert town.accounts.authenticate(token, HERE).principal.groups == {2}
    said = {
        one.name: one.members
        for one in town.read(town.accounts.groups, admin.principal, Nothing()).groups
    }
    assert said == {"staff": [], "supergroup": ["admin"], "users": ["ada"]}


def test_group_is_unchanged_when_a_member_is_nobody(town: Any) -> None:
    admin = town.admin()
    town.register("ada")
    with pytest.raises(UserNotFound, match="bob"):
        _members(town, admin, "staff", add=["ada", "bob"])
    with pytest.raises(GroupNotFound):
        town.read(find_group, "staff")
    with pytest.raises(BadRequest, match="group name"):
        _members(town, admin, "Staff")


# --- removing, disabling ---


def test_removed_user_is_out_at_once(town: Any) -> None:
    ada = town.newcomer("ada")
    token = town.token("ada")
    town.accounts.authenticate(token, HERE)
    town.write(town.accounts.remove, ada.principal, NameRequest(name="ada"))
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(token, HERE)
    with pytest.raises(WrongPassword):
        town.token("ada")
    assert town.count(SESSION) == 0
    assert town.count(MEMBERSHIP) == 1
    assert town.events(Event.USER_REMOVED)[0]["name"] == "ada"


def test_name_of_a_removed_user_registered_again_owns_nothing(town: Any) -> None:
    before = town.newcomer("ada").principal
    _members(town, town.admin(), "staff", add=["ada"])
    town.write(town.accounts.remove, before, NameRequest(name="ada"))
    town.register("ada", OTHER)
    after = town.session("ada", OTHER).principal
    assert after.user != before.user
    assert after.groups == {2}
    names = town.read(user_names, [before.user, after.user])
    assert names == {before.user: f"ada#{before.user}", after.user: "ada"}
    assert town.read(find_user, "ada") == after.user
    with pytest.raises(UserNotFound):
        town.read(find_user, f"ada#{before.user}")
    # The old session's principal is not the new user, though the name is the same.
    with pytest.raises(PermissionDenied):
        town.write(town.accounts.remove, before, NameRequest(name="ada"))


def test_administrator_removes_others(town: Any) -> None:
    town.register("ada")
    town.write(town.accounts.remove, town.admin().principal, NameRequest(name="ada"))
    with pytest.raises(UserNotFound):
        town.write(town.accounts.remove, town.admin().principal, NameRequest(name="ada"))


def test_disabled_user_is_out_until_enabled(town: Any) -> None:
    admin = town.admin().principal
    town.register("ada")
    token = town.token("ada")
    town.write(town.accounts.set_state, admin, UserStateRequest(name="ada", disabled=True))
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(token, HERE)
    with pytest.raises(AccountDisabled):
        town.token("ada")
    with pytest.raises(WrongPassword):  # who does not know the password learns nothing
        town.token("ada", OTHER)
    town.write(town.accounts.set_state, admin, UserStateRequest(name="ada", disabled=False))
    assert town.token("ada")


# --- who is there ---


def test_users_lists_who_is_registered(town: Any) -> None:
    admin = town.admin()
    town.newcomer("ada")
    town.session("ada")
    town.register("bob")
    _members(town, admin, "supergroup", add=["bob"])
    town.write(
        town.accounts.set_state, admin.principal, UserStateRequest(name="bob", disabled=True)
    )
    said = town.read(town.accounts.users, admin.principal, Nothing()).users
    assert [(u.name, u.groups, u.superuser, u.disabled, u.sessions) for u in said] == [
        ("ada", ["users"], False, False, 2),
        ("admin", ["supergroup"], True, False, 1),
        ("bob", ["supergroup", "users"], True, True, 0),
    ]


def test_sessions_lists_ones_own_and_for_administrators_all(town: Any) -> None:
    ada, admin = town.newcomer("ada"), town.admin()
    town.token("ada", at="198.51.100.9", bind=True)
    mine = town.read(town.accounts.sessions, ada.principal, Nothing()).sessions
    assert [(one.user, one.address, one.bound) for one in mine] == [
        ("ada", HERE, False),
        ("ada", "198.51.100.9", True),
    ]
    everybodys = town.read(town.accounts.sessions, admin.principal, Nothing()).sessions
    assert sorted(one.user for one in everybodys) == ["ada", "ada", "admin"]


def test_names_are_found_in_bulk(town: Any) -> None:
    town.register("ada")
    names = town.read(user_names, range(2_000))
    assert names == {1: "admin", 2: "ada"}
    assert town.read(group_names, [1, 2, 3]) == {1: "supergroup", 2: "users"}


# --- passwords ---


def test_password_change_ends_every_other_session(town: Any) -> None:
    town.register("ada")
    mine, other = town.token("ada"), town.token("ada")
    session = town.accounts.authenticate(mine, HERE)
    reply = town.accounts.password(session, PasswordRequest(old=PASSWORD, new=OTHER))
    assert reply.sessions_ended == 1
    assert town.accounts.authenticate(mine, HERE).principal.name == "ada"
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(other, HERE)
    with pytest.raises(WrongPassword):
        town.token("ada")
    assert town.token("ada", OTHER)


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (OTHER, OTHER + "!", WrongPassword),
        ("", OTHER, WrongPassword),
        (PASSWORD, "short", BadRequest),
        (PASSWORD, PASSWORD, BadRequest),
    ],
)
def test_password_change_is_refused(town: Any, old: str, new: str, refusal: type) -> None:
    session = town.newcomer("ada")
    with pytest.raises(refusal):
        town.accounts.password(session, PasswordRequest(old=old, new=new))
    assert town.token("ada")


def test_reset_password_is_for_one_time_and_ends_every_session(town: Any) -> None:
    town.register("ada")
    token = town.token("ada")
    reply = town.accounts.password(town.admin(), PasswordRequest(name="ada", new=OTHER))
    assert reply.sessions_ended == 1
    with pytest.raises(SessionExpired):
        town.accounts.authenticate(token, HERE)
    assert town.session("ada", OTHER).must_change


def test_flag_falls_when_the_one_time_password_was_replaced(town: Any) -> None:
    token = town.token("admin", ADMIN_PASSWORD)
    session = town.accounts.authenticate(token, HERE)
    town.accounts.password(session, PasswordRequest(old=ADMIN_PASSWORD, new=OTHER))
    assert not town.accounts.authenticate(token, HERE).must_change


def test_login_hashes_anew_when_the_cost_rose(town: Any) -> None:
    town.register("ada")
    before = _hash_of(town, "ada")
    dearer = Passwords(hashes_at_once=2, cost=HashCost(passes=2, memory_kib=16, lanes=1))
    town.accounts = town.build(passwords=dearer)
    with pytest.raises(WrongPassword):
        town.token("ada", OTHER)
    assert _hash_of(town, "ada") == before
    assert town.token("ada")
    after = _hash_of(town, "ada")
    assert after != before
    assert not dearer.is_outdated(after)
    assert town.token("ada")
    assert _hash_of(town, "ada") == after


# --- guessing ---


def test_unknown_user_is_refused_like_a_wrong_password(town: Any) -> None:
    town.register("ada")
    with pytest.raises(WrongPassword) as known:
        town.token("ada", OTHER)
    with pytest.raises(WrongPassword) as unknown:
        town.token("nobody", OTHER)
    assert known.value.message == unknown.value.message
    for name in ("", "Ada", "a\0b", "\ud800", "x" * 100_000):
        with pytest.raises(WrongPassword):
            town.token(name, OTHER)


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_guessing_at_an_account_gets_slow_known_or_not(town: Any, name: str) -> None:
    town.register("ada")
    for _ in range(5):
        with pytest.raises(WrongPassword):
            town.token(name, OTHER)
    with pytest.raises(Throttled) as refused:
        town.token(name)
    assert refused.value.details == {"retry_after_s": 1}
    assert len(town.events(Event.LOGIN_REFUSED)) == 5


def test_waiting_lets_the_owner_in_and_forgives(town: Any) -> None:
    town.register("ada")
    for _ in range(5):
        with pytest.raises(WrongPassword):
            town.token("ada", OTHER)
    town.meta.clock.advance(1)
    assert town.token("ada")
    for _ in range(5):
        with pytest.raises(WrongPassword):
            town.token("ada", OTHER)


def test_guessing_from_an_address_gets_slow_whatever_the_names(town: Any) -> None:
    town.register("ada")
    for at in range(50):
        with pytest.raises(WrongPassword):
            town.token(f"user{at}", OTHER)
        town.token("ada", at="198.51.100.9")
    with pytest.raises(Throttled):
        town.token("ada")
    assert town.token("ada", at="198.51.100.9")


def test_guessing_the_old_password_by_a_stolen_session_gets_slow(town: Any) -> None:
    session = town.newcomer("ada")
    for _ in range(5):
        with pytest.raises(WrongPassword):
            town.accounts.password(session, PasswordRequest(old=OTHER, new=OTHER))
    with pytest.raises(Throttled):
        town.accounts.password(session, PasswordRequest(old=PASSWORD, new=OTHER))


# --- many at once ---


def test_logins_at_once_each_get_their_own_session(town: Any) -> None:
    names = [f"user{at}" for at in range(5)]
    for name in names:
        town.register(name)
    dearer = Passwords(hashes_at_once=4, cost=HashCost(passes=2, memory_kib=16, lanes=1))
    town.accounts = town.build(passwords=dearer)  # every first login hashes anew as well
    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(town.token, names * 8))
    assert len(set(tokens)) == 40
    assert town.count(SESSION) == 40
    who = [town.accounts.authenticate(token, HERE).principal.name for token in tokens]
    assert who == names * 8


def test_one_of_many_registrations_of_a_name_wins(town: Any) -> None:
    start = threading.Barrier(8)

    def register(at: int) -> bool:
        start.wait(10)
        try:
            town.register("ada", f"{PASSWORD} {at}")
        except UserExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(register, range(8)))
    assert won.count(True) == 1
    assert town.token("ada", f"{PASSWORD} {won.index(True)}")
