"""`dfs-datanode ls` and `verify`: what a data folder holds, read without the daemon.

Nothing is changed, so both may run beside a serving DataNode.  Output is a table, or one JSON
array with an object a block, written as it is found: memory stays flat for any folder.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import asdict

from dfs.base.errors import DfsError, ForeignFolder, LocalNotFound
from dfs.base.paths import printable
from dfs.base.records import StockEntry
from dfs.base.states import StoredState
from dfs.blockstore.layout import Layout
from dfs.blockstore.offline import list_offline, packed_files, verify_offline
from dfs.blockstore.reader import Verdict
from dfs.observe.exit_codes import EXIT_CORRUPT, EXIT_DONE

EXIT_UNREAD: Final = 141  # 128 + SIGPIPE, as for the commands
_LIST_HEAD: Final = (
    f"{'file':>8} {'part':>6} {'block':>16} {'gen':>8} {'bytes':>12} {'state':<8}"
    f" {'hash':<32} {'verified':<19} path\n"
)


def until_unread(listing: Callable[[], int]) -> int:
    """The listing's exit code; broken off quietly where its reader, like `head`, goes away."""
    try:
        code = listing()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit flushes again
        return EXIT_UNREAD
    return code


def list_folders(folders: Sequence[Path], *, as_json: bool, with_files: bool = False) -> int:
    """Print every block held, with what each pack holds where that is asked for.

    Raises:
        LocalNotFound, ForeignFolder: one is not there, or no data folder.
    """
    found = _existing(folders)  # refused before the table begins
    entries = ((folder, entry) for folder in found for entry in list_offline(folder))
    if as_json:
        _write_array(
            _entry_facts(entry) | (_files_facts(folder, entry) if with_files else {})
            for folder, entry in entries
        )
        return EXIT_DONE
    count, total_bytes = 0, 0
    sys.stdout.write(_LIST_HEAD)
    for folder, entry in entries:
        sys.stdout.write(_entry_line(entry))
        if with_files:
            sys.stdout.writelines(_file_lines(folder, entry))
        count, total_bytes = count + 1, total_bytes + entry.length_bytes
    sys.stdout.write(f"{count} blocks, {total_bytes} bytes\n")
    return EXIT_DONE


def verify_folders(folders: Sequence[Path], *, as_json: bool) -> int:
    """Read and hash every block again; the exit code says whether all are intact.

    Raises:
        LocalNotFound, ForeignFolder: one is not there, or no data folder.
    """
    seen = _Tally()
    verdicts = seen.counting(v for folder in _existing(folders) for v in verify_offline(folder))
    if as_json:
        _write_array(_verdict_facts(verdict) for verdict in verdicts)
    else:
        for verdict in verdicts:
            if not verdict.intact:
                sys.stdout.write(_bad_line(verdict))
        sys.stdout.write(f"{seen.count} blocks verified, {seen.bad} corrupt\n")
    return EXIT_CORRUPT if seen.bad else EXIT_DONE


class _Tally:
    def __init__(self) -> None:
        self.count = 0
        self.bad = 0

    def counting(self, verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
        for verdict in verdicts:
            self.count += 1
            self.bad += not verdict.intact
            yield verdict


def _existing(folders: Sequence[Path]) -> Sequence[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise LocalNotFound(f"no such folder: {folder}")
        if not Layout(folder).version.is_file():
            raise ForeignFolder(f"{folder} is no data folder of a DataNode")
    return folders


def _write_array(items: Iterable[Mapping[str, object]]) -> None:
    begin = "["
    for item in items:
        sys.stdout.write(f"{begin}\n{msgspec.json.encode(item, enc_hook=str).decode()}")
        begin = ","
    sys.stdout.write("[]\n" if begin == "[" else "\n]\n")


def _entry_facts(entry: StockEntry) -> dict[str, object]:
    rest = {
        "length_bytes": entry.length_bytes,
        "hash": entry.hash.hex(),
        "state": entry.state.value,
        "verified_ms": entry.verified_ms,
        "path": entry.path,
        "volume": entry.volume,
    }
    return asdict(entry.name) | rest


def _verdict_facts(verdict: Verdict) -> dict[str, object]:
    rest = {
        "intact": verdict.intact,
        "reason": verdict.reason,
        "length_bytes": verdict.length_bytes,
        "hash": verdict.hash.hex(),
        "state": verdict.state.value,
        "verified_ms": verdict.verified_ms,
    }
    return asdict(verdict.name) | rest


def _entry_line(entry: StockEntry) -> str:
    name, state = entry.name, entry.state
    digest = "-" if state is StoredState.CORRUPT and not any(entry.hash) else entry.hash.hex()
    return (
        f"{name.file:>8} {name.number:>6} {name.block:>16x} {name.generation:>8}"
        f" {entry.length_bytes:>12} {state.value:<8} {digest:<32} {_when(entry.verified_ms):<19}"
        f" {printable(entry.path)}\n"
    )


def _file_lines(folder: Path, entry: StockEntry) -> Iterator[str]:
    """The files in a pack as its own table has them, under its line."""
    try:
        for file in packed_files(folder, entry.name):
            yield (
                f"{'':>8} at {file.offset:>12} {file.length_bytes:>12} bytes {file.mode:>5o}"
                f" {file.hash.hex()} {_when(file.modified_ms):<19} {printable(file.path)}\n"
            )
    except DfsError as err:
        yield f"{'':>8} {err.message}\n"


def _files_facts(folder: Path, entry: StockEntry) -> dict[str, object]:
    try:
        files = packed_files(folder, entry.name)
    except DfsError as err:
        return {"files": [], "files_error": err.message}
    return {
        "files": [
            {
                "path": file.path,
                "offset": file.offset,
                "length_bytes": file.length_bytes,
                "hash": file.hash.hex(),
                "mode": file.mode,
                "modified_ms": file.modified_ms,
            }
            for file in files
        ]
    }


def _bad_line(verdict: Verdict) -> str:
    name = verdict.name
    return (
        f"corrupt ({verdict.reason}): file {name.file} part {name.number}"
        f" block {name.block:x} generation {name.generation}\n"
    )


def _when(at_ms: int) -> str:
    if not at_ms:
        return "never"
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")[:19]
    except (OverflowError, ValueError, OSError):  # a client may call any number a time
        return f"{at_ms} ms"
