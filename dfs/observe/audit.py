"""The audit trail: one JSON line for every login, refusal and change - who, from where, what, how.

Lines are appended and flushed by one lock; values are JSON-escaped, so a name with a newline
cannot forge a line.  The newest lines can be read back without reading the whole file.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from dfs.base.clock import Clock
from dfs.base.decoding import json_reader
from dfs.base.errors import LocalIoError

READ_BACK_BYTES: Final = 4 * 1024 * 1024
ROTATE_BYTES: Final = 256 * 1024 * 1024


class AuditTrail:
    """Appends to one file; rotates it once to `<file>.1` at 256 MiB.

    Raises:
        LocalIoError: the file cannot be written.
    """

    def __init__(self, file: Path, *, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._open()
        except OSError as exc:
            raise LocalIoError(f"cannot write the audit trail {file}: {exc.strerror}") from exc
        self.lost = 0  # lines that the disk did not take

    def record(
        self, *, user: str, address: str, action: str, path: str, outcome: str, **facts: object
    ) -> None:
        """Write one line.  `outcome` is `ok` or the error code of the refusal.

        It tells of what is done already, so a disk that does not take it cannot undo that: the line
        is counted in `lost`, which `/health` shows.
        """
        line: dict[str, object] = {
            "at_ms": self._clock.now_ms(),
            "user": user,
            "address": address,
            "action": action,
            "path": path,
            "outcome": outcome,
        }
        raw = msgspec.json.encode(line | facts, enc_hook=str) + b"\n"
        with self._lock:
            try:
                self._append(raw)
            except OSError:
                self.lost += 1

    def newest(self, *, limit: int, user: str = "") -> list[dict[str, object]]:
        """The newest lines, newest first, from the last 4 MiB of the file."""
        found: list[dict[str, object]] = []
        for line in self._backwards():
            if not user or line.get("user") == user:
                found.append(line)
            if len(found) >= limit:
                break
        return found

    def close(self) -> None:
        """Stop; further records are refused by the operating system."""
        with self._lock:
            os.close(self._fd)

    def _append(self, raw: bytes) -> None:
        os.write(self._fd, raw)
        if os.fstat(self._fd).st_size > ROTATE_BYTES:
            self._file.replace(self._file.with_name(self._file.name + ".1"))
            full, self._fd = self._fd, self._open()
            os.close(full)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._file, flags, 0o600)

    def _backwards(self) -> Iterator[dict[str, object]]:
        with self._file.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - READ_BACK_BYTES))
            raw = source.read(READ_BACK_BYTES)
        for line in reversed(raw.splitlines()):
            try:
                yield json_reader(dict[str, object])(line)
            except msgspec.MsgspecError:
                continue  # the first, cut line of the window
