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
stale_after_s = {stale_after}
dead_after_s = {dead_after}
sweep_interval_s = 3s
sweep_timeout_s = 2s

[ha]
# A NameNode that dies is replaced within about two seconds.  One that is alone has no use for
# these.  They have to be alike in all of them: change them while none runs.
beat_s = 100ms
stickiness_s = 1s
lease_s = 800ms
election_min_s = 1200ms
election_max_s = 2s
ack_s = 500ms
handover_s = 500ms
gate_s = 100ms
gate_rest_s = 1s
hint_s = 200ms

[accounts]
session_life_s = 30d
session_idle_s = 30d
"""


# For the guided tour: what takes a day in earnest is to be seen in a minute.
_HURRY = """
[scrub]
rate_max_bytes = 1GiB
files_per_second_max = 100000

[repair]
interval_s = 500ms
urgent_after_s = 5s
in_flight_per_node = 8
"""


def settings_text(*, namenode: str, credentials: Path, hurry: bool = False) -> str:
    """The whole file; in a hurry a silent DataNode counts as dead within seconds."""
    text = _TEXT.format(
        namenode=namenode,
        credentials=credentials,
        stale_after="3s" if hurry else "5s",
        dead_after="8s" if hurry else "60s",
    )
    return text + _HURRY if hurry else text
