"""What to type instead of a verb that is another program's, or that HDFS calls otherwise.

Loaded only when a command line has been refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dfs.cli.verb_table import HOMES

# Words that HDFS has for what we call otherwise: a command of ours, or why there is none.
OURS: Final[Mapping[str, str]] = {
    "appendtofile": "there is no appending: put it as a file of its own, dfs put - REMOTE",
    "balancer": "dfs-admin rebalance",
    "chgrp": "dfs chown :GROUP PATH",
    "concat": "dfs cat FIRST SECOND | dfs put - REMOTE",
    "copyfromlocal": "dfs put LOCAL REMOTE",
    "copytolocal": "dfs get REMOTE LOCAL",
    "count": "dfs du -s PATH",
    "datanode": "dfs-datanode",
    "distcp": "dfs get and dfs put",
    "dus": "dfs du -s PATH",
    "expunge": "the trash empties itself; dfs rm --skip-trash PATH frees the room at once",
    "getfacl": "dfs stat PATH",
    "getmerge": "dfs cat FIRST SECOND > LOCAL",
    "lsr": "dfs ls -R PATH",
    "mkdirs": "dfs mkdir -p PATH",
    "movefromlocal": "dfs put LOCAL REMOTE, and then remove LOCAL",
    "movetolocal": "dfs get REMOTE LOCAL, and then dfs rm REMOTE",
    "namenode": "dfs-namenode",
    "rmdir": "dfs rm -r PATH, into the trash",
    "rmr": "dfs rm -r PATH",
    "setfacl": "dfs chmod MODE PATH",
    "test": "dfs stat PATH, which exits with 3 when nothing is there",
    "text": "dfs cat PATH | zcat",
    "touchz": "dfs touch PATH",
    "version": "--version",
}
# Words after which the verb comes: `hdfs dfs -ls`, `hadoop fs -ls`, `hdfs dfsadmin -report`.
PREFIXES: Final[Mapping[str, str]] = {
    "dfs": "dfs",
    "fs": "dfs",
    "dfsadmin": "dfs-admin",
    "haadmin": "dfs-admin",
}
ADMIN_OPTIONS: Final[Mapping[str, str]] = {
    "checkhealth": "dfs-admin ha status",
    "failover": "dfs-admin ha switchover --to NAME",
    "getallservicestate": "dfs-admin ha status",
    "getservicestate": "dfs-admin ha status",
    "transitiontoactive": "dfs-admin ha switchover --to NAME",
    "transitiontostandby": "dfs-admin ha switchover",
    "allowsnapshot": "there are no snapshots; what was removed is in the trash: dfs trash",
    "printtopology": "dfs-admin nodes",
    "refreshnodes": "dfs-admin node decommission NODE, or node recommission NODE",
    "setbalancerbandwidth": "dfs-admin rebalance --bandwidth SIZE",
}


def hint_for(program: str, words: Sequence[str]) -> str:
    """What the first words of a command line are here; empty when they are nothing known.

    Args:
        program: which one was given them.
        words: at least one; the first without its dash.
    """
    first = words[0]
    for length in (2, 1):
        verb = " ".join(words[:length])
        for other in HOMES:
            if other != program and verb in _verbs_of(other):
                return f"`{verb}` is a verb of `{other}`: {other} {verb} ..."
    for other in HOMES:
        seconds = [verb.split(" ")[1] for verb in _verbs_of(other) if verb.startswith(f"{first} ")]
        if other != program and seconds:
            return f"`{first}` is a verb of `{other}`: {other} {first} {'|'.join(seconds)}"
    if first.lower() in PREFIXES:
        return _after_prefix(PREFIXES[first.lower()], words[1:])
    ours = OURS.get(first.lower())
    if ours is None:
        return ""
    return f"in place of `{first}`: " + (f"{program} {ours}" if ours.startswith("-") else ours)


def _after_prefix(program: str, words: Sequence[str]) -> str:
    """The rest of a command line of HDFS: of what program, and which verb."""
    bare = words[0].removeprefix("-") if words else ""
    if bare in _verbs_of(program):
        return f"it is: {program} {bare} ..."
    known = ADMIN_OPTIONS.get(bare.lower()) or OURS.get(bare.lower())
    if known:
        return f"in place of `{bare}`: {known}"
    return hint_for(program, [bare]) if bare and bare not in PREFIXES else f"see: {program} --help"


def _verbs_of(program: str) -> list[str]:
    return [verb for verbs in HOMES[program].values() for verb in verbs]
