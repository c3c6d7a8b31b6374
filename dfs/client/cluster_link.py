"""What every transfer of one client works with: names from the NameNodes, bytes from the DataNodes.

Made with the client and light; the way to the DataNodes is opened when the first bytes move, as
gRPC takes longer to load than most commands take to run.
"""

from typing import TYPE_CHECKING

from dfs.base.clock import Clock
from dfs.base.entropy import Random
from dfs.client.namenode_link import NamenodeLink
from dfs.client.names import NamespaceCalls
from dfs.settings.sections import ClientConfig, Config

if TYPE_CHECKING:
    from dfs.client.data_plane import DataPlane


class ClusterLink:
    """The cluster as a transfer reaches it.  Safe to share between threads."""

    def __init__(self, names: NamespaceCalls, *, config: Config, clock: Clock, rng: Random) -> None:
        self.names = names
        self._config = config
        self._clock = clock
        self._rng = rng
        self._plane: DataPlane | None = None

    @property
    def link(self) -> NamenodeLink:
        """The way to the NameNodes."""
        return self.names.link

    @property
    def settings(self) -> ClientConfig:
        """How this client moves bytes."""
        return self._config.client

    @property
    def plane(self) -> "DataPlane":
        """The way to the DataNodes, opened when first needed."""
        if self._plane is None:
            from dfs.client.data_plane import DataPlane  # noqa: PLC0415 - start-up time

            self._plane = DataPlane(
                self.names, config=self._config, clock=self._clock, rng=self._rng
            )
        return self._plane

    def drop_plane(self) -> None:
        """End every transfer under way; the next one begins with fresh connections."""
        plane, self._plane = self._plane, None
        if plane is not None:
            plane.close()
