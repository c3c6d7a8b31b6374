"""Letters of every kind, as hypothesis makes them."""

from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from dfs.ha.messages import Body, JournalRecord, Letter
from dfs.ha.rows import Hint, Position, SyncConfig, VoterSet

NAMES = st.text(max_size=8)
NUMBERS = st.integers(0, 2**63 - 1)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: NUMBERS,
    str: NAMES,
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    tuple[int, int]: st.tuples(NUMBERS, NUMBERS),
    tuple[str, ...]: st.lists(NAMES, max_size=4).map(tuple),
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a struct of ours, or of what its fields are made of."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == tuple[JournalRecord, ...]:
        return st.lists(of(JournalRecord), max_size=3).map(tuple)
    assert kind in KINDS or kind in (Hint, JournalRecord, Position, SyncConfig, VoterSet), kind
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: of(field.type) for field in fields})


KINDS = get_args(Body)
LETTERS = st.builds(Letter, NAMES, NAMES, NAMES, st.one_of([of(kind) for kind in KINDS]))
