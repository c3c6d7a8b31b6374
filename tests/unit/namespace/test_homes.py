"""Where users live."""

from dfs.base.ids import GroupId, UserId
from dfs.namespace.genesis import make_home
from tests.metadata_checks import check_metadata
from tests.namespace_rig import NamespaceRig, user

USERS = GroupId(2)


def test_home_is_the_users_own(rig: NamespaceRig) -> None:
    rig.change(lambda txn: make_home(txn, UserId(7), "ada", USERS))
    rig.put("/user/ada/f", b"x", who=user(7))


def test_home_of_a_removed_account_is_kept_aside_for_a_new_one_of_that_name(
    rig: NamespaceRig,
) -> None:
    rig.change(lambda txn: make_home(txn, UserId(7), "ada", USERS))
    rig.put("/user/ada/f", b"old", who=user(7))
    rig.change(lambda txn: make_home(txn, UserId(8), "ada", USERS))
    rig.put("/user/ada/f", b"new!", who=user(8))
    assert rig.stat("/user/ada#7/f").size_bytes == 3
    assert rig.stat("/user/ada/f", who=user(8)).size_bytes == 4
    rig.look(check_metadata)


def test_home_made_twice_stays_as_it_is(rig: NamespaceRig) -> None:
    for _ in range(2):
        rig.change(lambda txn: make_home(txn, UserId(7), "ada", USERS))
    assert rig.names("/user") == ["ada", "admin"]
