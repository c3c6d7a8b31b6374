"""Failover's shell with one rule broken, each time another; and the quick test that finds it out.

The core's rules have mutants of their own (`tests/unit/ha/ha_mutants.py`).  Here are those that
only the shell can break: what is on a disk before what is said, who is believed, what a NameNode
tells that may not lead any more, whom a DataNode obeys.

A program of its own (`python -m tests.unit.failover.shell_mutants`): see `broken_on_purpose`.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from dfs.base.errors import MetadataCorrupt, VolumeReadOnly
from dfs.base.ids import Epoch
from dfs.daemons.namenode_helm import Helm
from dfs.daemons.namenode_journal import HeldJournal
from dfs.daemons.namenode_process import NamenodeProcess
from dfs.failover import journal_store, outbox, snapshot_wire, snapshots
from dfs.failover.journal_store import JournalStore
from dfs.failover.journal_works import JournalWorks
from dfs.failover.member_host import MemberHost
from dfs.failover.post_office import PostOffice
from dfs.failover.row_file import RowFile
from dfs.failover.sealing import Sealing
from dfs.failover.voter_host import VoterHost
from dfs.failover.voter_house import VoterHouse
from dfs.ha.effects import Applied
from dfs.meta import replay, retry_cache
from dfs.meta.cluster_tables import RETRY_CACHE
from dfs.meta.session import writer_engine
from dfs.meta.writer import Writer
from dfs.nodes.beat import NamenodeBeat
from dfs.nodes.standing import Standing
from dfs.web import standby_app
from dfs.web.dispatch import Endpoint
from tests.broken_on_purpose import Mutant, report
from tests.fake_namenode import FakeNamenode
from tests.unit.failover import post_rig

UNIT = "tests/unit"
PATIENCE_S = 1.0  # for what will not come about, as a rule is broken


def _nothing(*_given: Any, **_named: Any) -> None:
    """A step that is left out."""


# The rows of a voter and of a member.


def voter_speaks_first(self: VoterHost, effects: Any) -> None:
    self._sender.send(effects.letters)
    if effects.row is not None:
        self._file.keep(effects.row)
        self._row = effects.row


def _keep(host: MemberHost, row: Any) -> None:
    if row is not None:
        host._file.keep(row)
        host._row = row


def member_speaks_first(self: MemberHost, effects: Any) -> None:
    self._around.sender.send(effects.letters)
    _keep(self, effects.row)
    for action in effects.actions:
        self._act(action)


def member_acts_first(self: MemberHost, effects: Any) -> None:
    for action in effects.actions:
        self._act(action)
    _keep(self, effects.row)
    self._around.sender.send(effects.letters)


_row_keep, _row_load = RowFile.keep, RowFile.load


def tries_a_failed_disk_again(self: RowFile[Any], row: Any) -> None:
    self._failed = ""
    _row_keep(self, row)


def takes_damaged_for_absent(self: RowFile[Any]) -> Any:
    try:
        return _row_load(self)
    except MetadataCorrupt:
        return None


def lives_before_it_keeps(self: VoterHouse, told: Any) -> bool:
    if told.version <= self.version:
        return False
    self._live_by(told, self._timers)
    RowFile(self._kept, type(told)).keep(told)
    return True


def forgets_that_the_disk_failed(self: VoterHouse, why: str) -> None:
    self._on_failure(why)


# Letters.


def believes_any_seal(self: Sealing, raw: bytes) -> bytes:
    return raw[len(self._kind.head) + 32 :]


def believes_strangers(self: NamenodeProcess, letter: Any) -> bool:
    return self.host.take(letter)


def drops_what_is_to_be_written_down(new: Any, old: Any) -> bool:
    return (new.sender, new.to) == (old.sender, old.to)


# The journal.


def acks_before_it_writes(self: JournalWorks, work: Any) -> None:
    self._tell(Applied(work.records[-1].position))
    self._journal.apply(work.records)


def _careless_engine(file: Path) -> Engine:
    engine = writer_engine(file)
    event.listen(engine, "connect", lambda raw, _record: raw.execute("PRAGMA synchronous = OFF"))
    return engine


_install = JournalStore.install_snapshot


def keeps_nothing_aside(self: JournalStore, name: str, *, aside: bool) -> Any:
    return _install(self, name, aside=aside and False)


def remembers_for_itself(txn: Any, answers: Any) -> None:
    for key, answer in answers.items():
        row = {"caller": key.caller, "request": key.request, "answer": answer}
        txn.put_soft(RETRY_CACHE, row | {"txid": txn.txid, "at_ms": txn.now_ms})


# The writer, and who leads.


def tells_at_its_commit(self: Writer, epoch: Epoch, shipping: Any) -> None:
    self.epoch = epoch
    self._shipping = shipping


def commits_what_was_refused(self: Writer, record: Any) -> None:
    if record is not None and self._shipping.propose(record) is not None:
        self._is_told_at_once = True


def forgets_its_writer(self: Helm, _why: Any) -> None:
    with self._lock:
        self._epoch = 0
    self._show_following()
    self._lane.do(self._end)


def adopts_whatever_was_lost(self: Helm, writer: Writer, _epoch: Epoch) -> None:
    self._writer = writer


def asks_no_voter(self: Helm, ask: Callable[[int], None]) -> bool:
    self._reads += 1
    ask(self._reads)
    return True


def believes_earlier_answers(self: Helm, ask: Callable[[int], None]) -> bool:
    self._reads += 1
    ask(self._reads)
    return self._reads_confirmed > 0


# What is told of what was read.

_act = Endpoint._act
_stale = standby_app._stale


def asks_before_it_reads(self: Endpoint, visit: Any) -> bytes:
    self._require_current()
    self._require_current = _nothing  # type: ignore[method-assign]
    return _act(self, visit)


def tells_what_is_old(route: Any, endpoint: Any, services: Any) -> Any:
    served = _stale(route, endpoint, services)
    return type(served)(
        served.methods,
        lambda asking: served.answer(asking._replace(stale_ok=True)),
        lambda asking, then: served.begin(asking._replace(stale_ok=True), then),
    )


# DataNodes.

_beat = NamenodeBeat._beat
_begin_epoch = Standing._begin_epoch


def obeys_any_epoch(self: Standing, epoch: int) -> None:
    if epoch > self._memory.epoch:
        self._begin_epoch(epoch)


def obeys_before_it_keeps(self: Standing, epoch: int) -> None:
    with contextlib.suppress(VolumeReadOnly):
        _begin_epoch(self, epoch)


def stays_registered(self: NamenodeBeat) -> Any:
    reply = _beat(self)
    self._registered = reply.registered
    return reply


def reports_before_it_told_its_epoch(self: NamenodeBeat) -> bool:
    return self._registered and not self._following


BATCHES = f"{UNIT}/failover/test_order_of_batches.py"
ROWS = f"{UNIT}/failover/test_row_file.py"
HOUSE = f"{UNIT}/failover/test_voter_house.py"
STORE = f"{UNIT}/failover/test_journal_store.py"
SNAPSHOTS = f"{UNIT}/failover/test_snapshots.py"
WRITER = f"{UNIT}/meta/test_shipped_writer.py"
REPLAY = f"{UNIT}/meta/test_replay.py"
HELM = f"{UNIT}/daemons/test_namenode_helm.py"
GATE = f"{UNIT}/web/test_read_gate.py"
BEATS = f"{UNIT}/nodes/test_beats_of_several_namenodes.py"

MUTANTS: dict[str, Mutant] = {
    "a voter's row is kept after its letters": Mutant(
        VoterHost,
        "_perform",
        voter_speaks_first,
        f"{BATCHES}::test_voter_promises_what_is_on_its_disk",
    ),
    "a member's row is kept after its letters": Mutant(
        MemberHost,
        "_perform",
        member_speaks_first,
        f"{BATCHES}::test_member_answers_an_epoch_when_it_is_on_its_disk",
    ),
    "a member's row is kept after its actions": Mutant(
        MemberHost,
        "_perform",
        member_acts_first,
        f"{BATCHES}::test_leader_that_hears_of_another_stands_down_when_that_is_on_its_disk_and"
        "_then_answers",
    ),
    "a batch of an earlier lead is proposed in the next": Mutant(
        MemberHost,
        "_is_timely",
        lambda _self, _record: True,
        f"{BATCHES}::test_batch_of_a_lead_that_is_over_is_not_committed_in_the_next",
    ),
    "a row is written again after the disk failed": Mutant(
        RowFile,
        "keep",
        tries_a_failed_disk_again,
        f"{ROWS}::test_write_that_failed_is_not_tried_again",
    ),
    "a damaged row counts as absent": Mutant(
        RowFile,
        "load",
        takes_damaged_for_absent,
        f"{ROWS}::test_row_that_was_cut_is_damaged_and_not_absent",
    ),
    "a voter's machine lives by what is not on its disk": Mutant(
        VoterHouse,
        "learn",
        lives_before_it_keeps,
        f"{HOUSE}::test_correspondents_that_the_disk_did_not_take_are_not_lived_by_and_may_be_told"
        "_again",
    ),
    "a voter begins again after its disk failed": Mutant(
        VoterHouse,
        "_fail",
        forgets_that_the_disk_failed,
        f"{HOUSE}::test_voter_whose_disk_failed_stays_silent_whatever_it_is_told",
    ),
    "seals are not looked at": Mutant(
        Sealing,
        "open",
        believes_any_seal,
        f"{UNIT}/failover/test_envelope.py::test_letter_of_another_cluster_or_of_nobody_is_refused",
    ),
    "letters under the secret of before are believed": Mutant(
        PostOffice,
        "use",
        _nothing,
        f"{HOUSE}::test_letters_under_the_secret_of_before_are_refused",
    ),
    "letters of unknown senders are believed": Mutant(
        NamenodeProcess,
        "_take",
        believes_strangers,
        f"{HELM}::test_letter_of_somebody_who_is_no_member_is_not_read",
    ),
    "a beat that a voter is to write down gives way": Mutant(
        outbox,
        "_says_all_of",
        drops_what_is_to_be_written_down,
        f"{UNIT}/failover/test_post_office.py"
        "::TestWaiting::test_durable_beat_stays_until_another_durable_one_comes",
    ),
    "a follower acknowledges before its transaction": Mutant(
        JournalWorks,
        "_apply",
        acks_before_it_writes,
        f"{BATCHES}::test_follower_acknowledges_a_record_that_is_on_its_disk_and_not_before",
    ),
    "a follower's transactions are not synced": Mutant(
        journal_store,
        "writer_engine",
        _careless_engine,
        f"{STORE}::test_records_are_durable_when_they_are_applied",
    ),
    "a follower puts records down beside a reign": Mutant(
        HeldJournal,
        "_await_end_of_reign",
        _nothing,
        f"{HELM}::test_records_of_another_leader_wait_until_the_reign_here_is_closed",
    ),
    "records are not held against their hashes": Mutant(
        replay,
        "check_hash",
        _nothing,
        f"{STORE}::test_record_that_does_not_fit_leaves_nothing_of_its_call",
    ),
    "records need not follow each other": Mutant(
        replay,
        "check_order",
        _nothing,
        f"{REPLAY}::test_record_that_follows_another_past_is_refused",
    ),
    "remembered answers are not shipped": Mutant(
        retry_cache,
        "remember",
        remembers_for_itself,
        f"{STORE}::test_request_that_the_leader_answered_is_answered_the_same_by_who_takes_over",
    ),
    "a snapshot is installed unproven": Mutant(
        snapshots,
        "prove",
        _nothing,
        f"{SNAPSHOTS}::test_damaged_cut_or_foreign_snapshot_is_refused",
    ),
    "a piece of another snapshot is taken": Mutant(
        snapshot_wire,
        "_require_next",
        _nothing,
        f"{SNAPSHOTS}::test_pieces_that_are_not_what_was_asked_for_are_refused",
    ),
    "a database that went another way is thrown away": Mutant(
        JournalStore,
        "install_snapshot",
        keeps_nothing_aside,
        f"{STORE}::test_snapshot_takes_the_place_of_a_database_that_went_another_way",
    ),
    "answers are told before they are acknowledged": Mutant(
        Writer,
        "lead",
        tells_at_its_commit,
        f"{WRITER}::test_caller_is_told_when_its_record_is_acknowledged_and_not_before",
    ),
    "a batch is committed that others do not take": Mutant(
        Writer,
        "_ship",
        commits_what_was_refused,
        f"{WRITER}::test_batch_that_others_do_not_take_leaves_nothing_here",
    ),
    "a deposed writer goes on": Mutant(
        Writer,
        "depose",
        _nothing,
        f"{WRITER}::test_deposed_writer_tells_nobody_of_what_it_did_and_does_nothing_more",
    ),
    "the writer is not deposed when the lead is lost": Mutant(
        Helm,
        "stand_down",
        forgets_its_writer,
        f"{HELM}::test_lead_that_is_lost_changes_nothing_more_though_its_reign_is_still_being"
        "_closed",
    ),
    "the port answers for a reign that is over": Mutant(
        Helm,
        "_show_following",
        _nothing,
        f"{HELM}::test_lead_that_is_lost_is_pointed_away_from_at_once",
    ),
    "a reign begins although its lead is lost": Mutant(
        Helm,
        "_adopt",
        adopts_whatever_was_lost,
        f"{HELM}::test_lead_that_is_lost_while_its_reign_is_built_serves_nobody",
    ),
    "strict reads ask no voter": Mutant(
        Helm,
        "await_confirmation",
        asks_no_voter,
        f"{HELM}::test_strict_read_is_confirmed_by_voters_and_not_by_their_silence",
    ),
    "strict reads are confirmed by what voters said before": Mutant(
        Helm,
        "await_confirmation",
        believes_earlier_answers,
        f"{HELM}::test_strict_read_is_confirmed_by_voters_and_not_by_their_silence",
    ),
    "the gate of reads is asked before the read": Mutant(
        Endpoint,
        "_act",
        asks_before_it_reads,
        f"{GATE}::test_what_was_read_before_the_lead_was_lost_is_not_told_after_it",
    ),
    "a standby tells what is old to who did not ask for it": Mutant(
        standby_app,
        "_stale",
        tells_what_is_old,
        f"{GATE}::test_standby_tells_what_it_has_to_who_said_that_it_may_and_says_how_old_that_is",
    ),
    "a DataNode obeys any epoch": Mutant(
        Standing,
        "admit_epoch",
        obeys_any_epoch,
        f"{BEATS}::test_namenode_that_was_deposed_is_not_obeyed_and_teaches_nothing",
    ),
    "a DataNode obeys an epoch that is not on its disk": Mutant(
        Standing,
        "_begin_epoch",
        obeys_before_it_keeps,
        f"{BEATS}::test_epoch_is_on_the_disk_before_anything_of_it_is_obeyed_or_believed",
    ),
    "a DataNode does not report anew in a new epoch": Mutant(
        NamenodeBeat,
        "_beat",
        stays_registered,
        f"{BEATS}::test_new_leader_is_registered_with_and_told_everything_in_its_own_epoch",
    ),
    "a DataNode reports before its epoch is known": Mutant(
        NamenodeBeat,
        "_may_report",
        reports_before_it_told_its_epoch,
        f"{BEATS}::test_nothing_is_reported_before_the_leader_was_told_that_its_epoch_is_known",
    ),
}


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Give up soon on what will not come about."""
    patch.setattr(post_rig, "WAIT_S", PATIENCE_S)
    patch.setattr(FakeNamenode.wait, "__defaults__", (PATIENCE_S,))


if __name__ == "__main__":
    report(MUTANTS, hurry)
