"""A folder of a hundred thousand entries: filled, listed, looked into, removed."""

from bench.ground import Ground
from bench.load import stats_per_second
from bench.targets import over
from bench.workloads.requests import commit

BATCH = 1_000
FIRST, LAST = "first batches", "last batches"
NARROW, WIDE = "stat in a folder of one", "stat in the wide folder"


def measure(ground: Ground) -> None:
    """The last files of it must cost what the first did."""
    client, figures, entries = ground.client, ground.figures, ground.sizes.wide_entries
    client.mkdir("/narrow")
    commit(client, ["/narrow/file"])
    client.mkdir("/wide")
    batches = entries // BATCH
    edge = max(1, batches // 10)
    for batch in range(batches):
        paths = [f"/wide/file-{batch:05}-{number:04}" for number in range(BATCH)]
        name = FIRST if batch < edge else LAST if batch >= batches - edge else "batches between"
        with figures.series(name, note=f"{BATCH:,} creates in one request").timed():
            commit(client, paths)
    with figures.series("list it by the library").timed():
        assert sum(1 for _ in client.listdir("/wide")) == entries
    ground.time_dfs("ls of it", ["ls", "/wide"])
    for _ in range(ground.sizes.rounds):
        for name, path in ((NARROW, "/narrow/file"), (WIDE, "/wide/file-00000-0500")):
            stats_per_second(client, path, figures, name, seconds=ground.sizes.seconds)
    figures.ratio(WIDE, NARROW)
    if batches > 1:
        median = figures.series(LAST).median / figures.series(FIRST).median
        figures.add(over(LAST, FIRST), median, "times", "medians")
    ground.time_dfs("rm -r of it", ["rm", "-r", "--quiet", "/wide"])
