"""A dead node made good again, against copying what it held."""

from bench.ground import Ground
from bench.heal import heal
from bench.targets import COPY, HEAL


def measure(ground: Ground) -> None:
    """A cluster of its own, each round."""
    for number in range(1 if ground.sizes.rounds == 1 else 2):
        ground.figures.take(heal(ground.folder / f"repair-{number}", ground.sizes.repair_bytes))
    ground.figures.ratio(COPY, HEAL, note="1 is as fast as plain copying")
