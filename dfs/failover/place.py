"""Pure: who and where a NameNode is, as the rest of failover is told when it is built."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Who and where this NameNode is.

    Attributes:
        voter: the uuid of the voter in its process.
        times_s: its times of failover.
    """

    name: str
    cluster: str
    url: str
    machine: str
    voter: str
    preferred: str
    times_s: dict[str, float]
