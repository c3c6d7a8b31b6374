"""What one client's transfers share: channels to DataNodes, what is known of them, its leases."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfs.client.api import DfsClient


class DataPlane:
    """Opened when the first bytes move."""

    def __init__(self, client: "DfsClient") -> None:
        self._client = client

    def close(self) -> None:
        """Stop renewing leases and close every channel."""
