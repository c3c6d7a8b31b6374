"""Pure: where things lie in a data folder, and what a file's name says.

    VERSION  LOCK  node.json  epoch.json  namenodes.json  starts.json  CLEAN  catalog.sqlite
    voter.row  correspondents    (in one of the folders: `dfs.failover.voter_house`)
    blocks/<2 hex>/<file id>/<number>.<block id>.<generation>
    tmp/<id>.part
    quarantine/<file id>.<number>.<block id>.<generation>.<when>.<reason>
    purge/<day>/<file id>.<number>.<block id>.<generation>.<when>

The two hex digits are the low byte of the file id, so that files made one after another spread
over all 256 folders.  Ids are numbers before they are names: no text from outside reaches a path.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dfs.base.errors import BadRequest
from dfs.base.ids import BlockId, Generation, InodeId
from dfs.base.records import BlockName
from dfs.wire.codec import block_file_name

BUCKETS: Final = 256
ID_MAX: Final = (1 << 63) - 1  # what SQLite's integers hold
NUMBER_MAX: Final = (1 << 31) - 1
PART_SUFFIX: Final = ".part"

_FOLDER = re.compile(r"[0-9a-f]{16}")
_BLOCK = re.compile(r"([0-9]{6,10})\.([0-9a-f]{16})\.([0-9a-f]{16})")
_SET_ASIDE = re.compile(r"([0-9a-f]{16})\.(.+)\.([0-9]{1,15})(?:\.([a-z]+))?")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data folder."""

    root: Path

    @property
    def version(self) -> Path:
        """Says that this is a data folder, and of which version; written last when formatting."""
        return self.root / "VERSION"

    @property
    def lock(self) -> Path:
        """Locked by the process that serves the folder."""
        return self.root / "LOCK"

    @property
    def card(self) -> Path:
        """Whose folder this is; holds the node's secret."""
        return self.root / "node.json"

    @property
    def epoch(self) -> Path:
        """The highest epoch a NameNode was seen to lead with."""
        return self.root / "epoch.json"

    @property
    def namenodes(self) -> Path:
        """Which NameNodes there are besides those that are configured, as the leader told."""
        return self.root / "namenodes.json"

    @property
    def starts(self) -> Path:
        """How often the folder was opened."""
        return self.root / "starts.json"

    @property
    def clean(self) -> Path:
        """There while nobody serves the folder and the last one stopped in order."""
        return self.root / "CLEAN"

    @property
    def catalog(self) -> Path:
        """The SQLite catalog."""
        return self.root / "catalog.sqlite"

    @property
    def blocks(self) -> Path:
        """All published block files."""
        return self.root / "blocks"

    @property
    def tmp(self) -> Path:
        """Blocks being written; emptied at every start."""
        return self.root / "tmp"

    @property
    def quarantine(self) -> Path:
        """What cannot be trusted any more, kept."""
        return self.root / "quarantine"

    @property
    def purge(self) -> Path:
        """Deleted blocks in their grace period."""
        return self.root / "purge"

    def folders(self) -> tuple[Path, ...]:
        """The folders a block file is ever in: all on one file system, for link and rename."""
        return (self.blocks, self.tmp, self.quarantine, self.purge)

    def bucket(self, number: int) -> Path:
        """One of the 256 folders made at format time."""
        return self.blocks / f"{number:02x}"

    def file_folder(self, file: InodeId) -> Path:
        """Where the blocks of one file lie."""
        return self.bucket(bucket_of(file)) / f"{file:016x}"

    def block(self, name: BlockName) -> Path:
        """The published file of a block."""
        return self.file_folder(name.file) / block_file_name(name)

    def part(self, part_id: str) -> Path:
        """A block while it is being written."""
        return self.tmp / (part_id + PART_SUFFIX)

    def quarantined(self, name: BlockName, *, at_ms: int, reason: str) -> Path:
        """Where a bad block file is kept."""
        return self.quarantine / f"{name.file:016x}.{block_file_name(name)}.{at_ms}.{reason}"

    def retired(self, name: BlockName, *, at_ms: int) -> Path:
        """Where a deleted block file waits for the end of its grace."""
        folder = self.purge / self.purge_day(at_ms)
        return folder / f"{name.file:016x}.{block_file_name(name)}.{at_ms}"

    @staticmethod
    def purge_day(at_ms: int) -> str:
        """The folder below purge/ of what was deleted at that time; later days sort behind."""
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class SetAside:
    """What the name of a file in `quarantine/` or `purge/` says."""

    name: BlockName
    at_ms: int
    reason: str = ""


def bucket_of(file: InodeId) -> int:
    """Which of the 256 folders a file's folder is in."""
    return file % BUCKETS


def check_name(name: BlockName) -> None:
    """Refuse ids that no counter of a NameNode gives out.

    Raises:
        BadRequest: an id is below 1 or does not fit 63 bits, or the number does not fit 31.
    """
    for value in (name.file, name.block, name.generation):
        if not 1 <= value <= ID_MAX:
            raise BadRequest(f"a block's ids lie between 1 and {ID_MAX}, not {value}")
    if not 0 <= name.number <= NUMBER_MAX:
        raise BadRequest(f"a block's number lies between 0 and {NUMBER_MAX}, not {name.number}")


def is_possible(name: BlockName) -> bool:
    """Whether any counter of a NameNode could have given these ids; see `check_name`."""
    ids = (name.file, name.block, name.generation)
    return all(1 <= value <= ID_MAX for value in ids) and 0 <= name.number <= NUMBER_MAX


def parse_folder(bucket: str, folder: str) -> InodeId | None:
    """The file whose blocks lie in `blocks/<bucket>/<folder>`; None for a stray folder."""
    if _FOLDER.fullmatch(folder) is None or bucket != folder[-2:]:
        return None
    file = int(folder, 16)
    return InodeId(file) if 1 <= file <= ID_MAX else None


def parse_block(bucket: str, folder: str, file_name: str) -> BlockName | None:
    """The block that `blocks/<bucket>/<folder>/<file_name>` holds; None for a stray file."""
    if _FOLDER.fullmatch(folder) is None or bucket != folder[-2:]:
        return None
    return _parse(folder, file_name)


def parse_set_aside(file_name: str) -> SetAside | None:
    """What a file in quarantine or purge was; None for anything that is not a block."""
    match = _SET_ASIDE.fullmatch(file_name)
    if match is None:
        return None
    name = _parse(match[1], match[2])
    return None if name is None else SetAside(name, int(match[3]), match[4] or "")


def _parse(folder: str, file_name: str) -> BlockName | None:
    match = _BLOCK.fullmatch(file_name)
    if match is None:
        return None
    file, block, generation = int(folder, 16), int(match[2], 16), int(match[3], 16)
    name = BlockName(InodeId(file), int(match[1]), BlockId(block), Generation(generation))
    return name if is_possible(name) and block_file_name(name) == file_name else None
