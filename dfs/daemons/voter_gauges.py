"""What `/metrics` shows of a DataNode's voter and of the letters that go through it."""

from typing import Protocol

from dfs.failover.gauges import add_letter_gauges
from dfs.failover.post_office import PostState
from dfs.observe.metrics import Metrics


class VoterShown(Protocol):
    """Where the numbers come from."""

    @property
    def promised(self) -> int:
        """The epoch it promised; 0 for none."""
        ...

    def state(self) -> PostState | None:
        """What went through the post office; None while nobody is known."""
        ...


def add_voter_gauges(metrics: Metrics, voter: VoterShown) -> None:
    """Show them; all are 0 while the daemon was told of nobody to write to."""
    metrics.gauge("dfs_voter_promised_epoch", "Epoch its voter promised", lambda: voter.promised)
    add_letter_gauges(metrics, voter.state)
