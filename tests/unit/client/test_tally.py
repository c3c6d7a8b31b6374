"""What a transfer tells while it goes on, and no longer tells once it was ended from outside."""

from dfs.base.errors import PeerUnreachable
from dfs.client.tally import Tally


def test_failures_after_an_end_from_outside_are_counted_and_not_told(watching) -> None:
    tally = Tally(watching)
    tally.fail("/a", PeerUnreachable("no answer"))
    tally.end()
    tally.fail("/b", PeerUnreachable("cut off by the end itself"))
    assert [path for path, _ in tally.report.failed] == ["/a", "/b"]
    assert [path for path, _, _ in watching.done] == ["/a"]
