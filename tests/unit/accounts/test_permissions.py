"""Permissions as one table, and against a naive model that spells POSIX out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.accounts.permissions import (
    Access,
    allows,
    may_remove_entry,
    may_set_group,
    may_set_owner,
    owns,
)
from dfs.base.ids import SUPERGROUP, SUPERUSER, GroupId, UserId
from dfs.base.records import Principal

R, W, X = Access.READ, Access.WRITE, Access.EXECUTE
ADA, BOB, EVE = UserId(5), UserId(6), UserId(7)
STAFF, OTHER = GroupId(10), GroupId(11)

OWNER = Principal(ADA, "ada", frozenset({OTHER}))
OWNER_IN_GROUP = Principal(ADA, "ada", frozenset({STAFF}))
MEMBER = Principal(BOB, "bob", frozenset({STAFF, OTHER}))
STRANGER = Principal(EVE, "eve", frozenset({OTHER}))
NOBODY = Principal(EVE, "eve", frozenset())
ADMIN = Principal(SUPERUSER, "admin", frozenset())
WHEEL = Principal(EVE, "eve", frozenset({SUPERGROUP}))

# A file or directory of ada and staff: who, mode, everything that is allowed.
MATRIX = [
    (OWNER, 0o700, R | W | X),
    (OWNER, 0o640, R | W),
    (OWNER, 0o555, R | X),
    (OWNER, 0o000, Access(0)),
    (OWNER, 0o077, Access(0)),  # neither group nor others rescue the owner
    (OWNER_IN_GROUP, 0o070, Access(0)),
    (MEMBER, 0o700, Access(0)),
    (MEMBER, 0o640, R),
    (MEMBER, 0o070, R | W | X),
    (MEMBER, 0o707, Access(0)),  # others do not rescue a member of the group
    (MEMBER, 0o710, X),
    (MEMBER, 0o720, W),
    (STRANGER, 0o770, Access(0)),
    (STRANGER, 0o774, R),
    (STRANGER, 0o772, W),
    (STRANGER, 0o771, X),
    (STRANGER, 0o007, R | W | X),
    (STRANGER, 0o1777, R | W | X),
    (NOBODY, 0o005, R | X),
    (NOBODY, 0o1770, Access(0)),
    (ADMIN, 0o000, R | W | X),
    (WHEEL, 0o000, R | W | X),
]

users = st.sampled_from([SUPERUSER, ADA, BOB, EVE])
groups = st.sampled_from([SUPERGROUP, STAFF, OTHER, GroupId(12)])
modes = st.integers(0, 0o1777)
principals = st.builds(Principal, users, st.just("somebody"), st.frozensets(groups))
accesses = st.integers(1, 7).map(Access)


def _model(who: Principal, owner: int, group: int, mode: int, access: Access) -> bool:
    """POSIX 4.7 (file access permissions), one letter at a time, on the text of the mode."""
    if who.user == 1 or 1 in who.groups:
        return True
    text = format(mode & 0o777, "09b")
    if who.user == owner:
        part = text[0:3]
    elif group in who.groups:
        part = text[3:6]
    else:
        part = text[6:9]
    have = {letter for letter, bit in zip("rwx", part, strict=True) if bit == "1"}
    want = {letter for letter, bit in zip("rwx", format(access, "03b"), strict=True) if bit == "1"}
    return want <= have


@pytest.mark.parametrize(("who", "mode", "granted"), MATRIX)
@pytest.mark.parametrize("access", [Access(bits) for bits in range(1, 8)], ids=int)
def test_permissions_grant_what_the_table_says_and_no_more(
    who: Principal, mode: int, granted: Access, access: Access
) -> None:
    got = allows(who, owner=ADA, group=STAFF, mode=mode, access=access)
    assert got == (access & granted == access)


@given(who=principals, owner=users, group=groups, mode=modes, access=accesses)
def test_permissions_agree_with_posix(
    who: Principal, owner: UserId, group: GroupId, mode: int, access: Access
) -> None:
    got = allows(who, owner=owner, group=group, mode=mode, access=access)
    assert got == _model(who, owner, group, mode, access)


@given(who=principals, owner=users, group=groups, mode=modes, access=accesses, wide=accesses)
def test_permissions_never_grant_more_for_asking_more(
    who: Principal, owner: UserId, group: GroupId, mode: int, access: Access, wide: Access
) -> None:
    if allows(who, owner=owner, group=group, mode=mode, access=access | wide):
        assert allows(who, owner=owner, group=group, mode=mode, access=access)


@given(who=principals, owner=users, group=groups, mode=modes, entry_owner=users)
def test_removing_an_entry_agrees_with_the_sticky_rule(
    who: Principal, owner: UserId, group: GroupId, mode: int, entry_owner: UserId
) -> None:
    got = may_remove_entry(
        who,
        directory_owner=owner,
        directory_group=group,
        directory_mode=mode,
        entry_owner=entry_owner,
    )
    if who.is_superuser:
        assert got
        return
    writes = _model(who, owner, group, mode, W | X)
    free = mode < 0o1000
    assert got == (writes and (free or who.user == owner or who.user == entry_owner))


@pytest.mark.parametrize(
    ("who", "mode", "owner", "group"),
    [
        (OWNER, True, False, True),
        (MEMBER, False, False, False),
        (STRANGER, False, False, False),
        (ADMIN, True, True, True),
        (WHEEL, True, True, True),
    ],
)
def test_attributes_are_set_by_owner_and_superuser_only(
    who: Principal, *, mode: bool, owner: bool, group: bool
) -> None:
    assert owns(who, owner=ADA) == mode
    assert may_set_owner(who) == owner
    assert may_set_group(who, owner=ADA, group=OTHER) == group


def test_owner_cannot_set_a_group_they_are_not_in() -> None:
    assert not may_set_group(OWNER, owner=ADA, group=STAFF)
