"""What a start proves of the metadata database, and what is noticed while it serves."""

import os
from pathlib import Path

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import MetadataCorrupt
from dfs.meta.cluster_tables import RETRY_CACHE
from dfs.meta.session import DATABASE_FILE
from dfs.meta.soundness import Soundness
from dfs.meta.txn import Txn
from tests.metadata_rig import MetadataRig

PAGE_BYTES = 4096
ROWS = 2_000
INDEX_LEAF = 0x0A  # a page's first byte, see SQLite's file format


def _fill(txn: Txn) -> None:
    rows = [
        {"caller": f"c{at}", "request": "r", "answer": b"a" * 100, "txid": 1, "at_ms": 1}
        for at in range(ROWS)
    ]
    txn.put(RETRY_CACHE, *rows)


def _starting(folder: Path) -> Soundness:
    return Soundness(folder / DATABASE_FILE, clock=SystemClock())


def _run(folder: Path, *, proven: bool = True) -> None:
    """A NameNode's life on the database: start, changes, clean stop."""
    soundness = _starting(folder)
    rig = MetadataRig(folder)
    rig.change(_fill)
    if proven:
        soundness.run_once()
    rig.close()
    soundness.leave_mark(*rig.writer.head)


def _spoil(folder: Path, *, secretly: bool) -> None:
    """Spoil a page of remembered answers; secretly, as a rotting disk: the file's time stays."""
    file = folder / DATABASE_FILE
    before = file.stat()
    raw = bytearray(file.read_bytes())
    of_answers = [
        start
        for start in range(0, len(raw), PAGE_BYTES)
        if raw[start] == INDEX_LEAF and b"c1234r" in raw[start : start + PAGE_BYTES]
    ]
    for start in of_answers:
        raw[start : start + 64] = b"\xff" * 64
    file.write_bytes(raw)
    if secretly:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_start_after_a_clean_stop_leaves_the_whole_check_for_later_and_deletes_nothing(
    tmp_path: Path,
) -> None:
    _run(tmp_path)
    soundness = _starting(tmp_path)
    soundness.prove_for_start()
    assert not soundness.is_proven
    assert soundness.why_no_deletes() == "the metadata database is still being checked"
    assert soundness.run_once().proven
    assert soundness.why_no_deletes() == ""


def test_start_after_a_kill_checks_everything_first(tmp_path: Path) -> None:
    _run(tmp_path)
    _starting(tmp_path)  # a start, whose run ends without a word
    again = _starting(tmp_path)
    again.prove_for_start()
    assert again.is_proven


def test_file_that_was_changed_since_the_stop_is_refused_before_it_is_served(
    tmp_path: Path,
) -> None:
    _run(tmp_path)
    _spoil(tmp_path, secretly=False)
    with pytest.raises(MetadataCorrupt):
        _starting(tmp_path).prove_for_start()


def test_disk_that_rotted_since_the_stop_is_noticed_at_once_and_refused_from_then_on(
    tmp_path: Path,
) -> None:
    _run(tmp_path)
    _spoil(tmp_path, secretly=True)
    soundness, found = _starting(tmp_path), list[str]()
    soundness.on_damage = found.append
    soundness.prove_for_start()
    with pytest.raises(MetadataCorrupt):
        soundness.run_once()
    assert len(found) == 1
    assert soundness.why_no_deletes()
    soundness.leave_mark(*MetadataRig(tmp_path).writer.head)
    with pytest.raises(MetadataCorrupt):
        _starting(tmp_path).prove_for_start()


def test_run_that_proved_nothing_leaves_the_next_start_to_do_it(tmp_path: Path) -> None:
    _run(tmp_path, proven=False)
    soundness = _starting(tmp_path)
    soundness.prove_for_start()
    assert soundness.is_proven


def test_journal_that_ends_elsewhere_than_the_mark_says_is_checked_whole(tmp_path: Path) -> None:
    _run(tmp_path)
    soundness = _starting(tmp_path)
    file = tmp_path / DATABASE_FILE
    before = file.stat()
    rig = MetadataRig(tmp_path)
    rig.change(_fill)
    rig.close()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    soundness.prove_for_start()
    assert soundness.is_proven


def test_check_that_is_broken_off_by_a_stop_proves_nothing(tmp_path: Path) -> None:
    _run(tmp_path)
    soundness, found = _starting(tmp_path), list[str]()
    soundness.on_damage = found.append
    soundness.prove_for_start()
    soundness.break_off()
    assert not soundness.run_once().proven
    assert found == []
