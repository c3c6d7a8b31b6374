"""Which service of upkeep answers which route; a part of the list in `namenode_app.py`."""

from dfs.upkeep.health_runs import HealthRuns
from dfs.upkeep.scrubbing import Scrubbing
from dfs.upkeep.service import Upkeep
from dfs.web.handlers import Handlers
from dfs.wire import routes


def bind_upkeep(handlers: Handlers, upkeep: Upkeep) -> None:
    """Who answers what."""
    _bind_health(handlers, upkeep.health)
    _bind_scrubbing(handlers, upkeep.scrubbing)


def _bind_health(handlers: Handlers, health: HealthRuns) -> None:
    handlers.call(routes.HEALTH, lambda _asked, body: health.health(body))
    handlers.call(routes.HEALTH_RUNS, lambda _asked, body: health.runs(body))


def _bind_scrubbing(handlers: Handlers, scrubbing: Scrubbing) -> None:
    handlers.call(routes.SCRUB_STATUS, lambda _asked, _body: scrubbing.status())
    handlers.call(routes.SCRUB_START, lambda _asked, body: scrubbing.start(body), once=True)
    handlers.call(routes.SCRUB_PAUSE, lambda _asked, body: scrubbing.pause(body))
    handlers.call(routes.SCRUB_RESUME, lambda _asked, body: scrubbing.resume(body))
