"""To which NameNodes a DataNode beats: the table."""

import pytest

from dfs.base.errors import NotLeader
from dfs.nodes.namenode_urls import taught_by, wanted
from dfs.wire.leading import NAMENODES_MAX, base_urls, lead_of

A, B, C, ALIAS = "http://a:1", "http://b:1", "http://c:1", "http://alias:1"


def test_addresses_are_those_that_can_be_asked_each_once() -> None:
    said = [A, f"{A}/", "", None, 7, "file:///x", "http://h/path", B]
    assert base_urls(said) == (A, "http://h/path", B)
    assert len(base_urls([f"http://h:{port}" for port in range(1, 99)])) == NAMENODES_MAX


@pytest.mark.parametrize(
    ("details", "leader", "named"),
    [
        ({"leader": A, "namenodes": [B, A]}, A, (B, A)),
        ({"leader": "", "namenodes": [B]}, "", (B,)),
        ({}, "", ()),
        ({"leader": 7, "namenodes": "http://a:1"}, "", ()),
    ],
)
def test_refusal_names_the_leader_and_the_others(
    details: dict[str, object], leader: str, named: tuple[str, ...]
) -> None:
    refusal = NotLeader("not here", details=details)
    assert lead_of(refusal) == (leader, named)


@pytest.mark.parametrize(
    ("giver", "urls", "before", "after"),
    [
        (A, [], (B, C), (B, C)),
        (A, [A, B], (), (A, B)),
        (A, [B, C], (A, B), (B, C)),
        (A, [ALIAS], (B, C), ()),
        (B, [ALIAS], (B, C), (B,)),
        (A, ["nonsense"], (B, C), (B, C)),
    ],
)
def test_leader_teaches_which_namenodes_there_are(
    giver: str, urls: list[str], before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert taught_by(giver, urls, configured=(A,), before=before) == after


@pytest.mark.parametrize(
    ("told", "leading", "urls"),
    [
        ((), (), (A, B)),
        ((B, C), (), (A, B, C)),
        ((B, C), (A,), (A, B, C)),
        ((B, C), (C,), (B, C)),
        ((B, C), (A, C), (B, C)),
        ((C,), (C,), (A, B, C)),
    ],
)
def test_configured_address_rests_only_while_the_leader_is_heard_at_one_that_it_names(
    told: tuple[str, ...], leading: tuple[str, ...], urls: tuple[str, ...]
) -> None:
    assert wanted((A, B), told, leading=leading) == urls
