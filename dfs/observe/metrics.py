"""Metrics by prometheus-client, in a registry of each daemon's own.

Names begin with `dfs_` and end in their unit; `docs/operate.md` lists them all (a test compares).
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The registry of one daemon, and the few kinds of metric we use."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
        """Something that only grows."""
        return Counter(name, meaning, labels, registry=self._registry)

    def histogram(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Histogram:
        """How long something takes, in seconds."""
        return Histogram(name, meaning, labels, registry=self._registry, buckets=_SECONDS)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A value read when it is asked for."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
