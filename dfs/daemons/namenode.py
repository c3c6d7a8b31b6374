"""`dfs-namenode`: its command line, and the first start of a cluster.

What runs is built by `namenode_process.py`; this module says what each command does before and
around that.  A first start that is to join a cluster does that (`namenode_joining.py`).  One that
makes a cluster, whether by `serve` or `init`, goes in this order:

    1 the database file has its tables           (one transaction of the migrations)
    2 the admin's one-time password is on disk   (0600, in the data folder)
    3 the cluster exists                         (one transaction: id, epoch, root, accounts)
    4 the password and the next commands are shown

A crash in between leaves nothing that the next start does not finish.
"""

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dfs import __version__
from dfs.accounts.passwords import Passwords
from dfs.base import crashpoint
from dfs.base.clock import Clock, SystemClock
from dfs.base.entropy import new_id, new_password
from dfs.base.events import Event
from dfs.daemons.join_arguments import add_join_token, add_machine, join_token, urls_argument
from dfs.daemons.lifecycle import (
    StopRequest,
    announce,
    parse_arguments,
    port_argument,
    require_listenable,
    run_guarded,
    tune_interpreter,
    watch_threads,
)
from dfs.daemons.namenode_ballot import (
    Ballot,
    ballot_alone,
    copies_remembered,
    found_ballot,
    timers_of,
    wants_to_join,
)
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.namenode_joining import join_cluster
from dfs.daemons.namenode_process import PROGRAM, NamenodeProcess
from dfs.daemons.namenode_reign import cluster_id, open_database
from dfs.failover.member_rows import read_roll
from dfs.meta import upgrade as schema
from dfs.meta.session import Reader, reader_engine
from dfs.meta.soundness import Soundness
from dfs.meta.writer import Writer, epoch_of
from dfs.namespace.genesis import create_cluster
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED
from dfs.observe.logs import Log
from dfs.settings.read import Overrides, read_config
from dfs.settings.sections import Config

PRIVATE_UMASK: Final = 0o077
VITAL_THREADS: Final = ("meta-writer", "http", "member", "voter", "letters ", "helm", "roll")


@dataclass(frozen=True, slots=True)
class Outside:
    """What every command works with."""

    config: Config
    log: Log
    clock: Clock


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    asked = parse_arguments(build_parser(), sys.argv[1:] if arguments is None else arguments)
    if isinstance(asked, int):
        return asked
    os.umask(PRIVATE_UMASK)
    environment = dict(os.environ)
    return run_guarded(PROGRAM, lambda: _run(asked, environment))


def _run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    outside = _outside(asked, environment)
    match asked.command:
        case "init":
            body = functools.partial(init, outside)
        case "upgrade":
            body = functools.partial(upgrade, outside, check=asked.check)
        case _:
            body = functools.partial(
                serve, outside, functools.partial(join_token, asked, environment)
            )
    return run_guarded(PROGRAM, body, bugs=outside.log)


def serve(outside: Outside, token: Callable[[], str]) -> int:
    """Run the daemon; the exit code when it has stopped.

    Args:
        token: asked for where it joins a cluster, and only then.

    Raises:
        DfsError: it cannot start, or its database failed.
    """
    timers_of(outside.config.ha)  # those that contradict each other, before anything is made
    tune_interpreter()
    stop = StopRequest()
    stop.install()
    bugs = watch_threads(outside.log, stop, vital=VITAL_THREADS)
    with contextlib.closing(_folder(outside.config)) as folder:
        require_listenable(outside.config.namenode.host, outside.config.namenode.port)
        soundness = Soundness(folder.database, clock=outside.clock)
        ballot = _ballot(folder, outside, token, stop)
        if ballot is None:
            return EXIT_DONE
        with copies_remembered(folder, ballot.row):
            if folder.database.exists():
                soundness.prove_for_start()
            process = NamenodeProcess(
                outside.config,
                folder,
                log=outside.log,
                clock=outside.clock,
                soundness=soundness,
                ballot=ballot,
            )
        process.run(stop)
    return EXIT_FAILED if bugs else EXIT_DONE


