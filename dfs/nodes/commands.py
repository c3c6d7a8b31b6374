"""What NameNodes tell this DataNode to do, done one at a time beside the beats.

A command is done once however often it is repeated, acknowledged to the NameNode that gave it, and
repeated by that NameNode until the acknowledgement arrives; so nothing here needs to outlive the
process.  A command of an epoch that is over is not done and not acknowledged.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dfs.base import crashpoint
from dfs.base.errors import DfsError, StaleEpoch
from dfs.base.events import Emitter, Event
from dfs.base.records import BlockName, NodeCommand
from dfs.nodes.loops import Loop
from dfs.nodes.standing import Standing

COMMANDS_MAX: Final = 10_000
IDLE_S: Final = 60.0


class Deleter(Protocol):
    """What a command needs of the disk."""

    def delete(self, name: BlockName) -> bool:
        """Retire that generation to the purge area; False when it was not here."""
        ...


@dataclass(frozen=True, slots=True)
class _Order:
    giver: str
    command: NodeCommand
    report: Callable[[], None]


class CommandRunner:
    """Takes commands from the beats, does them in one thread, remembers what to acknowledge."""

    def __init__(self, *, disk: Deleter, standing: Standing, emit: Emitter) -> None:
        self._disk = disk
        self._standing = standing
        self._emit = emit
        self._lock = threading.Lock()
        self._orders: deque[_Order] = deque()
        self._known: set[tuple[str, int]] = set()
        self._done: dict[str, list[int]] = {}
        self._loop = Loop("commands", self._turn)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self, join_s: float) -> None:
        """Finish the command under way and do no more; givers repeat the rest."""
        self._loop.stop()
        self._loop.join(join_s)

    def take(self, giver: str, commands: Sequence[NodeCommand], report: Callable[[], None]) -> None:
        """Queue commands; those known or beyond the bound are left for their giver to repeat.

        Args:
            giver: the NameNode's address.
            report: makes this DataNode send that NameNode its full stock.
        """
        with self._lock:
            for command in commands[: COMMANDS_MAX - len(self._orders)]:
                key = (giver, command.command)
                if key not in self._known:
                    self._known.add(key)
                    self._orders.append(_Order(giver, command, report))
        self._loop.wake()

    def to_acknowledge(self, giver: str) -> list[int]:
        """The commands of that NameNode which are done and not yet known there to be."""
        with self._lock:
            return list(self._done.get(giver, ()))

    def acknowledged(self, giver: str, commands: Sequence[int]) -> None:
        """That NameNode has heard of them: forget them."""
        heard = set(commands)
        with self._lock:
            self._done[giver] = [c for c in self._done.get(giver, []) if c not in heard]
            self._known -= {(giver, command) for command in heard}

    def _turn(self) -> float:
        with self._lock:
            order = self._orders.popleft() if self._orders else None
        if order is None:
            return IDLE_S
        done = self._perform(order)
        key = (order.giver, order.command.command)
        with self._lock:
            if done:
                self._done.setdefault(order.giver, []).append(order.command.command)
            else:
                self._known.discard(key)  # its giver may repeat it
        return 0.0

    def _perform(self, order: _Order) -> bool:
        command = order.command
        try:
            self._standing.admit_epoch(command.epoch)
            self._obey(command, order.report)
        except StaleEpoch as err:
            self._emit.emit(
                Event.COMMAND_FENCED, command=command.command, giver=order.giver, why=err.message
            )
            return False
        except DfsError as err:
            self._emit.emit(
                Event.BLOCK_REFUSED, command=command.command, code=err.code, why=err.message
            )
            return False
        return True

    def _obey(self, command: NodeCommand, report: Callable[[], None]) -> None:
        if command.verb == "report":
            report()
        elif command.verb == "delete" and command.block is not None:
            self._disk.delete(command.block)
            crashpoint.reach("dn.command.deleted")
        # A verb of a newer NameNode: acknowledged so that it is not repeated for ever.
