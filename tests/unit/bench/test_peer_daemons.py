"""Daemons of a peer that is measured: waited for, explained when they fail, ended for good."""

import sys
from pathlib import Path

import pytest

from bench.peers.system import Daemons


def test_daemon_that_ends_at_its_start_is_reported_with_what_it_said(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    daemons.start("peer", [sys.executable, "-c", "raise SystemExit('no such disk')"])
    with pytest.raises(RuntimeError, match="no such disk"):
        daemons.wait("peer", lambda: False)
    daemons.close()


def test_closing_ends_every_daemon(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    line = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    for name in ("one", "two"):
        daemons.start(name, [sys.executable, "-c", line])
        daemons.wait(name, lambda name=name: bool(daemons.log(name).read_text().strip()))
    pids = [int(daemons.log(name).read_text()) for name in ("one", "two")]
    daemons.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
