"""Pure: the `config.ini` of a local cluster: where one small machine differs from the defaults."""

from pathlib import Path

_TEXT = """\
# Settings of this local cluster; written once by dfs-local, yours to change.
# Every other key is at its default: see config.ini at the top of the DFS source.

[cluster]
namenodes = {namenode}

[datanode]
# Works on small disks, where a real DataNode would keep 1GiB free.
reserve_bytes = 64MiB
reserve_percent = 0

[client]
credentials = {credentials}

[liveness]
# Impatient, so that there is something to see when a daemon is killed.
heartbeat_interval_s = 1s
stale_after_s = 5s
dead_after_s = 60s
sweep_interval_s = 3s
sweep_timeout_s = 2s

[accounts]
session_life_s = 30d
session_idle_s = 30d
"""


def settings_text(*, namenode: str, credentials: Path) -> str:
    """The whole file."""
    return _TEXT.format(namenode=namenode, credentials=credentials)
