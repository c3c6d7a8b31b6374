"""What NameNodes tell this DataNode to do, done one at a time beside the beats.

A command is done once however often it is repeated, acknowledged to the NameNode that gave it, and
repeated by that NameNode until the acknowledgement arrives; so nothing here needs to outlive the
process.  One that cannot be done is answered with why, and forgotten: its giver decides whether it
is worth another try.  A command of an epoch that is over is neither done nor answered: it is not
even queued, and what is queued goes when a higher epoch begins.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dfs.base.errors import DfsError, StaleEpoch
from dfs.base.events import Emitter, Event
from dfs.base.records import CommandFailure, NodeCommand
from dfs.nodes.loops import Loop
from dfs.nodes.orders import Order
from dfs.nodes.standing import Standing

COMMANDS_MAX: Final = 10_000
FAILURES_MAX: Final = 10_000
IDLE_S: Final = 60.0

# What obeys each order; `Order.REPORT` is obeyed by the conversation it came in.
Handlers = Mapping[str, Callable[[NodeCommand], None]]


@dataclass(frozen=True, slots=True)
class _Order:
    giver: str
    command: NodeCommand
    report: Callable[[], None]


class CommandRunner:
    """Takes commands from the beats, does them in one thread, remembers what to acknowledge."""

    def __init__(self, *, handlers: Handlers, standing: Standing, emit: Emitter) -> None:
        self._handlers = handlers
        self._standing = standing
        self._emit = emit
        self._lock = threading.Lock()
        self._orders: deque[_Order] = deque()
        self._known: set[tuple[str, int]] = set()
        self._done: dict[str, list[int]] = {}
        self._failed: dict[str, list[CommandFailure]] = {}
        self._fenced: dict[str, int] = {}  # by giver, the epoch whose end the log was told
        self._loop = Loop("commands", self._turn)
        standing.on_new_epoch(self._fence)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self, join_s: float) -> None:
        """Finish the command under way and do no more; givers repeat the rest."""
        self._loop.stop()
        self._loop.join(join_s)

    def take(
        self,
        giver: str,
        epoch: int,
        commands: Sequence[NodeCommand],
        report: Callable[[], None],
    ) -> None:
        """Queue commands; those known or beyond the bound are left for their giver to repeat.

        Args:
            giver: the NameNode's address.
            epoch: in which it gave them; when that is over they are dropped, whatever they say.
            report: makes this DataNode send that NameNode its full stock.
        """
        highest = self._standing.epoch
        valid = [each for each in commands if min(epoch, each.epoch) >= highest]
        if len(valid) < len(commands):
            over = min(epoch, *(each.epoch for each in commands))
            self._note_fenced(giver, over, f"epoch {over} is over: {highest} was seen")
        with self._lock:
            for command in valid[: COMMANDS_MAX - len(self._orders)]:
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

    def to_confess(self, giver: str) -> list[CommandFailure]:
        """The commands of that NameNode which could not be done, until it has heard of them."""
        with self._lock:
            return list(self._failed.get(giver, ()))

    def confessed(self, giver: str, failures: Sequence[CommandFailure]) -> None:
        """That NameNode has heard of them: it may give them again."""
        heard = {failure.command for failure in failures}
        with self._lock:
            left = [f for f in self._failed.get(giver, []) if f.command not in heard]
            self._failed[giver] = left
            self._known -= {(giver, command) for command in heard}

    def forget(self, giver: str) -> None:
        """That NameNode is not spoken to any more."""
        with self._lock:
            self._done.pop(giver, None)
            self._failed.pop(giver, None)
            self._known = {key for key in self._known if key[0] != giver}
            self._fenced.pop(giver, None)
            self._orders = deque(order for order in self._orders if order.giver != giver)

    def _fence(self, epoch: int) -> None:
        """A higher epoch began: drop what older ones ordered."""
        with self._lock:
            stale = [order for order in self._orders if order.command.epoch < epoch]
            self._orders = deque(order for order in self._orders if order.command.epoch >= epoch)
            self._known -= {(order.giver, order.command.command) for order in stale}
        for order in stale:
            over = order.command.epoch
            self._note_fenced(order.giver, over, f"epoch {over} is over: {epoch} begins")

    def _note_fenced(self, giver: str, epoch: int, why: str) -> None:
        """Say once that nothing is done any more which a NameNode ordered in that epoch."""
        with self._lock:
            said = self._fenced.get(giver, -1) >= epoch
            self._fenced[giver] = max(epoch, self._fenced.get(giver, -1))
        if not said:
            self._emit.emit(Event.COMMAND_FENCED, giver=giver, epoch=epoch, why=why)

    def _turn(self) -> float:
        with self._lock:
            order = self._orders.popleft() if self._orders else None
        if order is None:
            return IDLE_S
        failure = self._perform(order)
        giver, number = order.giver, order.command.command
        with self._lock:
            if failure is None:
                self._done.setdefault(giver, []).append(number)
            elif failure.code == StaleEpoch.code or self._is_full(giver):
                self._known.discard((giver, number))  # its giver may repeat it
            else:
                self._failed.setdefault(giver, []).append(failure)
        return 0.0

    def _is_full(self, giver: str) -> bool:
        return len(self._failed.get(giver, ())) >= FAILURES_MAX

    def _perform(self, order: _Order) -> CommandFailure | None:
        command = order.command
        try:
            with self._standing.obeying(command.epoch):
                self._obey(order)
        except StaleEpoch as err:
            self._note_fenced(order.giver, command.epoch, err.message)
            return CommandFailure(command.command, err.code, err.message)
        except DfsError as err:
            self._emit.emit(
                Event.BLOCK_REFUSED,
                command=command.command,
                verb=command.verb,
                code=err.code,
                why=err.message,
            )
            return CommandFailure(command.command, err.code, err.message)
        return None

    def _obey(self, order: _Order) -> None:
        if order.command.verb == Order.REPORT:
            order.report()
        elif (handler := self._handlers.get(order.command.verb)) is not None:
            handler(order.command)
        # A verb of a newer NameNode: acknowledged so that it is not repeated for ever.
