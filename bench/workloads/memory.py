"""The most memory that the client and a DataNode take while a file of 4 GiB goes in and out."""

from bench.commands import forget_peak, peak_bytes, peak_of, settle
from bench.ground import Ground
from bench.targets import CLIENT_GET, CLIENT_PUT, DATANODE_PEAK
from dfs.base.units import MiB
from dfs.local.roster import DATANODE


def measure(ground: Ground) -> None:
    """Once: what counts is the most, not the spread."""
    source = ground.file("memory", ground.sizes.memory_bytes)
    daemons = [one for one in ground.cluster.status() if one.role == DATANODE]
    for one in daemons:
        forget_peak(one.pid)
    settle()
    put = peak_of(["put", "--quiet", str(source), "/memory"], ground.environment)
    source.unlink()
    with ground.memory() as out:
        got = peak_of(["get", "--quiet", "/memory", str(out / "got")], ground.environment)
    ground.figures.add(CLIENT_PUT, put / MiB, "MiB")
    ground.figures.add(CLIENT_GET, got / MiB, "MiB")
    peak = max(peak_bytes(one.pid) for one in daemons)
    ground.figures.add(DATANODE_PEAK, peak / MiB, "MiB", "over both")
    ground.dfs("rm", "--quiet", "/memory")
