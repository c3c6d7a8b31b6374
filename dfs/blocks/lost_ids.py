"""Numbers that a lost part of history may have given away, and that nobody gives again.

When a NameNode goes on from an old copy of its database, DataNodes may hold blocks that only the
lost transactions knew.  Their numbers are skipped, and remembered here, so that such a block file
is never taken for rubbish: it is the only trace of what was written.

How many are skipped is chance, and never fewer than reach beyond every block file that is known of:
whoever goes on from the same old copy a second time must not give the numbers that were given after
the first.  A number beyond all reason is no sign of a lost history: nobody could ever skip that.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, func, or_, select

from dfs.base.decoding import json_reader
from dfs.base.entropy import SystemRandom
from dfs.meta.cluster_tables import NODE, SEQUENCE, SETTING
from dfs.meta.tables import STRAY
from dfs.meta.txn import Txn

SETTING_KEY: Final = "lost_ids"
# So far beyond any number that was given in one history that nobody has to know the highest.
LEAP: Final = 1 << 32
_CHANCE_BITS: Final = 40
# A block file whose number is further ahead was not made by any history of this cluster.
AHEAD_MAX: Final = 1 << 48
_NODES_LEAP: Final = 1 << 10
_BLOCK, _GENERATION = "block", "generation"
_LEAPS: Final = {
    _BLOCK: LEAP,
    _GENERATION: LEAP,
    "inode": LEAP,
    "node": _NODES_LEAP,
}
_COLUMNS: Final = {_BLOCK: STRAY.c.block, _GENERATION: STRAY.c.generation}


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
    for sequence, least in _LEAPS.items():
        count = max(least, _ahead(txn.connection, sequence) + LEAP)
        if least == LEAP:
            count += SystemRandom().getrandbits(_CHANCE_BITS)
        first = txn.take(sequence, count)
        taken[sequence] = _Skipped(first, first + count)
    skips = [*_read(txn.connection), _Skip(taken[_BLOCK], taken[_GENERATION])]
    txn.put(SETTING, {"key": SETTING_KEY, "value": msgspec.json.encode(skips).decode()})
    return read_lost_ids(txn.connection)


def _ahead(connection: Connection, sequence: str) -> int:
    """By how much the numbers of block files that are known of are ahead of a sequence."""
    column = _COLUMNS.get(sequence)
    if column is None:
        return -LEAP
    following = _next_of(connection, sequence)
    wanted = select(func.max(column)).where(column < following + AHEAD_MAX)
    highest: int | None = connection.execute(wanted).scalar()
    return -LEAP if highest is None else highest + 1 - following


def _read(connection: Connection) -> list[_Skip]:
    wanted = select(SETTING.c.value).where(SETTING.c.key == SETTING_KEY)
    found = connection.execute(wanted).scalar()
    return [] if found is None else json_reader(list[_Skip])(found)


def _next_of(connection: Connection, sequence: str) -> int:
    wanted = select(SEQUENCE.c.next).where(SEQUENCE.c.name == sequence)
    return connection.execute(wanted).scalar() or 1


def unknown_numbers(connection: Connection) -> tuple[int, int] | None:
    """A stray block file whose number, or generation, was not given away yet: (node, block).

    Those of nodes that were removed, or with numbers that nobody can have given, are no sign.
    """
    ahead = [
        (column >= following) & (column < following + AHEAD_MAX)
        for sequence, column in _COLUMNS.items()
        for following in [_next_of(connection, sequence)]
    ]
    wanted = (
        select(STRAY.c.node, STRAY.c.block)
        .where(or_(*ahead), STRAY.c.node.in_(select(NODE.c.id)))
        .limit(1)
    )
    row = connection.execute(wanted).first()
    return None if row is None else (row.node, row.block)
