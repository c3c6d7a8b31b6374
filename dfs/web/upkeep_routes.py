"""Which service of upkeep answers which route; a part of the list in `namenode_app.py`."""

from dfs.upkeep.service import Upkeep
from dfs.web.handlers import Handlers


def bind_upkeep(handlers: Handlers, upkeep: Upkeep) -> None:
    """Who answers what."""
    del handlers, upkeep
