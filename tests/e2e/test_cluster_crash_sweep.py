"""A cluster of which any process dies at any of its crash points keeps its promises, by itself.

A golden run of the story counts the points; then the story is told once for each, with one process
that ends there as by a power switch and is started again.  Chosen points belong to every test run,
every hit of every point to the long one.
"""

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from dfs.base.crashpoint import CRASH_EXIT_CODE
from dfs.base.errors import DfsError
from tests.cluster_rig import RigCluster, running_cluster
from tests.e2e.sweep_rig import CLIENT, Case, Sweep, cases, named_points, report

NAMENODE, DATANODE = "nn-1", "dn-1"
# Between any two of these lies an effect that others see.
TURNING_POINTS = {
    CLIENT: ("client.block.acknowledged", "client.pack.written"),
    DATANODE: ("dn.block.linked", "dn.delete.renamed"),
    NAMENODE: ("nn.complete.applied", "nn.packs.committed", "nn.gc.ordered"),
}
# Where a client takes no shorter way: its own steps, and a DataNode as the first of a pipeline.
OVER_THE_NETWORK = {
    CLIENT: ("client.piece.sent", "client.block.acknowledged"),
    DATANODE: ("dn.upload.stored", "dn.pipeline.answered", "dn.upload.answering"),
}
LATE_HIT = 4
# How often timers, not the story, take a process past a point differs from run to run.
HITS_MAX = 60
# Visited by other sweeps, where the process is made to do what no client's story does.
FIRST_START_OF_A_DATANODE = (
    "dn.format.buckets",
    "dn.format.card",
    "dn.format.done",
    "dn.identity.begun",
    "dn.identity.dirsynced",
    "dn.identity.renamed",
    "dn.identity.written",
    "dn.joined",
)
ADMISSION_OF_A_DATANODE = "nn.node.joined"
ELSEWHERE = {
    "client.tree.marked": "tests/unit/client/test_put_resume.py",
    "dn.copy.answering": "tests/e2e/test_repair_crashes.py",
    "dn.copy.stored": "tests/e2e/test_repair_crashes.py",
    "dn.delete.answering": "deletions are ordered in beats; the call is for by-hand use",
    "dn.level.copied": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.pipeline.answered": "the sweep over the network, below",
    "dn.purge.committed": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.quarantine.committed": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.quarantine.dirsynced": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.quarantine.renamed": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.restore.committed": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.scrub.marked": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.scrub.proved": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.recovery.bucket": "tests/unit/blockstore/test_crash_sweep.py",
    "dn.walk.taken": "tests/unit/blockstore/test_crash_sweep.py",
    "nn.balance.copied": "tests/e2e/test_rebalance.py",
    "nn.canary.begun": "tests/unit/upkeep/test_canary_service.py",
    "nn.canary.kept": "tests/unit/upkeep/test_canary_service.py",
    "nn.canary.spoiled": "tests/unit/upkeep/test_canary_service.py",
    "nn.canary.written": "tests/unit/upkeep/test_canary_service.py",
    "nn.compact.begun": "tests/e2e/test_compaction.py",
    "nn.compact.committed": "tests/e2e/test_compaction.py",
    "nn.compact.read": "tests/e2e/test_compaction.py",
    "nn.compact.repointed": "tests/e2e/test_compaction.py",
    "nn.compact.written": "tests/e2e/test_compaction.py",
    "nn.copy.counted": "tests/e2e/test_repair_crashes.py",
    "nn.copy.received": "tests/e2e/test_repair_crashes.py",
    "nn.ha.apply.after": "tests/unit/failover/test_journal_store.py",
    "nn.ha.apply.before": "tests/unit/failover/test_journal_store.py",
    "nn.ha.joined": "tests/integration/test_namenode_joining.py",
    "nn.ha.told": "tests/integration/test_namenode_joining.py",
    "nn.ha.member.acting": "tests/unit/failover/test_promises_kept.py",
    "nn.ha.member.answering": "tests/unit/failover/test_promises_kept.py",
    "nn.ha.row.kept": "tests/unit/failover/test_row_file.py",
    "nn.ha.row.renamed": "tests/unit/failover/test_row_file.py",
    "nn.ha.row.synced": "tests/unit/failover/test_row_file.py",
    "nn.ha.row.written": "tests/unit/failover/test_row_file.py",
    "nn.ha.snapshot.aside": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.copying": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.fetched": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.folded": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.installed": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.made": "tests/unit/failover/test_journal_store.py",
    "nn.ha.snapshot.renamed": "tests/unit/failover/test_journal_store.py",
    "nn.ha.voter.answering": "tests/unit/failover/test_promises_kept.py",
    "nn.replica.retiring": "tests/e2e/test_repair_crashes.py",
    "nn.init.created": "tests/integration/test_namenode_process.py",
    "nn.init.tables": "tests/integration/test_namenode_process.py",
    "nn.password.kept": "tests/integration/test_namenode_process.py",
    "nn.node.removed": "an administrator's act: one transaction, then memory only",
    "nn.upgrade.backed_up": "tests/test_migrations.py",
    "nn.upgrade.committed": "tests/test_migrations.py",
}


