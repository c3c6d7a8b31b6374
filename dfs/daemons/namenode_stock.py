"""The NameNode's jobs about copies on DataNodes: what they hold, doubt, and may put away."""

from dataclasses import dataclass
from typing import Final

from dfs.blocks.acknowledged import Acknowledgements
from dfs.blocks.bad_copies import BadCopies
from dfs.blocks.gc import GarbageCollector
from dfs.blocks.intake import StockIntake
from dfs.blocks.judging import Bench
from dfs.blocks.second_looks import SecondLooks
from dfs.blocks.stray_collector import StrayCollector
from dfs.daemons.schedule import Schedule
from dfs.nodes.presence import Presence
from dfs.settings.sections import Config

ASK_AGAIN_S: Final = 10.0
STRAYS_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StockKeeping:
    """The services behind those jobs."""

    acknowledged: Acknowledgements
    gc: GarbageCollector
    strays: StrayCollector
    looks: SecondLooks
    bad: BadCopies


def build_stock_keeping(bench: Bench, *, presence: Presence, config: Config) -> StockKeeping:
    """All of them, around the same judgement of nodes and the same caution."""
    return StockKeeping(
        acknowledged=Acknowledgements(bench.writer, answers=presence, emit=bench.emit),
        gc=GarbageCollector(
            bench.writer,
            bench.reader,
            stock=presence,
            orders=bench.orders,
            why_no_deletes=bench.why_no_deletes,
            clock=bench.clock,
        ),
        strays=StrayCollector(bench, keep_s=config.repair.stray_keep_s),
        looks=SecondLooks(bench),
        bad=BadCopies(bench),
    )


def add_stock_jobs(
    schedule: Schedule, keeping: StockKeeping, intake: StockIntake, *, config: Config
) -> None:
    """Run them; what nodes answered is heard as often as they can answer."""
    gc_s = config.namenode.gc_interval_s
    heard_s = config.liveness.heartbeat_interval_s
    schedule.every("acknowledged", min(gc_s, heard_s), keeping.acknowledged.run_once)
    schedule.every("gc", gc_s, keeping.gc.run_once)
    schedule.every("strays", min(STRAYS_S, gc_s * 6), keeping.strays.run_once)
    schedule.every("suspects", config.repair.interval_s, keeping.looks.run_once)
    schedule.every("quarantine", gc_s, keeping.bad.run_once)
    schedule.every("stock", min(ASK_AGAIN_S, gc_s), intake.ask_again_once)