def _ballot(
    folder: NamenodeFolder, outside: Outside, token: Callable[[], str], stop: StopRequest
) -> Ballot | None:
    """As which member this NameNode runs; None when it was told to stop before it knew.

    Raises:
        DfsError: it is not let in, or its folder cannot be used.
    """
    config = outside.config
    found = found_ballot(folder, config)
    if found is not None:
        with copies_remembered(folder, found.row):
            if folder.database.exists():
                schema.require_current(folder.database)
        return found
    if wants_to_join(config) and not folder.database.exists():
        return join_cluster(
            folder,
            config,
            token=token(),
            clock=outside.clock,
            emit=outside.log,
            stopped=lambda: stop.asked,
        )
    _make_ready(folder, outside)
    return make_ballot(folder, outside)


def make_ballot(folder: NamenodeFolder, outside: Outside) -> Ballot:
    """The first row of a NameNode alone, from its database.

    Raises:
        MetadataCorrupt: it is not alone.
    """
    reader = Reader(reader_engine(folder.database, connections=1))
    with contextlib.closing(reader), reader.view() as connection:
        return ballot_alone(
            folder,
            outside.config,
            cluster=cluster_id(connection),
            epoch=epoch_of(connection),
            roll=read_roll(connection),
        )


def init(outside: Outside) -> int:
    """Make the cluster and end; one that is there already stays as it is.

    Raises:
        DfsError: it cannot be made.
    """
    with contextlib.closing(_folder(outside.config)) as folder:
        if not _make_ready(folder, outside):
            announce(f"{PROGRAM}: {folder.root} holds a cluster already")
    return EXIT_DONE


def upgrade(outside: Outside, *, check: bool) -> int:
    """Bring the database to this program's schema, after a checked backup.

    Raises:
        DfsError: it cannot be done; the database is as it was.
    """
    with contextlib.closing(_folder(outside.config)) as folder:
        if check:
            announce(_foretell(folder))
            return EXIT_DONE
        done = schema.upgrade(folder.database, folder.backups, outside.clock)
        if done.before == done.after:
            announce(f"{PROGRAM}: {folder.database} is at schema {done.after} already")
            return EXIT_DONE
        outside.log.emit(Event.DATABASE_UPGRADED, before=done.before, after=done.after)
        before, kept = done.before or "nothing", f" (backup: {done.backup})" if done.backup else ""
        announce(f"{PROGRAM}: {folder.database} went from {before} to schema {done.after}{kept}")
    return EXIT_DONE


def _foretell(folder: NamenodeFolder) -> str:
    """What `upgrade` would do."""
    match schema.schema_state(folder.database):
        case schema.Current(revision):
            return f"{PROGRAM}: nothing to do: {folder.database} is at schema {revision}"
        case schema.Behind(revision, revisions):
            steps = " ".join(revisions)
            return (
                f"{PROGRAM}: would back up {folder.database} to {folder.backups}, "
                f"then go from schema {revision} to {steps}"
            )
        case schema.Empty():
            return f"{PROGRAM}: would make {folder.database}"
        case schema.Ahead():
            schema.require_current(folder.database)
    raise AssertionError("a newer schema is always refused")


def _outside(asked: argparse.Namespace, environment: Mapping[str, str]) -> Outside:
    config = read_config(file=asked.config, environment=environment, overrides=_overrides(asked))
    crashpoint.arm(environment)
    log = Log(process="namenode", level=config.logging.level, file=config.logging.file)
    return Outside(config, log, SystemClock())


def _folder(config: Config) -> NamenodeFolder:
    return NamenodeFolder(Path(config.namenode.data))


