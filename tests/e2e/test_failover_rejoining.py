"""NameNodes come back with records that nobody acknowledged, or with folders that were spoilt."""

import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfs.base.errors import DfsError
from tests.cluster_rig import wait_until
from tests.ha_load import at_work, show, spoil
from tests.ha_processes import Daemon
from tests.ha_rig import HaRig, running_rig

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

USUAL_TIMES = {
    "beat_s": "500ms",
    "stickiness_s": "5s",
    "lease_s": "4s",
    "election_min_s": "6s",
    "election_max_s": "8s",
    "ack_s": "3s",
    "handover_s": "2s",
    "gate_s": "500ms",
}
ELECTIONS_S = 8.0  # four times the longest wait for a leader


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaRig]:
    with running_rig(tmp_path_factory.mktemp("ha") / "cluster") as made:
        yield made


@pytest.fixture
def rig(shared: HaRig) -> HaRig:
    """All NameNodes run and are in sync."""
    shared.start_all()
    shared.await_sync()
    return shared


def diverged(daemon: Daemon) -> list[str]:
    return [each.name for each in daemon.folder.glob("diverged-*")]


def test_a_record_that_one_standby_alone_has_is_put_aside(tmp_path: Path) -> None:
    with (
        running_rig(tmp_path / "cluster", **USUAL_TIMES) as rig,
        rig.client() as client,
        rig.client() as other,
    ):
        leader = rig.await_sync()
        ahead, behind = (name for name in rig.namenodes if name != leader)
        client.mkdir("/acknowledged")
        rig.kill(behind)  # frozen, it would take the record in when it is thawed
        before = rig.txid_of(ahead)
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(attempt, lambda: other.mkdir("/unacknowledged"))
            wait_until(lambda: rig.txid_of(ahead) > before, f"{ahead} has a record alone")
            rig.kill(leader, ahead)
            rig.start(leader)
            rig.start(behind)
            assert rig.await_leader() in (leader, behind)
            client.mkdir("/later")
            rig.start(ahead)
            rig.await_sync()
            asked.result()
        assert len(diverged(rig.daemons[ahead])) == 1
        rig.check_tables()
        names = {each.path for each in client.listdir("/")}
        assert {"/acknowledged", "/later"} <= names


def test_what_an_old_leader_alone_had_is_put_aside_when_another_was_forced_to_lead(
    tmp_path: Path,
) -> None:
    with (
        running_rig(tmp_path / "cluster", namenodes=2) as rig,
        rig.client() as client,
        rig.client() as other,
    ):
        old, heir = rig.await_sync(["nn-1", "nn-2"]), "nn-2"
        assert old == "nn-1"
        client.mkdir("/acknowledged")
        rig.kill(heir)
        client.mkdir("/lost-by-force")
        wait_until(lambda: in_sync(rig, old) == {"nn-1"}, "the leader is in sync alone")
        rig.freeze("dn-3")  # the only other voter: nobody hears of what the leader writes now
        before = rig.txid_of(old)
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(attempt, lambda: other.mkdir("/unacknowledged"))
            wait_until(lambda: rig.txid_of(old) > before, f"{old} has a record alone")
            rig.kill(old)
            rig.thaw("dn-3")
            rig.start(heir)
            time.sleep(ELECTIONS_S)
            assert rig.leader() is None
            wait_until(lambda: force(rig, heir), f"{heir} leads by force")
            asked.result()
        assert rig.await_leader() == heir
        status = rig.status(heir)
        assert status is not None
        assert status.lossy
        rig.start(old)
        rig.await_sync(["nn-1", "nn-2"])
        assert len(diverged(rig.daemons[old])) == 1
        assert rig.order(heir, "acknowledge-loss").done
        rig.check_tables(["nn-1", "nn-2"])
        assert "/acknowledged" in {each.path for each in client.listdir("/")}


def in_sync(rig: HaRig, leader: str) -> set[str]:
    status = rig.status(leader)
    return {line.name for line in status.members if line.in_sync} if status else set()


def force(rig: HaRig, name: str) -> bool:
    """By the number that it names as it refuses another one."""
    refused = rig.order(name, "force-lead", records=10_000)
    assert not refused.done
    gaps = [found[1] for each in refused.said if (found := re.search(r"type (\d+)", each))]
    return bool(gaps) and rig.order(name, "force-lead", records=int(gaps[-1])).done


def attempt(act: Callable[[], object]) -> None:
    try:
        act()
    except DfsError as exc:
        show(f"the change in question: {exc}")


def remove_database(daemon: Daemon) -> None:
    for file in daemon.folder.glob("dfs.sqlite*"):
        file.unlink()


