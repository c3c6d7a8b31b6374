"""Numbers that a lost part of history may have given away, and that nobody gives again.

When a NameNode goes on from an old copy of its database, DataNodes may hold blocks that only the
lost transactions knew.  Their numbers are skipped, and remembered here, so that such a block file
is never taken for rubbish: it is the only trace of what was written.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, select

from dfs.meta.cluster_tables import SEQUENCE, SETTING
from dfs.meta.tables import STRAY
from dfs.meta.txn import Txn

SETTING_KEY: Final = "lost_ids"
# So far beyond any number that was given in one history that nobody has to know the highest.
LEAP: Final = 1 << 32
_NODES_LEAP: Final = 1 << 10
_BLOCK, _GENERATION = "block", "generation"
_LEAPS: Final = {
    _BLOCK: LEAP,
    _GENERATION: LEAP,
    "inode": LEAP,
    "node": _NODES_LEAP,
}


class _Skipped(msgspec.Struct, frozen=True):
    """Numbers from `first` up to, but without, `end`."""

    first: int
    end: int


class _Skip(msgspec.Struct, frozen=True):
    blocks: _Skipped
    generations: _Skipped


@dataclass(frozen=True, slots=True)
class LostIds:
    """The ranges of block ids and generations that were skipped."""

    blocks: tuple[range, ...] = ()
    generations: tuple[range, ...] = ()

    def has(self, block: int, generation: int) -> bool:
        """Whether only a lost part of history can have made that."""
        return any(block in each for each in self.blocks) or any(
            generation in each for each in self.generations
        )


def read_lost_ids(connection: Connection) -> LostIds:
    """What was skipped so far."""
    skips = _read(connection)
    return LostIds(
        tuple(range(skip.blocks.first, skip.blocks.end) for skip in skips),
        tuple(range(skip.generations.first, skip.generations.end) for skip in skips),
    )


def skip_lost_ids(txn: Txn) -> LostIds:
    """Never give a number that the lost history may have given; all that was skipped so far."""
    taken = {}
    for sequence, count in _LEAPS.items():
        first = txn.take(sequence, count)
        taken[sequence] = _Skipped(first, first + count)
    skips = [*_read(txn.connection), _Skip(taken[_BLOCK], taken[_GENERATION])]
    txn.put(SETTING, {"key": SETTING_KEY, "value": msgspec.json.encode(skips).decode()})
    return read_lost_ids(txn.connection)


def _read(connection: Connection) -> list[_Skip]:
    wanted = select(SETTING.c.value).where(SETTING.c.key == SETTING_KEY)
    found = connection.execute(wanted).scalar()
    return [] if found is None else msgspec.json.decode(found, type=list[_Skip])


def unknown_numbers(connection: Connection) -> tuple[int, int] | None:
    """A stray block file whose number, or generation, was not given away yet: (node, block)."""
    next_of = {
        name: connection.execute(select(SEQUENCE.c.next).where(SEQUENCE.c.name == name)).scalar()
        or 1
        for name in (_BLOCK, _GENERATION)
    }
    wanted = (
        select(STRAY.c.node, STRAY.c.block)
        .where((STRAY.c.block >= next_of[_BLOCK]) | (STRAY.c.generation >= next_of[_GENERATION]))
        .limit(1)
    )
    row = connection.execute(wanted).first()
    return None if row is None else (row.node, row.block)