def _make_ready(folder: NamenodeFolder, outside: Outside) -> bool:
    """See that the database has this program's schema and a cluster; True when it was made now.

    Raises:
        SchemaMismatch: it has another schema.
        DfsError: it cannot be made.
    """
    if isinstance(schema.schema_state(folder.database), schema.Empty):
        schema.upgrade(folder.database, folder.backups, outside.clock)
        crashpoint.reach("nn.init.tables")
    schema.require_current(folder.database)
    database = open_database(
        folder.database,
        config=outside.config,
        clock=outside.clock,
        log=outside.log,
        on_fatal=lambda _reason: None,  # the caller gets the error
    )
    with contextlib.closing(database):
        with database.reader.view() as connection:
            if cluster_id(connection):
                return False
        _create(folder, outside, database.writer)
    return True


def _create(folder: NamenodeFolder, outside: Outside, writer: Writer) -> None:
    """The order of a first start, from its second step on."""
    cluster, password = new_id(), new_password()
    hashed = Passwords(hashes_at_once=1).hash(password)
    folder.keep_password(password)
    create_cluster(writer, cluster=cluster, password_hash=hashed)
    crashpoint.reach("nn.init.created")
    outside.log.emit(Event.CLUSTER_CREATED, cluster=cluster)
    host, port = outside.config.namenode.host, outside.config.namenode.port
    announce(
        _GREETING.format(
            program=PROGRAM,
            cluster=cluster,
            password=password,
            file=folder.password,
            url=f"http://{host}:{port}",
        )
    )


_GREETING: Final = """\
{program}: made cluster {cluster}

  The administrator is `admin`, with this one-time password (also in {file}):

      {password}

  How to go on, with this NameNode serving:

      export DFS_NAMENODE={url}
      dfs login admin          # the password above
      dfs passwd               # and your own in its place
      dfs-admin join-token     # a token with which a DataNode may join
      dfs-datanode serve --data FOLDER --join-token TOKEN
"""


def _overrides(asked: argparse.Namespace) -> Overrides:
    verbose, quiet = getattr(asked, "verbose", False), getattr(asked, "quiet", False)
    flags = {
        ("namenode", "data"): None if asked.data is None else str(asked.data),
        ("namenode", "host"): getattr(asked, "host", None),
        ("namenode", "port"): getattr(asked, "port", None),
        ("ha", "role"): getattr(asked, "role", None),
        ("ha", "machine"): getattr(asked, "machine", None),
        ("ha", "peers"): urls_argument(getattr(asked, "peers", None)),
        ("logging", "level"): "debug" if verbose else "warning" if quiet else None,
    }
    return {key: value for key, value in flags.items() if value is not None}


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag of `dfs-namenode`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="The NameNode of DFS: knows names, and where blocks are."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = _add_command(commands, "serve", "run the daemon; the first start makes the cluster")
    serving.add_argument("--host", metavar="H", help="address to listen on")
    serving.add_argument(
        "--port", type=port_argument, metavar="P", help="of the REST interface; 0: any"
    )
    serving.add_argument(
        "--role",
        choices=("auto", "primary", "standby"),
        help="at the very first start: make a cluster (primary), or join that of the peers",
    )
    serving.add_argument("--peers", metavar="URL[,URL]", help="the other NameNodes, to join them")
    add_machine(serving)
    add_join_token(serving)
    loud = serving.add_mutually_exclusive_group()
    loud.add_argument("--verbose", action="store_true", help="log every request")
    loud.add_argument("--quiet", action="store_true", help="log warnings and errors only")
    _add_command(commands, "init", "make the cluster, print the admin's one-time password, and end")
    upgrading = _add_command(
        commands, "upgrade", "bring the database to this version's schema; a backup comes first"
    )
    upgrading.add_argument("--check", action="store_true", help="only say what would be done")
    return parser


def _add_command(commands: Any, name: str, meaning: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=meaning, description=meaning)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the NameNode's data folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of ./config.ini")
    return parser


if __name__ == "__main__":
    sys.exit(main())
