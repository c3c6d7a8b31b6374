"""Databases that a snapshot took the place of, kept for people for a while.

<data>/diverged-<epoch>-<time in UTC>.sqlite    the epoch of its last record

What is in one beyond the leader's journal was never acknowledged, or was given up by the operator:
nothing needs it, but somebody may want to look.
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dfs.base.durable import sync_folder
from dfs.base.errors import LocalIoError

DIVERGED_PREFIX: Final = "diverged-"
KEPT_MAX: Final = 3
KEPT_MS: Final = 7 * 24 * 3600 * 1000
_TIME: Final = "%Y%m%dT%H%M%S"
_NAME: Final = re.compile(DIVERGED_PREFIX + r"[0-9]{1,19}-([0-9]{8}T[0-9]{6})\.([0-9]{3})Z\.sqlite")


class Diverged:
    """Those of one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def keep(self, database: Path, *, epoch: int, now_ms: int) -> Path:
        """Give a database that is one file, and that nobody has open, another name as well.

        Its own name may be taken from it then, in one step.

        Raises:
            LocalIoError: the disk did not take it, or has no second names for files.
        """
        second = datetime.fromtimestamp(now_ms // 1000, UTC).strftime(_TIME)
        aside = self._data / f"{DIVERGED_PREFIX}{epoch}-{second}.{now_ms % 1000:03}Z.sqlite"
        try:
            os.link(database, aside)
            sync_folder(self._data)
        except OSError as exc:
            raise LocalIoError(f"cannot keep {database} aside: {exc.strerror or exc}") from exc
        return aside

    def undo(self, database: Path) -> None:
        """Take the second name from a database that still has its own: a crash came in between.

        Else what is said to be of then would go on being written.

        Raises:
            LocalIoError: the disk does not allow it.
        """
        try:
            for each in self.all():
                if database.exists() and each.samefile(database):
                    each.unlink()
        except OSError as exc:
            raise LocalIoError(f"cannot tidy {self._data}: {exc.strerror or exc}") from exc

    def forget(self, *, now_ms: int) -> list[str]:
        """Remove those that were kept for long enough, or are too many; their names.

        Raises:
            LocalIoError: the disk does not allow it.
        """
        newest_first = self.all()[::-1]
        old = [each for each in newest_first if _set_aside_ms(each) <= now_ms - KEPT_MS]
        gone = {*newest_first[KEPT_MAX:], *old}
        try:
            for each in gone:
                each.unlink(missing_ok=True)
        except OSError as exc:
            raise LocalIoError(f"cannot tidy {self._data}: {exc.strerror or exc}") from exc
        return sorted(each.name for each in gone)

    def all(self) -> list[Path]:
        """What is there, the oldest first."""
        return sorted(
            (each for each in self._data.iterdir() if _NAME.fullmatch(each.name)),
            key=_set_aside_ms,
        )


def _set_aside_ms(file: Path) -> int:
    found = _NAME.fullmatch(file.name)
    assert found is not None
    at = datetime.strptime(found[1], _TIME).replace(tzinfo=UTC)
    return int(at.timestamp()) * 1000 + int(found[2])
