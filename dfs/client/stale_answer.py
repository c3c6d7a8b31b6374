"""Pure: an answer of a NameNode that follows, and how old it is."""

from typing import NamedTuple


class StaleAnswer(NamedTuple):
    """Who answered, and how far behind it was.

    Attributes:
        records: of the journal that it knew to lack; below 0 where it stood for election itself.
        silent_s: since it heard from who leads; below 0 with `records`.
    """

    url: str
    records: int
    silent_s: float

    def words(self) -> str:
        """For a person."""
        if self.records < 0:
            return f"answered by a standby ({self.url}), which does not know how far it is behind"
        records = "1 record" if self.records == 1 else f"{self.records:,} records"
        return f"answered by a standby ({self.url}), {records} and {self.silent_s:.1f} s behind"