def spoil_database(daemon: Daemon) -> None:
    size = daemon.database.stat().st_size
    spoil(daemon.database, size // 2, 64 << 10)


def truncate_database(daemon: Daemon) -> None:
    with daemon.database.open("r+b") as file:
        file.truncate(daemon.database.stat().st_size // 2)


def test_namenodes_without_databases_wait_for_one_that_has_it(rig: HaRig) -> None:
    with at_work(rig, "/waiting") as load:
        keeper = rig.await_sync()
        robbed = [name for name in rig.namenodes if name != keeper]
        rig.kill(*rig.namenodes)
        for name in robbed:
            remove_database(rig.daemons[name])
            rig.start(name)
        time.sleep(ELECTIONS_S)  # they are a majority of the voters, and were in sync
        assert rig.leader() is None
        rig.start(keeper)
        rig.await_sync()  # whoever leads then: another may stand, and gets the keeper's first
        load.await_more(50)
    rig.check_tables()


@pytest.mark.parametrize("stopped", ["killed", "stopped"])
@pytest.mark.parametrize("damage", [remove_database, spoil_database, truncate_database])
def test_a_standby_whose_database_is_spoilt_comes_back(
    rig: HaRig, damage: Callable[[Daemon], None], stopped: str
) -> None:
    with at_work(rig, f"/{damage.__name__}-{stopped}") as load:
        leader = rig.await_sync()
        spoilt = next(name for name in rig.namenodes if name != leader)
        daemon = rig.daemons[spoilt]
        rig.kill(spoilt) if stopped == "killed" else rig.stop(spoilt)
        load.await_more(50)
        damage(daemon)
        said = rig.start_or_refusal(spoilt)
        if said:
            show(said)
            assert f"move {daemon.database}* away" in said
            remove_database(daemon)
            rig.start(spoilt)
        rig.await_sync()
    rig.check_tables()


def test_a_standby_whose_tables_differ_is_found_and_not_handed_the_lead(rig: HaRig) -> None:
    leader = rig.await_sync()
    spoilt = next(name for name in rig.namenodes if name != leader)
    daemon = rig.daemons[spoilt]
    rig.stop(spoilt)
    with contextlib.closing(sqlite3.connect(daemon.database)) as database, database:
        database.execute("UPDATE inode SET modified_ms = modified_ms + 1")
    rig.start(spoilt)
    rig.await_sync()
    verified = rig.order(leader, "verify")
    assert not verified.done
    assert any("inode differ" in line for line in verified.said), verified.said
    assert not rig.switch_over(spoilt).done
    rig.kill(spoilt)
    remove_database(daemon)
    rig.start(spoilt)
    rig.await_sync()
    rig.check_tables()
    verified = rig.order(leader, "verify")
    assert verified.done, verified.said
    assert rig.switch_over(spoilt).done


def test_a_standby_that_lost_its_row_is_refused_and_joins_anew(rig: HaRig) -> None:
    with at_work(rig, "/row") as load:
        leader = rig.await_sync()
        spoilt = next(name for name in rig.namenodes if name != leader)
        daemon = rig.daemons[spoilt]
        rig.kill(spoilt)
        (daemon.folder / "member.row").unlink()
        said = rig.refusal(spoilt)
        show(said)
        assert "dfs-admin ha remove" in said
        removed = rig.order(rig.await_leader(), "remove", member=rig.member(spoilt))
        assert removed.done, removed.said
        shutil.rmtree(daemon.folder)
        rig.start(spoilt)
        rig.await_sync()
        load.await_more(50)
    rig.check_tables()


def test_the_standby_of_two_machines_leads_by_the_word_of_the_operator(tmp_path: Path) -> None:
    with running_rig(tmp_path / "cluster", machines=2) as rig:
        with at_work(rig, "/two") as load:
            assert rig.await_sync() == "nn-1"
            rig.kill("nn-1")
            time.sleep(ELECTIONS_S)
            assert rig.leader() is None
            status = rig.status("nn-2")
            assert status is not None
            assert status.mode == "manual"
            wrong = rig.order("nn-2", "promote", records=status.txid + 1)
            assert not wrong.done
            assert any(str(status.txid) in each for each in wrong.said), wrong.said
            assert rig.leader() is None
            right = rig.order("nn-2", "promote", records=status.txid)
            assert right.done, right.said
            assert rig.await_leader() == "nn-2"
            load.await_more(50)
            rig.start("nn-1")
            assert rig.await_sync() == "nn-2"
        rig.check_tables()


def test_a_namenode_that_is_left_with_too_few_voters_leads_by_the_word_of_the_operator(
    tmp_path: Path,
) -> None:
    with running_rig(tmp_path / "cluster") as rig:
        with at_work(rig, "/left") as load:
            leader = rig.await_sync()
            left, other = (name for name in rig.namenodes if name != leader)
            early = rig.order(left, "promote", records=rig.txid_of(left))
            assert not early.done
            dead = [leader, other]
            beside = [name.replace("nn", "dn") for name in dead]
            removed = [rig.member(name) for name in dead]
            rig.kill(*dead, *beside)
            for name in dead:
                shutil.rmtree(rig.daemons[name].folder)
            for name in beside:  # blocks are another matter: these come back without their votes
                (rig.daemons[name].folder / "voter.row").unlink()
                rig.start(name)
            time.sleep(ELECTIONS_S)
            assert rig.leader() is None
            status = rig.status(left)
            assert status is not None
            promoted = rig.order(left, "promote", records=status.txid)
            show("\n".join(promoted.said))
            assert promoted.done, promoted.said
            assert rig.await_leader() == left
            for member in removed:
                gone = rig.order(left, "remove", member=member)
                assert gone.done, gone.said
            load.await_more(50)
            for name in dead:
                rig.start(name)  # with an empty folder: it joins
            rig.await_sync()
            load.await_more(50)
        rig.check_tables()
