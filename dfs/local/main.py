"""The command `dfs-local`: its arguments, and what it prints.  The work is in the modules beside.

What a program may want goes to standard output (`status`, `env`), words on the way to standard
error.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from dfs import __version__
from dfs.base.clock import SystemClock
from dfs.base.entropy import SystemRandom
from dfs.base.errors import DfsError, NotLeader
from dfs.base.units import parse_size
from dfs.local.cluster import DATANODES_MAX, NAMENODES_MAX, LocalCluster
from dfs.local.demo import DemoOptions, run_demo
from dfs.local.failover import LEADER
from dfs.local.roster import DATANODE, NAMENODE
from dfs.observe.exit_codes import EXIT_DONE, EXIT_FAILED, exit_code

DEFAULT_DATA: Final = Path(".dfs-local")
PLAIN_WIDTH: Final = 120  # of the tour in a log, where there is no terminal to ask
_STATE_COLOURS: Final = {"ready": "green", "silent": "yellow", "crashed": "red", "killed": "red"}


def build_parser() -> argparse.ArgumentParser:
    """Every verb and option of `dfs-local`."""
    parser = argparse.ArgumentParser(
        prog="dfs-local",
        description="A whole DFS cluster of real daemons on this machine, to try and to test.  Each"
        " daemon plays a machine of its own to failover, so that each may have a vote; the machines"
        " are simulated, and a power cut of this one ends them all.",
        epilog='Then: eval "$(dfs-local env)" points dfs and dfs-admin at it, as its admin.',
    )
    parser.add_argument("--version", action="version", version=f"dfs-local {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = _verb(verbs, "up", "start the cluster; make it first where there is none")
    up.add_argument(
        "--datanodes",
        type=_up_to(DATANODES_MAX),
        metavar="N",
        help="at least so many (new cluster: 3)",
    )
    up.add_argument(
        "--namenodes",
        type=_up_to(NAMENODES_MAX),
        metavar="N",
        help="at least so many, of which one leads (new cluster: 1)",
    )
    _verb(verbs, "down", "stop every daemon; what they store stays")
    status = _verb(verbs, "status", "name, role, state, pid and address of every daemon; who leads")
    status.add_argument("--json", action="store_true", help="print one JSON document")
    _verb(verbs, "env", "print shell lines that point dfs and dfs-admin at the cluster")
    add = _verb(verbs, "add", "start one DataNode or NameNode more")
    add.add_argument("role", choices=[DATANODE, NAMENODE])
    for name, meaning in (
        ("start", "start one daemon"),
        ("stop", "ask one daemon to drain and end (SIGTERM)"),
        ("kill", "end one daemon at once (SIGKILL), as a power cut would"),
    ):
        _verb(verbs, name, meaning).add_argument("name", metavar="NAME", help="see: status")
    demo = _verb(verbs, "demo", "the guided tour: store, hurt, heal, grow, compare", data=False)
    demo.add_argument("--data", type=Path, metavar="DIR", help="where (default: ./.dfs-demo)")
    demo.add_argument("--size", type=_size, default=None, help="of the large file (256MiB)")
    demo.add_argument(
        "--keep", action="store_true", help="leave the cluster running, and its files"
    )
    return parser


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a number from 1 to {most}, not {text}")
        return int(text)

    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code."""
    args = build_parser().parse_args(arguments)
    told = Console(stderr=True, highlight=False)
    try:
        return _run(args, told)
    except DfsError as err:
        told.quiet = False
        told.print(f"dfs-local: {err.message}", style="red", markup=False, soft_wrap=True)
        if err.hint:
            told.print(f"  {err.hint}", markup=False, soft_wrap=True)
        return exit_code(err)
    except KeyboardInterrupt:
        told.print("interrupted")
        return EXIT_FAILED


def _run(args: argparse.Namespace, told: Console) -> int:
    if args.verb == "demo":
        options = DemoOptions(folder=args.data, size_bytes=args.size, keep=args.keep)
        console = Console()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH)
        return run_demo(options, environment=os.environ, clock=SystemClock(), console=console)
    told.quiet = args.quiet
    cluster = LocalCluster(
        args.data,
        clock=SystemClock(),
        rng=SystemRandom(),
        environment=os.environ,
        say=lambda text: told.print(text, style="dim", markup=False),
    )
    try:
        return _VERBS[args.verb](cluster, args)
    finally:
        cluster.close()


