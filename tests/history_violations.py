"""Pure: what a history can show that no atomic service does."""

from dataclasses import dataclass
from enum import StrEnum

from tests.histories import Operation


class Kind(StrEnum):
    """What went wrong, by what was promised."""

    LOST_WRITE = "lost write"  # acknowledged, and never read by anybody
    STALE_READ = "stale read"  # of what had been seen to be overwritten
    DOUBLE_CREATE = "double create"
    DOUBLE_REMOVE = "double remove"
    LOST_NAME = "lost name"  # acknowledged or seen, and gone without a removal
    RESURRECTED = "resurrected name"  # removed, and there again without anybody adding it
    PHANTOM = "phantom"  # seen before anybody could have made it


@dataclass(frozen=True, slots=True)
class Violation:
    """A few operations of one path that cannot all have been answered as they were."""

    kind: Kind
    path: str
    words: str
    evidence: tuple[Operation, ...]

    def __str__(self) -> str:
        """The words, and the operations that prove them."""
        return "\n    ".join([f"{self.kind}: {self.words}", *map(str, self.evidence)])
