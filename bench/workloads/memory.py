"""The most memory that the client and a DataNode take while a file of 4 GiB goes in and out."""

from bench.commands import forget_peak, peak_bytes, peak_of, settle
from bench.ground import Ground
from bench.same_host import ways
from bench.targets import CLIENT_GET, CLIENT_PUT, DATANODE_PEAK
from dfs.base.units import MiB
from dfs.local.roster import DATANODE


def measure(ground: Ground) -> None:
    """Once by each way between client and DataNode: what counts is the most, not the spread."""
    daemons = [one for one in ground.cluster.status() if one.role == DATANODE]
    for one in daemons:
        forget_peak(one.pid)
    source = ground.file("memory", ground.sizes.memory_bytes)
    put, got = 0, 0
    for environment in ways(ground).values():
        settle()
        put = max(put, peak_of(["put", "--quiet", str(source), "/memory"], environment))
        with ground.memory() as out:
            words = ["get", "--quiet", "/memory", str(out / "got")]
            got = max(got, peak_of(words, environment))
        ground.dfs("rm", "--quiet", "/memory")
    source.unlink()
    peak = max(peak_bytes(one.pid) for one in daemons)
    for name, most in ((CLIENT_PUT, put), (CLIENT_GET, got), (DATANODE_PEAK, peak)):
        ground.figures.add(name, most / MiB, "MiB", "the most by either way")
