"""What a verb is, and what it has in its hands while it runs.

A verb names its handler, the handler takes a `Context`, and the context knows the program whose
verb it is: one round of names, so they stand together.  They are named tuples, not dataclasses,
and import nothing that takes time, so that `--help` and `--version` answer at once.

A verb that works on many paths goes on after one that fails: `note` says the refusal at once and
keeps it, and the command exits with the code of the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO, TypeVar

from dfs.base.errors import BadPath, DfsError
from dfs.base.paths import absolute, home, parse
from dfs.cli.places import expand
from dfs.observe.exit_codes import EXIT_DENIED, EXIT_DONE, EXIT_UNAVAILABLE, exit_code

if TYPE_CHECKING:
    import argparse

    from dfs.base.clock import Clock
    from dfs.cli.connection import Connection
    from dfs.cli.output import Output
    from dfs.client import DfsClient
    from dfs.wire.routes import Route
    from dfs.wire.shapes import Outcomes, Request

    Q = TypeVar("Q", bound=Request)
T = TypeVar("T")
R = TypeVar("R")

ONLINE: Final = (EXIT_DENIED, EXIT_UNAVAILABLE)
BATCH_PATHS_MAX: Final = 1_000  # a request of that many paths stays well below the body limit


class Example(NamedTuple):
    """A command a reader may type as it stands, and what it does."""

    command: str
    meaning: str


class Verb(NamedTuple):
    """One thing a program can be told to do."""

    name: str  # one word, or two as in "users add"
    group: str  # the heading it stands under in --help
    summary: str
    run: Callable[[Context], int]
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None
    description: str = ""
    examples: tuple[Example, ...] = ()
    exits: tuple[int, ...] = ONLINE
    own_exits: tuple[tuple[int, str], ...] = ()  # in place of `exits`, where codes mean otherwise
    human_flag: bool = False  # -h means human sizes here, as in ls, du and df
    hidden: bool = False
    may_be_stale: bool = False  # what a standby says will do, if asked for: --stale-ok


class Program(NamedTuple):
    """A command with verbs."""

    name: str
    summary: str
    verbs: Mapping[str, Verb]
    footer: str = ""


class Streams(NamedTuple):
    """The three streams of the process, or of a test."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO


class Place:
    """Where a shell stands; a single command stands in the user's home."""

    def __init__(self) -> None:
        self.directory: str | None = None


class Surroundings(NamedTuple):
    """What outlives a single command in a shell."""

    program: Program
    connection: Connection
    streams: Streams
    clock: Clock
    place: Place
    inherited: argparse.Namespace | None = None  # the global flags of the shell itself

    @property
    def environment(self) -> Mapping[str, str]:
        """The process environment, as the composition root read it."""
        return self.connection.environment


class Context:
    """One run of one verb."""

    def __init__(self, around: Surroundings, args: argparse.Namespace, out: Output) -> None:
        self.around = around
        self.args = args
        self.out = out
        self.first_failure: DfsError | None = None

    @property
    def program(self) -> Program:
        """Whose verb it is."""
        return self.around.program

    @property
    def stdin(self) -> TextIO:
        """Standard input."""
        return self.around.streams.stdin

    @property
    def clock(self) -> Clock:
        """Time."""
        return self.around.clock

    @property
    def connection(self) -> Connection:
        """The way to the cluster."""
        return self.around.connection

    @property
    def place(self) -> Place:
        """Where the shell stands."""
        return self.around.place

    @property
    def client(self) -> DfsClient:
        """The client library, connected on first use."""
        return self.connection.client(self.args)

    @property
    def mover(self) -> DfsClient:
        """The same for moving content: this process then keeps its buffers for more of it."""
        from dfs.wire.heap import keep_buffers  # noqa: PLC0415 - start-up time

        keep_buffers()
        return self.client

    @property
    def environment(self) -> Mapping[str, str]:
        """The process environment, as the composition root read it."""
        return self.connection.environment

    def call(self, route: Route[Q, R], body: Q) -> R:
        """Ask the NameNode one thing.

        Raises:
            DfsError: what it refuses.
        """
        return self.client.link.call(route, body)

    def note(self, error: DfsError) -> None:
        """Say a refusal and go on; the first one decides the exit code."""
        self.first_failure = self.first_failure or error
        self.out.error(error)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """A refusal inside is noted and ends the block, not the command."""
        try:
            yield
        except DfsError as exc:
            self.note(exc)

    def code(self) -> int:
        """What to exit with now."""
        return EXIT_DONE if self.first_failure is None else exit_code(self.first_failure)

    def directory(self) -> str:
        """Where relative remote paths begin."""
        if self.place.directory is None:
            self.place.directory = home(self.client.user)
        return self.place.directory

    def remote(self, path: str) -> str:
        """The absolute path meant; `.` and `..` are understood, patterns are not.

        Raises:
            BadPath: it is empty, as an unset variable of a script is; not the home directory.  Or
                it is not UTF-8.
        """
        if not path:
            raise BadPath("an empty path names nothing", hint="'.' is the directory you are in")
        meant = absolute(path, "/" if path.startswith("/") else self.directory())
        if not path.isascii():
            parse(meant)
        return meant

    def remotes(self, paths: Sequence[str]) -> Iterator[str]:
        """Every path meant by paths and patterns; what cannot be looked up is noted."""
        for path in paths:
            with self.going_on():
                yield from expand(self.remote(path), self.client)

    def outcomes_of(
        self,
        route: Route[Q, Outcomes[T]],
        paths: Sequence[str],
        request: Callable[[list[str]], Q],
    ) -> Iterator[tuple[str, T | DfsError]]:
        """Ask about many paths in few requests; each path's answer or refusal, in order.

        Raises:
            DfsError: a whole request was refused.
        """
        from dfs.client.namenode_link import error_of, value_of  # noqa: PLC0415 - start-up time

        for at in range(0, len(paths), BATCH_PATHS_MAX):
            some = list(paths[at : at + BATCH_PATHS_MAX])
            outcomes = self.call(route, request(some)).outcomes
            for path, outcome in zip(some, outcomes, strict=True):
                yield path, error_of(outcome) if outcome.error else value_of(outcome)

    def ask_many(
        self,
        route: Route[Q, Outcomes[T]],
        paths: Sequence[str],
        request: Callable[[list[str]], Q],
    ) -> Iterator[tuple[str, T]]:
        """As `outcomes_of`, with refusals noted and left out."""
        for path, value in self.outcomes_of(route, paths, request):
            if isinstance(value, DfsError):
                self.note(value)
            else:
                yield path, value
