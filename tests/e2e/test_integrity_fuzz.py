"""A seeded storm of faults over writers, copies and disks, and a cluster that becomes whole again.

`FUZZ_SEED` chooses the storm; a seed gives the order of faults and not their instants.
"""

import os
from pathlib import Path

import pytest

from tests.cluster_rig import running_cluster
from tests.e2e.fuzz_rig import FUZZ_SETTINGS, Plan, weather

# What a full report at last says is not to be hidden by one every four seconds.
RARE_REPORTS = {"stock_full_s": "6h", "purge_keep_s": "1s"}
QUICK_DOUBT = {"doubt_percent": "1", "doubt_blocks": "10"}


def _seed() -> str:
    seed = os.environ.get("FUZZ_SEED", "") or str(int.from_bytes(os.urandom(4), "big"))
    print(f"FUZZ_SEED={seed}", flush=True)
    return seed


def _blow(folder: Path, plan: Plan, **settings: str) -> None:
    changed = FUZZ_SETTINGS | settings
    with running_cluster(folder / "c", datanodes=plan.datanodes, **changed) as cluster:
        wrong = weather(cluster, plan)
        if wrong:
            pytest.fail(f"FUZZ_SEED={plan.seed}: {wrong[:5]}\n{cluster.last_words()}")


@pytest.mark.timeout(180)
def test_cluster_is_whole_after_a_short_storm(tmp_path: Path) -> None:
    _blow(tmp_path, Plan(seed=_seed(), datanodes=4, writers=1, blow_s=6, calm_s=90, pause_s=0.6))


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("settings", [{}, RARE_REPORTS, QUICK_DOUBT])
@pytest.mark.parametrize("round_", range(3))
def test_cluster_is_whole_after_a_long_storm(
    tmp_path: Path, settings: dict[str, str], round_: int
) -> None:
    plan = Plan(
        seed=f"{_seed()} {round_}",
        datanodes=5,
        writers=2,
        blow_s=120,
        calm_s=180,
        strays_stay=settings is RARE_REPORTS,
    )
    _blow(tmp_path, plan, **settings)
