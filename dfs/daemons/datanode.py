"""`dfs-datanode`: the command line of a DataNode, and of its data folders offline."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dfs import __version__
from dfs.base import crashpoint
from dfs.base.clock import SystemClock
from dfs.base.errors import BadConfig
from dfs.daemons.datanode_offline import list_folders, until_unread, verify_folders
from dfs.daemons.datanode_process import PROGRAM, VITAL_THREADS, DatanodeProcess
from dfs.daemons.join_arguments import add_join_token, add_machine, join_token, urls_argument
from dfs.daemons.lifecycle import (
    StopRequest,
    parse_arguments,
    port_argument,
    run_guarded,
    tune_interpreter,
    watch_threads,
)
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED
from dfs.observe.logs import Log
from dfs.settings.read import Overrides, read_config


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    asked = parse_arguments(build_parser(), sys.argv[1:] if arguments is None else arguments)
    if isinstance(asked, int):
        return asked
    environment = dict(os.environ)
    match asked.command:
        case "ls":
            listing = partial(list_folders, asked.data, as_json=asked.json, with_files=asked.files)
            return run_guarded(PROGRAM, partial(until_unread, listing))
        case "verify":
            proof = partial(verify_folders, asked.data, as_json=asked.json)
            return run_guarded(PROGRAM, partial(until_unread, proof))
        case _:
            return run_guarded(PROGRAM, lambda: serve(asked, environment))


def serve(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the daemon; the exit code when it has stopped.

    Raises:
        DfsError: it cannot start or cannot join.
    """
    config = read_config(file=asked.config, environment=environment, overrides=_overrides(asked))
    if not config.datanode.data:
        raise BadConfig("no data folder", hint="name at least one with --data DIR")
    crashpoint.arm(environment)
    log = Log(process="datanode", level=config.logging.level, file=config.logging.file)
    tune_interpreter()
    stop = StopRequest()
    stop.install()
    bugs = watch_threads(log, stop, vital=VITAL_THREADS)
    token = partial(join_token, asked, environment)
    DatanodeProcess(config, join_token=token, log=log, clock=SystemClock()).run(stop)
    return EXIT_FAILED if bugs else EXIT_DONE


def _overrides(asked: argparse.Namespace) -> Overrides:
    level = "debug" if asked.verbose else "warning" if asked.quiet else None
    flags = {
        ("datanode", "data"): tuple(str(folder) for folder in asked.data) or None,
        ("datanode", "host"): asked.host,
        ("datanode", "port"): asked.port,
        ("datanode", "http_port"): asked.http_port,
        ("datanode", "rack"): asked.rack,
        ("ha", "machine"): asked.machine,
        ("cluster", "namenodes"): urls_argument(asked.namenode),
        ("logging", "level"): level,
    }
    return {key: value for key, value in flags.items() if value is not None}


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag of `dfs-datanode`."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="A DataNode of DFS: holds blocks.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run the daemon"))
    for command, meaning in (
        ("ls", "list the blocks in a data folder, daemon running or not"),
        ("verify", "read and hash every block in a data folder; exit 7 if one is corrupt"),
    ):
        offline = commands.add_parser(command, help=meaning, description=meaning)
        _add_data(offline, required=True)
        offline.add_argument("--json", action="store_true", help="print a JSON array")
        if command == "ls":
            offline.add_argument(
                "--files", action="store_true", help="name the files in each pack, too"
            )
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, required=False)
    parser.add_argument("--host", metavar="H", help="address to listen on")
    parser.add_argument(
        "--port", type=port_argument, metavar="P", help="of the block service; 0: any"
    )
    parser.add_argument("--http-port", type=port_argument, metavar="P", help="of /health; 0: any")
    parser.add_argument("--namenode", metavar="URL[,URL]", help="every NameNode of the cluster")
    parser.add_argument("--rack", metavar="R", help="where the machine stands, like /room1/rack2")
    parser.add_argument("--config", type=Path, metavar="FILE", help="instead of ./config.ini")
    add_machine(parser)
    add_join_token(parser)
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("--verbose", action="store_true", help="log every block")
    loud.add_argument("--quiet", action="store_true", help="log warnings and errors only")


def _add_data(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--data",
        action="append",
        type=Path,
        default=None if required else [],
        required=required,
        metavar="DIR",
        help="a data folder; repeat for each disk",
    )


if __name__ == "__main__":
    sys.exit(main())
