"""Which names and passwords are taken, how they are hashed, and how many at once."""

import threading
import unicodedata

import pytest

from dfs.accounts.names import check_name, is_name
from dfs.accounts.password_rules import check_password
from dfs.accounts.passwords import HashCost, Passwords, Turns
from dfs.base.entropy import new_password
from dfs.base.errors import BadRequest, MetadataCorrupt, Overloaded

CHEAP = HashCost(passes=1, memory_kib=8, lanes=1)
GOOD = "a walrus on a unicycle"


@pytest.mark.parametrize("name", ["ada", "_x", "a", "a.b-c_9", "a" * 32])
def test_name_is_taken(name: str) -> None:
    assert check_name(name, of="user") == name


@pytest.mark.parametrize(
    "name",
    ["", "Ada", "9a", "-a", ".a", "a b", "a/b", "a\n", "ada\n", "ä", "a" * 33, "a#7", "a\0"],
)
def test_name_is_refused_with_the_rule(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(BadRequest, match="not a user name") as refused:
        check_name(name, of="user")
    assert "1 to 32" in refused.value.hint


@pytest.mark.parametrize(
    "password",
    [
        "",
        "tiny pass",
        "elevenchars",
        "x" * 1025,
        "é" * 513,
        "passwordpassword",
        "PasswordPassword",
        "qwertyuiop123",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "ada.lovelace",
        "ada.lovelaceada.lovelace1",
    ],
)
def test_password_is_refused_when_it_would_be_tried_first(password: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_password(password, name="ada.lovelace", length_min=12)
    assert not password or password not in refused.value.message


@pytest.mark.parametrize("password", [GOOD, "x1y2z3a4b5c6", "пароль-из-слов", "é" * 8 + "abcdefgh"])
def test_password_is_taken_when_long_and_uncommon(password: str) -> None:
    check_password(password, name="ada", length_min=12)


def test_one_time_passwords_pass_our_own_rules() -> None:
    for _ in range(200):
        check_password(new_password(), name="admin", length_min=12)


def test_password_length_counts_composed_characters() -> None:
    decomposed = unicodedata.normalize("NFD", "éàüöñçéàüöñ")
    assert len(decomposed) == 22
    with pytest.raises(BadRequest, match="too short"):
        check_password(decomposed, name="ada", length_min=12)


def test_password_matches_its_hash_only() -> None:
    passwords = Passwords(hashes_at_once=2, cost=CHEAP)
    kept = passwords.hash(GOOD)
    assert kept.startswith("$argon2id$")
    assert GOOD not in kept
    assert passwords.matches(kept, GOOD)
    assert not passwords.matches(kept, GOOD + " ")
    assert not passwords.matches(kept, "")


def test_password_matches_however_it_was_composed() -> None:
    passwords = Passwords(hashes_at_once=2, cost=CHEAP)
    kept = passwords.hash(unicodedata.normalize("NFC", "crème brûlée für alle"))
    assert passwords.matches(kept, unicodedata.normalize("NFD", "crème brûlée für alle"))


def test_two_hashes_of_one_password_differ() -> None:
    passwords = Passwords(hashes_at_once=2, cost=CHEAP)
    assert passwords.hash(GOOD) != passwords.hash(GOOD)


def test_nobody_matches_nothing() -> None:
    passwords = Passwords(hashes_at_once=2, cost=CHEAP)
    assert not passwords.matches(None, GOOD)


def test_password_beyond_the_limit_is_not_cut_to_match() -> None:
    passwords = Passwords(hashes_at_once=2, cost=CHEAP)
    longest = "abcdefgh" * 128
    kept = passwords.hash(longest)
    assert passwords.matches(kept, longest)
    assert not passwords.matches(kept, longest + "x")


def test_hash_is_outdated_when_the_cost_rises() -> None:
    kept = Passwords(hashes_at_once=2, cost=CHEAP).hash(GOOD)
    dearer = Passwords(hashes_at_once=2, cost=HashCost(passes=2, memory_kib=16, lanes=1))
    assert dearer.is_outdated(kept)
    assert dearer.matches(kept, GOOD)
    assert not dearer.is_outdated(dearer.hash(GOOD))


def test_unreadable_hash_is_no_wrong_password() -> None:
    with pytest.raises(MetadataCorrupt):
        Passwords(hashes_at_once=2, cost=CHEAP).matches("not a hash", GOOD)


def test_turns_are_bounded_and_who_comes_beyond_is_refused() -> None:
    turns = Turns(at_once=2, waiting_max=3)
    release = threading.Event()
    lock, now, most = threading.Lock(), [0], [0]

    def work() -> None:
        with turns.turn():
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            release.wait(10)
            with lock:
                now[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    while turns.inside < 5:
        release.wait(0.001)
    with pytest.raises(Overloaded), turns.turn():
        pytest.fail("a sixth came in")
    release.set()
    for thread in threads:
        thread.join()
    assert most[0] == 2
    assert turns.inside == 0


def test_turn_is_given_back_when_the_work_fails() -> None:
    turns = Turns(at_once=1, waiting_max=0)
    for _ in range(3):
        with pytest.raises(KeyError), turns.turn():
            raise KeyError
    assert turns.inside == 0
