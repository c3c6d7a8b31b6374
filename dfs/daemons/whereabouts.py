"""Where a daemon runs, as it tells others: on which machine, by which name it is reached.

Daemons of one machine die together, and get one voter.  So a NameNode and a DataNode beside it have
to call their machine the same.
"""

import socket
from typing import Final

from dfs.settings.sections import HaConfig

_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to recognise them


def machine_of(ha: HaConfig) -> str:
    """The name of this machine: the configured one, else that of the host."""
    return ha.machine or socket.gethostname()


def named_host(listening_on: str) -> str:
    """By which name others reach who listens there; on all addresses means by that of the host."""
    return socket.gethostname() if listening_on in _WILDCARDS else listening_on