@pytest.mark.timeout(600)
def test_cluster_keeps_its_promises_when_a_process_dies_at_a_turning_point(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", datanodes=2) as cluster:
        sweep = Sweep(cluster)
        for process, points in TURNING_POINTS.items():
            hits = sweep.golden(process)
            assert _named_and_not_passed(process, sweep) <= set(ELSEWHERE), "sweep it or say where"
            sweep.run([_late(process, point, hits) for point in points])
        assert sweep.broken == [], report(sweep)
        assert sweep.reached == {*chain(*TURNING_POINTS.values())}, sweep.missed
        sweep.finish()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_cluster_keeps_its_promises_when_a_process_dies_in_a_pipeline(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", datanodes=2, local_transfers="off") as cluster:
        sweep = Sweep(cluster)
        for process, points in OVER_THE_NETWORK.items():
            hits = sweep.golden(process)
            sweep.run([_late(process, point, hits) for point in points])
        assert sweep.broken == [], report(sweep)
        assert sweep.reached == {*chain(*OVER_THE_NETWORK.values())}, sweep.missed
        sweep.finish()


def _named_and_not_passed(process: str, sweep: Sweep) -> set[str]:
    """Points of the source that the story does not take such a process past."""
    of_process = {CLIENT: "client.", DATANODE: "dn.", NAMENODE: "nn."}[process]
    joining = {*FIRST_START_OF_A_DATANODE, ADMISSION_OF_A_DATANODE}
    return {p for p in named_points() - sweep.passed - joining if p.startswith(of_process)}


def _late(process: str, point: str, hits: Counter[str]) -> Case:
    """Late in the story, yet reached when there is less to clear away than in the golden run."""
    assert hits[point] > 0, f"the story no longer passes {point}"
    return Case(process, point, min(LATE_HIT, max(1, hits[point] - 1)))


@pytest.mark.faults
@pytest.mark.parametrize(
    ("process", "local_transfers"),
    [(CLIENT, "on"), (CLIENT, "off"), (DATANODE, "on"), (DATANODE, "off"), (NAMENODE, "on")],
)
@pytest.mark.timeout(5400)
def test_cluster_keeps_its_promises_when_a_process_dies_at_any_hit_of_any_point(
    process: str, local_transfers: str, tmp_path: Path
) -> None:
    changed = {"local_transfers": local_transfers}
    with running_cluster(tmp_path / "cluster", datanodes=2, **changed) as cluster:
        sweep = Sweep(cluster)
        hits = sweep.golden(process)
        sweep.run(case for case in cases(process, hits, every=True) if case.hit <= HITS_MAX)
        assert sweep.broken == [], report(sweep)
        # What its own timers do when they please may have been done before it came to the point.
        missed = set(hits) - sweep.reached - set(ELSEWHERE)
        assert not missed, f"never died at {missed}"
        sweep.finish()


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_datanode_that_dies_while_it_joins_is_a_node_at_its_next_start(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", datanodes=1) as cluster:
        for point in FIRST_START_OF_A_DATANODE:
            assert not cluster.add_datanode(DFS_CRASHPOINT=point), point
            _finish_joining(cluster)
        assert cluster.restart(NAMENODE, DFS_CRASHPOINT=ADMISSION_OF_A_DATANODE)
        with pytest.raises(DfsError):
            cluster.add_datanode()
        assert cluster.exit_code(NAMENODE) == CRASH_EXIT_CODE
        cluster.kill(cluster.datanodes[-1])
        _finish_joining(cluster)
        sweep = Sweep(cluster)
        sweep.golden(CLIENT)
        sweep.finish()


def _finish_joining(cluster: RigCluster) -> None:
    cluster.up()
    with cluster.metadata() as connection:
        assert connection.exec_driver_sql("select count(*) from node").scalar() == len(
            cluster.datanodes
        ), "a node joined twice"
