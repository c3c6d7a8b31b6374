"""Parsing many paths together gives what parsing each alone gives."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from dfs.base import paths
from dfs.base.errors import DfsError
from dfs.namespace.many_paths import ManyPaths

names = st.sampled_from(
    ["a", "bb", "", ".", "..", "ü" * 127, "x" * 255, "y" * 256, "\ud800", "n\0"]
)
parts = st.lists(names, max_size=20)
wild = st.builds(
    lambda some, lead, tail: lead + "/".join(some) + tail,
    parts,
    st.sampled_from(["/", ""]),
    st.sampled_from(["", "/"]),
)
deep = st.integers(120, 135).map(lambda n: "/d" * n)


def outcome(parse: Callable[[str], object], path: str) -> object:
    """What it gives, or the kind of its refusal."""
    try:
        return parse(path)
    except DfsError as exc:
        return type(exc)


def parsed_alone(path: str) -> tuple[tuple[str, ...], str]:
    found = paths.parse(path)
    return (found[:-1], found[-1]) if found else ((), "")


@given(st.lists(wild | deep | st.text(max_size=8), max_size=30))
def test_many_paths_are_parsed_as_each_alone(some: list[str]) -> None:
    together = ManyPaths()
    for path in [*some, *some]:
        assert outcome(together.parse, path) == outcome(parsed_alone, path)
