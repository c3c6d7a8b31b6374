"""Pure: what clients did to a cluster, and what they were told, as values and as JSON lines.

An operation has the time at which it was asked for and that at which it was answered, by one clock
for all clients.  One without an answer may have taken effect, may do so later, at any time, or
never.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from dfs.base.decoding import json_reader


class Verb(StrEnum):
    """What a client asked for."""

    WRITE = "write"  # of a value that no other write of that path has, over whatever is there
    READ = "read"
    CREATE = "create"  # where nothing is
    ADD = "add"  # the path is there from then on, whether it was before or not
    REMOVE = "remove"  # where something is
    LIST = "list"  # the names in a folder, all of them


class Answer(StrEnum):
    """What it was told."""

    OK = "ok"
    EXISTS = "exists"  # to a create
    MISSING = "missing"  # to a read or remove
    REFUSED = "refused"  # it did not take effect and never will
    UNKNOWN = "unknown"


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation of one client.

    Attributes:
        path: of a listing, the folder.
        begin_s, end_s: when it was asked for and answered; no end where the client gave up.
        value: what was written or read.
        names: what was listed, without the folder.
    """

    client: int
    verb: Verb
    path: str
    begin_s: float
    end_s: float | None = None
    answer: Answer = Answer.OK
    value: str | None = None
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what cannot have happened."""
        if (self.end_s is None) != (self.answer is Answer.UNKNOWN):
            raise ValueError("an operation has no end where its answer is unknown, and only there")
        if self.end_s is not None and self.end_s < self.begin_s:
            raise ValueError("an answer comes after the question")

    @property
    def is_known(self) -> bool:
        """Whether it was answered, and took effect or saw something."""
        return self.answer not in (Answer.UNKNOWN, Answer.REFUSED)

    @property
    def done_s(self) -> float:
        """When it was over; never, for what may take effect at any time."""
        return float("inf") if self.end_s is None else self.end_s

    def precedes(self, other: "Operation") -> bool:
        """Whether it was over before the other was asked for."""
        return self.done_s < other.begin_s

    def __str__(self) -> str:
        """For a person: who asked what, when, and what came of it."""
        until = "no answer" if self.end_s is None else f"{self.end_s:.6f}"
        asked = f"{self.verb} {self.path}"
        if self.verb is Verb.WRITE:
            asked += f" := {self.value}"
        told = str(self.answer)
        if self.is_known and self.verb is Verb.READ:
            told = str(self.value) if self.answer is Answer.OK else "absent"
        elif self.is_known and self.verb is Verb.LIST:
            told = f"{len(self.names)} names"
        return f"[{self.begin_s:.6f} .. {until}] client {self.client}: {asked} -> {told}"


def to_line(operation: Operation) -> bytes:
    """The operation as a line of JSON."""
    return msgspec.json.encode(operation) + b"\n"


def from_lines(lines: Iterable[bytes]) -> list[Operation]:
    """The operations of such lines; a last one that was cut off is none.

    A client does one thing at a time: what it began at the same moment is the same operation, told
    again with what came of it.

    Raises:
        msgspec.DecodeError: a line is none of ours.
    """
    told = (json_reader(Operation)(line) for line in lines if line.endswith(b"\n"))
    return list({(one.client, one.begin_s): one for one in told}.values())
