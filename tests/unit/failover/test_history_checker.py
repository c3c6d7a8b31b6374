"""Histories of an atomic service are found right; one changed answer is found, and named."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

import pytest
from msgspec.structs import replace

from tests.histories import Answer, Operation, Verb, from_lines, to_line
from tests.history_checker import violations
from tests.history_violations import Kind

CLIENTS = 8
Change = Callable[[list[Operation], Random], list[Operation]]


# --- an atomic service ----------------------------------------------------------------------------


class Service:
    """Each operation takes effect at one moment, somewhere between question and answer.

    Some are not answered: those take effect much later, or never.
    """

    def __init__(self, seed: int, *, unanswered: float = 0.1) -> None:
        self.rng = Random(seed)
        self._unanswered = unanswered
        self._values: dict[str, str] = {}
        self._names: dict[str, set[str]] = defaultdict(set)

    def history(
        self, count: int, ask: Callable[[Random, int], tuple[Verb, str]]
    ) -> list[Operation]:
        """What the clients were told in answer to `ask(chance, number)`."""
        rng = self.rng
        plans: list[tuple[float, Operation]] = []
        free_s = [rng.random() for _ in range(CLIENTS)]
        for number in range(count):
            client = free_s.index(min(free_s))
            verb, path = ask(rng, number)
            begin = free_s[client]
            effect = begin + rng.expovariate(10)
            end = effect + rng.expovariate(10)
            free_s[client] = end + rng.expovariate(5)
            asked = Operation(
                client=client,
                verb=verb,
                path=path,
                begin_s=begin,
                end_s=end,
                value=str(number) if verb is Verb.WRITE else None,
            )
            if verb not in (Verb.READ, Verb.LIST) and rng.random() < self._unanswered:
                asked = replace(asked, answer=Answer.UNKNOWN, end_s=None)
                effect = rng.choice([effect, effect + rng.expovariate(0.1), float("inf")])
            plans.append((effect, asked))
        plans.sort(key=lambda plan: plan[0])
        return [self._do(asked, happens=effect < float("inf")) for effect, asked in plans]

    def _do(self, asked: Operation, *, happens: bool) -> Operation:
        if not happens:
            return asked
        folder, _, name = asked.path.rpartition("/")
        names = self._names[folder]
        told = Answer.OK
        match asked.verb:
            case Verb.WRITE:
                assert asked.value is not None
                self._values[asked.path] = asked.value
            case Verb.READ:
                value = self._values.get(asked.path)
                return replace(asked, value=value, answer=Answer.MISSING if value is None else told)
            case Verb.LIST:
                return replace(asked, names=frozenset(self._names[asked.path]))
            case Verb.CREATE if name in names:
                told = Answer.EXISTS
            case Verb.CREATE | Verb.ADD:
                names.add(name)
            case Verb.REMOVE:
                told = Answer.OK if name in names else Answer.MISSING
                names.discard(name)
        return asked if asked.answer is Answer.UNKNOWN else replace(asked, answer=told)


def reading_and_writing(rng: Random, _number: int) -> tuple[Verb, str]:
    return rng.choice([Verb.WRITE, Verb.READ, Verb.READ]), f"/r/{rng.randrange(3)}"


def creating(rng: Random, _number: int) -> tuple[Verb, str]:
    return rng.choice([Verb.CREATE, Verb.CREATE, Verb.REMOVE]), f"/c/{rng.randrange(5)}"


def filling_a_folder(rng: Random, number: int) -> tuple[Verb, str]:
    verb = rng.choice([Verb.ADD, Verb.ADD, Verb.LIST, Verb.LIST, Verb.REMOVE])
    names = {Verb.LIST: "/d", Verb.ADD: f"/d/{number}"}
    return verb, names.get(verb, f"/d/{rng.randrange(number + 1)}")


ASKING = (reading_and_writing, creating, filling_a_folder)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ask", ASKING)
def test_a_history_of_an_atomic_service_is_right(ask: Callable, seed: int) -> None:
    assert violations(Service(seed).history(250, ask)) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ask", ASKING)
def test_a_history_of_an_atomic_service_with_hardly_an_answer_is_right(
    ask: Callable, seed: int
) -> None:
    assert violations(Service(seed, unanswered=0.8).history(250, ask)) == []


@pytest.mark.parametrize(
    ("count", "ask"),
    [
        (12_000, lambda rng, _number: (rng.choice([Verb.WRITE, Verb.READ]), "/r")),
        (12_000, lambda rng, _number: (rng.choice([Verb.CREATE, Verb.REMOVE]), "/c/1")),
        (1_500, filling_a_folder),
    ],
    ids=["a register", "a name", "a folder"],
)
def test_a_long_history_is_judged_in_seconds(count: int, ask: Callable) -> None:
    history = Service(1).history(count, ask)
    begun = time.process_time()
    assert violations(history) == []
    assert time.process_time() - begun < 20


# --- one answer changed ---------------------------------------------------------------------------


def before(history: Sequence[Operation], one: Operation, *verbs: Verb) -> list[Operation]:
    """Answered operations of its path that ended before it began, the latest last."""
    some = [
        other
        for other in history
        if other.path == one.path
        and other.verb in verbs
        and other.answer is Answer.OK
        and other.precedes(one)
    ]
    return sorted(some, key=lambda other: other.done_s)


def change(history: list[Operation], one: Operation, **values: object) -> list[Operation]:
    """That history, with another answer in one place."""
    return [replace(each, **values) if each is one else each for each in history]


def read_an_old_value(history: list[Operation], rng: Random) -> list[Operation]:
    """A read after two writes, one after the other, gives the first; others saw the second."""
    seen = {one.value for one in history if one.verb is Verb.READ}
    found = []
    for read in (one for one in history if one.verb is Verb.READ):
        writes = before(history, read, Verb.WRITE)
        found += [
            (read, old)
            for new in writes[-1:]
            for old in before(history, new, Verb.WRITE)
            if new.value in seen and new.value != read.value
        ]
    read, old = rng.choice(found)
    return change(history, read, value=old.value, answer=Answer.OK)


def lose_a_write(history: list[Operation], rng: Random) -> list[Operation]:
    """All who read what was acknowledged read what was there before, from then on."""
    found = []
    for new in (one for one in history if one.verb is Verb.WRITE and one.is_known):
        older = before(history, new, Verb.WRITE)
        readers = [one for one in history if one.verb is Verb.READ and one.value == new.value]
        if older and any(new.precedes(one) for one in readers):
            found.append((older[-1], readers))
    old, readers = rng.choice(found)
    ids = {id(one) for one in readers}
    return [replace(one, value=old.value) if id(one) in ids else one for one in history]


def create_twice(history: list[Operation], rng: Random) -> list[Operation]:
    """A create that was told `exists` is told that it made it."""
    found = [
        one
        for one in history
        if one.answer is Answer.EXISTS
        and before(history, one, Verb.CREATE)
        and not may_be_removed(history, before(history, one, Verb.CREATE)[-1], one)
    ]
    return change(history, rng.choice(found), answer=Answer.OK)


def may_be_removed(history: Sequence[Operation], made: Operation, until: Operation) -> bool:
    """Whether a removal may have come between the two."""
    return any(
        one.path == made.path
        and one.verb is Verb.REMOVE
        and not one.precedes(made)
        and not until.precedes(one)
        for one in history
    )


def name_of(one: Operation) -> str:
    return one.path.rpartition("/")[2]


def lose_a_name(history: list[Operation], rng: Random) -> list[Operation]:
    """A listing leaves out what was added before it, and not removed."""
    found = [
        (listing, name_of(added))
        for listing in history
        if listing.verb is Verb.LIST
        for added in history
        if added.verb is Verb.ADD
        and added.precedes(listing)
        and not may_be_removed(history, added, listing)
    ]
    listing, name = rng.choice(found)
    return change(history, listing, names=listing.names - {name})


def resurrect_a_name(history: list[Operation], rng: Random) -> list[Operation]:
    """A listing shows what was removed before it, and is added by nobody after that."""
    found = [
        (listing, name_of(removed))
        for listing in history
        if listing.verb is Verb.LIST
        for removed in history
        if removed.verb is Verb.REMOVE
        and removed.answer is Answer.OK
        and removed.precedes(listing)
        and any(
            one.path == removed.path and one.verb is Verb.ADD and one.precedes(removed)
            for one in history
        )
    ]
    listing, name = rng.choice(found)
    return change(history, listing, names=listing.names | {name})


def show_what_nobody_added(history: list[Operation], rng: Random) -> list[Operation]:
    listing = rng.choice([one for one in history if one.verb is Verb.LIST])
    return change(history, listing, names=listing.names | {"nobody's"})


def show_what_is_added_later(history: list[Operation], rng: Random) -> list[Operation]:
    found = [
        (listing, name_of(added))
        for listing in history
        if listing.verb is Verb.LIST
        for added in history
        if added.verb is Verb.ADD and listing.precedes(added)
    ]
    listing, name = rng.choice(found)
    return change(history, listing, names=listing.names | {name})


def read_what_nobody_wrote(history: list[Operation], rng: Random) -> list[Operation]:
    read = rng.choice([one for one in history if one.verb is Verb.READ])
    return change(history, read, value="nobody's", answer=Answer.OK)


def refuse_what_was_read(history: list[Operation], rng: Random) -> list[Operation]:
    """A write that somebody read is told to have been refused for certain."""
    seen = {one.value for one in history if one.verb is Verb.READ}
    found = [one for one in history if one.verb is Verb.WRITE and one.is_known]
    write = rng.choice([one for one in found if one.value in seen])
    return change(history, write, answer=Answer.REFUSED)


def exists_before_anybody_made_it(history: list[Operation], _rng: Random) -> list[Operation]:
    first = min(one.begin_s for one in history)
    early = Operation(client=0, verb=Verb.CREATE, path="/c/1", begin_s=first - 2, end_s=first - 1)
    return [replace(early, answer=Answer.EXISTS), *history]


CHANGES = [
    (reading_and_writing, read_an_old_value, Kind.STALE_READ),
    (reading_and_writing, lose_a_write, Kind.LOST_WRITE),
    (reading_and_writing, read_what_nobody_wrote, Kind.PHANTOM),
    (reading_and_writing, refuse_what_was_read, Kind.PHANTOM),
    (creating, create_twice, Kind.DOUBLE_CREATE),
    (creating, exists_before_anybody_made_it, Kind.PHANTOM),
    (filling_a_folder, lose_a_name, Kind.LOST_NAME),
    (filling_a_folder, resurrect_a_name, Kind.RESURRECTED),
    (filling_a_folder, show_what_nobody_added, Kind.PHANTOM),
    (filling_a_folder, show_what_is_added_later, Kind.PHANTOM),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ask", "spoil", "kind"), CHANGES, ids=lambda each: getattr(each, "__name__", each)
)
def test_one_wrong_answer_is_found_and_proven_by_few_operations(
    ask: Callable, spoil: Change, kind: Kind, seed: int
) -> None:
    history = spoil(Service(seed, unanswered=0.05).history(300, ask), Random(seed))
    found = violations(history)
    assert kind in {each.kind for each in found}, found
    assert all(1 <= len(each.evidence) <= 12 for each in found)
    assert all(set(each.evidence) <= set(history) for each in found)


# --- by hand --------------------------------------------------------------------------------------


def told(
    verb: Verb,
    path: str,
    begin: float,
    end: float | None,
    answer: Answer = Answer.OK,
    **more: object,
) -> Operation:
    if end is None:
        answer = Answer.UNKNOWN
    return Operation(
        client=1, verb=verb, path=path, begin_s=begin, end_s=end, answer=answer, **more
    )


def kinds(*history: Operation) -> list[Kind]:
    return [each.kind for each in violations(history)]


def test_what_was_not_answered_may_take_effect_after_later_operations() -> None:
    late = told(Verb.WRITE, "/r", 0, None, value="late")
    write = told(Verb.WRITE, "/r", 1, 2, value="b")
    reads = [
        told(Verb.READ, "/r", at, at + 0.5, value=value) for at, value in [(3, "b"), (4, "late")]
    ]
    assert kinds(late, write, *reads) == []
    again = told(Verb.READ, "/r", 5, 6, value="b")
    assert kinds(late, write, *reads, again) == [Kind.STALE_READ]


def test_what_was_not_answered_takes_effect_once_at_most() -> None:
    path = "/c/n"
    history = [told(Verb.CREATE, path, 0, None)]
    for at in (1, 3):
        history.append(told(Verb.CREATE, path, at, at + 0.5, Answer.EXISTS))
        history.append(told(Verb.REMOVE, path, at + 1, at + 1.5))
    assert kinds(*history[:3]) == []
    assert kinds(*history) == [Kind.RESURRECTED]


def test_a_name_that_a_listing_saw_stays_though_nobody_acknowledged_it() -> None:
    added = told(Verb.ADD, "/d/n", 0, None)
    seen = told(Verb.LIST, "/d", 1, 2, names=frozenset({"n"}))
    gone = told(Verb.LIST, "/d", 3, 4)
    assert kinds(added, gone) == []
    assert kinds(added, seen, gone) == [Kind.LOST_NAME]


def test_listings_of_the_root_see_names_in_it() -> None:
    listing = told(Verb.LIST, "/", 2, 3)
    assert kinds(told(Verb.ADD, "/n", 0, 1), listing) == [Kind.LOST_NAME]


def test_removing_twice_what_was_made_once_is_told() -> None:
    removals = [told(Verb.REMOVE, "/c/n", at, at + 0.5) for at in (2, 3)]
    assert kinds(told(Verb.CREATE, "/c/n", 0, 1), *removals) == [Kind.DOUBLE_REMOVE]


def test_a_violation_says_in_words_what_happened_and_who_was_told() -> None:
    history = [
        told(Verb.WRITE, "/r", 0, 1, value="a"),
        told(Verb.WRITE, "/r", 2, 3, value="b"),
        told(Verb.READ, "/r", 4, 5, value="a"),
    ]
    (found,) = violations(history)
    assert str(found).splitlines() == [
        "lost write: /r: a was read after b, which came later, was acknowledged",
        "    [0.000000 .. 1.000000] client 1: write /r := a -> ok",
        "    [2.000000 .. 3.000000] client 1: write /r := b -> ok",
        "    [4.000000 .. 5.000000] client 1: read /r -> a",
    ]


@pytest.mark.parametrize(
    "history",
    [
        [told(Verb.WRITE, "/r", 0, 1, value="a"), told(Verb.WRITE, "/r", 2, 3, value="a")],
        [told(Verb.WRITE, "/r", 0, 1, value="a"), told(Verb.CREATE, "/r", 2, 3)],
        [told(Verb.REMOVE, "/r", 0, 1, Answer.EXISTS)],
    ],
    ids=["a value twice", "a path of both kinds", "an answer to another question"],
)
def test_a_history_that_proves_nothing_is_refused(history: list[Operation]) -> None:
    with pytest.raises(ValueError, match="/r"):
        violations(history)


@pytest.mark.parametrize("ask", ASKING)
def test_a_history_comes_back_from_its_lines_as_it_was(ask: Callable) -> None:
    history = Service(3).history(50, ask)
    assert from_lines(map(to_line, history)) == history


def test_lines_of_a_client_that_was_killed_leave_unknown_what_was_under_way() -> None:
    begun = [told(Verb.WRITE, "/r", at, None, value=str(at)) for at in (0, 1, 2)]
    done = told(Verb.WRITE, "/r", 0, 0.5, value="0")
    *whole, cut = map(to_line, [begun[0], done, begun[1], begun[2]])
    assert from_lines([*whole, cut[:-5]]) == [done, begun[1]]