def _up(cluster: LocalCluster, args: argparse.Namespace) -> int:
    cluster.up(datanodes=args.datanodes, namenodes=args.namenodes)
    if args.quiet:
        return EXIT_DONE
    _print_status(cluster)
    told = Console(stderr=True, highlight=False)
    told.print(f'\nPoint your shell at it:  eval "$({_again(args)})"', markup=False)
    return EXIT_DONE


def _down(cluster: LocalCluster, _args: argparse.Namespace) -> int:
    cluster.down()
    return EXIT_DONE


def _status(cluster: LocalCluster, args: argparse.Namespace) -> int:
    if args.json:
        members = [msgspec.to_builtins(member) for member in cluster.status()]
        document = {"data": str(cluster.folder.root), "daemons": members}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        _print_status(cluster)
    return EXIT_DONE


def _env(cluster: LocalCluster, _args: argparse.Namespace) -> int:
    for name, value in cluster.variables().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    sys.stdout.write("unset DFS_TOKEN\n")
    session = cluster.session()
    try:
        session.open()  # so that the credentials are there and valid
    except NotLeader as err:  # those that are there serve to find out why
        told = Console(stderr=True, highlight=False)
        told.print(f"dfs-local: {err.message}; {err.hint}", markup=False, soft_wrap=True)
    finally:
        session.close()
    return EXIT_DONE


def _add(cluster: LocalCluster, args: argparse.Namespace) -> int:
    added = cluster.add_namenode() if args.role == NAMENODE else cluster.add_datanode()
    _print_status(cluster)
    if added.role == NAMENODE:
        told = Console(stderr=True, highlight=False, quiet=args.quiet)
        told.print(f'\nTell your shell of it:  eval "$({_again(args)})"', markup=False)
    return EXIT_DONE


def _start(cluster: LocalCluster, args: argparse.Namespace) -> int:
    cluster.start(args.name)
    return EXIT_DONE


def _stop(cluster: LocalCluster, args: argparse.Namespace) -> int:
    cluster.stop(args.name)
    return EXIT_DONE


def _kill(cluster: LocalCluster, args: argparse.Namespace) -> int:
    pid = cluster.kill(args.name)
    Console(stderr=True, highlight=False, quiet=args.quiet).print(f"killed {args.name} (pid {pid})")
    return EXIT_DONE


_VERBS: Final[dict[str, Callable[[LocalCluster, argparse.Namespace], int]]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "env": _env,
    "add": _add,
    "start": _start,
    "stop": _stop,
    "kill": _kill,
}


def _print_status(cluster: LocalCluster) -> None:
    every = cluster.status()
    console = Console(highlight=False)
    table = _table("NAME", "ROLE", "STATE", "PID", "ADDRESS", "HTTP")
    for one in every:
        colour = _STATE_COLOURS.get(one.state, "dim")
        state, pid = f"[{colour}]{one.state}[/]", str(one.pid or "-")
        table.add_row(one.name, one.role, state, pid, one.address, one.http)
    console.print(table)
    told = [(one.name, one.failover) for one in every if one.failover is not None]
    if len(told) > 1:
        table = _table("NAMENODE", "ROLE", "EPOCH", "IN SYNC")
        led = any(own.role == LEADER for _name, own in told)
        for name, own in told:
            in_sync = ("yes" if own.in_sync else "no") if led else "-"
            role = f"[bold]{own.role}[/]" if own.role == LEADER else own.role
            table.add_row(name, role, str(own.epoch or "-"), in_sync)
        console.print()
        console.print(table)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        right = title in ("PID", "EPOCH")
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    return table


def _again(args: argparse.Namespace) -> str:
    if args.data == DEFAULT_DATA:
        return "dfs-local env"
    return f"dfs-local env --data {shlex.quote(str(args.data))}"


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    *,
    data: bool = True,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    if data:
        parser.add_argument("-q", "--quiet", action="store_true", help="say only what failed")
        parser.add_argument(
            "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="its folder (.dfs-local)"
        )
    return parser


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except DfsError as exc:
        raise argparse.ArgumentTypeError(exc.message) from None


if __name__ == "__main__":
    sys.exit(main())
