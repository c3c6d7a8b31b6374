"""How long the command takes to begin at all, against the interpreter alone."""

import sys

from bench.ground import Ground
from bench.targets import VERSION

EACH_ROUND = 5


def measure(ground: Ground) -> None:
    """A few of each in every round: they are short."""
    for _ in range(ground.sizes.rounds * EACH_ROUND):
        ground.time_command("python -c pass", sys.executable, "-c", "pass")
        ground.time_dfs(VERSION, ["--version"])
