"""Which service of upkeep answers which route; a part of the list in `namenode_app.py`."""

from dfs.upkeep.balance import Balancer
from dfs.upkeep.compaction import Compactor
from dfs.upkeep.disk_levelling import DiskLevelling
from dfs.upkeep.health_runs import HealthRuns
from dfs.upkeep.repair_desk import RepairDesk
from dfs.upkeep.safety import Safety
from dfs.upkeep.scrubbing import Scrubbing
from dfs.upkeep.service import Upkeep
from dfs.web.handlers import Handlers
from dfs.wire import routes
from dfs.wire.shapes import Done, NameRequest


def bind_upkeep(handlers: Handlers, upkeep: Upkeep) -> None:
    """Who answers what."""
    _bind_safety(handlers, upkeep.safety)
    _bind_health(handlers, upkeep.health)
    _bind_scrubbing(handlers, upkeep.scrubbing)
    _bind_repair(handlers, upkeep.repair_desk)
    _bind_balance(handlers, upkeep.balance, upkeep.disks)
    _bind_compaction(handlers, upkeep.compaction)


def _bind_safety(handlers: Handlers, safety: Safety) -> None:
    handlers.call(routes.SAFETY, lambda _asked, _body: safety.status())
    handlers.call(routes.ENTER_SAFE_MODE, lambda asked, _body: safety.enter(asked.name))
    handlers.call(routes.LEAVE_SAFE_MODE, lambda asked, body: safety.leave(asked.name, body))
    handlers.call(routes.ACCEPT_LOSS, lambda _asked, _body: safety.accept_loss(), once=True)
    handlers.call_anywhere(  # it ends the reign it is asked in, and tells of the next
        routes.ACCEPT_REGRESSION, lambda asked, _body: safety.accept_regression(asked.name)
    )
    handlers.call(routes.SET_DUTY, lambda _asked, body: safety.set_duty(body))
    handlers.call(routes.LEAVING, lambda _asked, body: safety.leaving(body.name))
    handlers.call(routes.TRUST_NODE, lambda _asked, body: _trust(safety, body))


def _trust(safety: Safety, body: NameRequest) -> Done:
    safety.trust(body.name)
    return Done()


def _bind_health(handlers: Handlers, health: HealthRuns) -> None:
    handlers.call(routes.HEALTH, lambda _asked, body: health.health(body))
    handlers.call(routes.HEALTH_RUNS, lambda _asked, body: health.runs(body))


def _bind_scrubbing(handlers: Handlers, scrubbing: Scrubbing) -> None:
    handlers.call(routes.SCRUB_STATUS, lambda _asked, _body: scrubbing.status())
    handlers.call(routes.SCRUB_START, lambda _asked, body: scrubbing.start(body), once=True)
    handlers.call(routes.SCRUB_PAUSE, lambda _asked, body: scrubbing.pause(body))
    handlers.call(routes.SCRUB_RESUME, lambda _asked, body: scrubbing.resume(body))


def _bind_balance(handlers: Handlers, balance: Balancer, disks: DiskLevelling) -> None:
    handlers.call(routes.BALANCE_STATUS, lambda _asked, _body: balance.status())
    handlers.call(routes.BALANCE_PLAN, lambda _asked, body: balance.plan(body))
    handlers.call(
        routes.BALANCE_START, lambda asked, body: balance.start(body, by=asked.name), once=True
    )
    handlers.call(routes.BALANCE_STOP, lambda asked, _body: balance.stop(by=asked.name), once=True)
    handlers.call(routes.BALANCE_DISKS, lambda _asked, body: disks.order(body))


def _bind_compaction(handlers: Handlers, compaction: Compactor) -> None:
    handlers.call(routes.COMPACT_STATUS, lambda _asked, _body: compaction.status())
    handlers.call(
        routes.COMPACT_START, lambda asked, _body: compaction.start(by=asked.name), once=True
    )
    handlers.call(
        routes.COMPACT_STOP, lambda asked, _body: compaction.stop(by=asked.name), once=True
    )


def _bind_repair(handlers: Handlers, desk: RepairDesk) -> None:
    handlers.call(routes.REPAIR_STATUS, lambda _asked, _body: desk.status())
    handlers.call(routes.REPAIR_PAUSE, lambda asked, body: desk.pause(body, actor=asked.name))
    handlers.call(routes.REPAIR_RESUME, lambda asked, _body: desk.resume(actor=asked.name))
    handlers.call(routes.REPAIR_BUDGET, lambda asked, body: desk.budget(body, actor=asked.name))
    handlers.call(
        routes.RESTORE_REPLICA, lambda asked, body: desk.restore(body, actor=asked.name), once=True
    )
