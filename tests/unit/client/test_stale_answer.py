"""What a person is told of an answer that no leader gave."""

import pytest

from dfs.client.stale_answer import StaleAnswer


@pytest.mark.parametrize(
    ("records", "silent_s", "behind"),
    [
        (1, 0.25, "1 record and 0.2 s behind"),
        (1_200, 61.0, "1,200 records and 61.0 s behind"),
        (-1, -1.0, "which does not know how far it is behind"),
    ],
)
def test_stale_answer_says_how_far_behind_it_is_where_that_is_known(
    records: int, silent_s: float, behind: str
) -> None:
    said = StaleAnswer("http://b:1", records, silent_s).words()
    assert said == f"answered by a standby (http://b:1), {behind}"
