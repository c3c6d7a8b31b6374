"""The history checker against a search of every order, on histories small enough for that."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.histories import Answer, Operation, Verb
from tests.history_checker import violations

PATH, FOLDER = "/f/n", "/f"
OPERATIONS_MAX = 7
State = str | None  # what a register holds; "" is a name that is there


def explains(order_from: State, left: Sequence[Operation]) -> bool:
    """Whether some order of these, none before one that ended before it began, fits the answers."""
    if not any(one.is_known for one in left):
        return True
    for number, one in enumerate(left):
        if any(other.is_known and other.precedes(one) for other in left):
            continue
        for fits, state in outcomes(order_from, one):
            if fits and explains(state, [*left[:number], *left[number + 1 :]]):
                return True
    return False


def outcomes(state: State, one: Operation) -> list[tuple[bool, State]]:
    """Whether it can be answered like that in this state, and the state after it."""
    there = state is not None
    unknown = one.answer is Answer.UNKNOWN
    match one.verb:
        case Verb.WRITE:
            return [(True, one.value)]
        case Verb.READ:
            return [((one.value if one.answer is Answer.OK else None) == state, state)]
        case Verb.ADD:
            return [(True, "")]
        case Verb.CREATE if one.answer is Answer.EXISTS:
            return [(there, state)]
        case Verb.CREATE:
            return [(not there or unknown, "")]
        case Verb.REMOVE if one.answer is Answer.MISSING:
            return [(not there, state)]
        case Verb.REMOVE:
            return [(there or unknown, None)]
        case _:
            return [(("n" in one.names) == there, state)]


def build(kinds: Sequence[tuple[Verb, Answer, str | None]], times: Sequence[tuple[int, int]]):
    made: list[Operation] = []
    for number, ((verb, answer, value), (begin, lasts)) in enumerate(
        zip(kinds, times, strict=True)
    ):
        lists = verb is Verb.LIST
        made.append(
            Operation(
                client=number,
                verb=verb,
                path=FOLDER if lists else PATH,
                begin_s=begin,
                end_s=None if answer is Answer.UNKNOWN else begin + lasts,
                answer=answer,
                value=str(number) if verb is Verb.WRITE else None if lists else value,
                names=frozenset({"n"} if lists and value else ()),
            )
        )
    return made


def histories(of: list[tuple[Verb, Answer, str | None]]) -> st.SearchStrategy[list[Operation]]:
    time = st.tuples(st.integers(0, 12), st.integers(0, 5))
    each = st.tuples(st.sampled_from(of), time)
    return st.lists(each, max_size=OPERATIONS_MAX).map(
        lambda some: build([kind for kind, _ in some], [when for _, when in some])
    )


REGISTER = [(Verb.WRITE, Answer.OK, None), (Verb.WRITE, Answer.UNKNOWN, None)]
REGISTER += [(Verb.READ, Answer.MISSING, None)]
REGISTER += [(Verb.READ, Answer.OK, str(number)) for number in range(4)]
PRESENCE = [
    (verb, answer, None)
    for verb in (Verb.CREATE, Verb.REMOVE, Verb.ADD)
    for answer in (Answer.OK, Answer.UNKNOWN)
]
PRESENCE += [(Verb.CREATE, Answer.EXISTS, None), (Verb.REMOVE, Answer.MISSING, None)]
PRESENCE += [(Verb.LIST, Answer.OK, None), (Verb.LIST, Answer.OK, "n")]


@settings(max_examples=400)
@given(histories(REGISTER))
def test_a_register_is_refused_exactly_when_no_order_of_its_operations_fits(
    history: list[Operation],
) -> None:
    assert (violations(history) == []) == explains(None, history)


@settings(max_examples=400)
@given(histories(PRESENCE))
def test_a_name_is_refused_exactly_when_no_order_of_its_operations_fits(
    history: list[Operation],
) -> None:
    assert (violations(history) == []) == explains(None, history)


@settings(max_examples=200)
@given(histories(REGISTER))
def test_the_operations_that_prove_a_bad_register_have_no_order_themselves(
    history: list[Operation],
) -> None:
    for violation in violations(history):
        assert len(violation.evidence) <= 4
        written = {one.value for one in violation.evidence if one.verb is Verb.WRITE}
        needed = [
            one
            for one in history
            if one.verb is Verb.WRITE
            and one.value not in written
            and one.value in {read.value for read in violation.evidence}
        ]
        assert not explains(None, [*violation.evidence, *needed])


@settings(max_examples=200)
@given(histories(PRESENCE))
def test_the_operations_that_prove_a_bad_name_have_no_order_themselves(
    history: list[Operation],
) -> None:
    for violation in violations(history):
        last = violation.evidence[-1]
        assert not explains(None, [as_known_at(last.done_s, one) for one in violation.evidence])


def as_known_at(moment_s: float, one: Operation) -> Operation:
    """As an operation looked when another one was answered."""
    if one.done_s <= moment_s:
        return one
    return replace(one, answer=Answer.UNKNOWN, end_s=None)
