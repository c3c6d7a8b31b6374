"""How a daemon is told which cluster to join, on its command line and in its environment."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from dfs.base.errors import BadConfig

_HINT = "make one with: dfs-admin join-token > FILE"


def add_join_token(parser: argparse.ArgumentParser) -> None:
    """The flags that carry a join token."""
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--join-token", default="", metavar="T", help="or set DFS_JOIN_TOKEN")
    token.add_argument("--join-token-file", type=Path, metavar="F", help="a file that holds it")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The flag that says which machine this is."""
    parser.add_argument(
        "--machine", metavar="NAME", help="this machine's: daemons of one have one vote at most"
    )


def join_token(asked: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """The token that was given; empty when none was.

    Raises:
        BadConfig: the file that should hold it does not.
    """
    if asked.join_token_file is None:
        return asked.join_token or environment.get("DFS_JOIN_TOKEN", "")
    try:
        token = str(asked.join_token_file.read_text(encoding="utf-8").strip())
    except OSError as exc:
        raise BadConfig(
            f"cannot read the join token: {asked.join_token_file}: {exc.strerror}", hint=_HINT
        ) from exc
    if not token:
        raise BadConfig(f"there is no join token in {asked.join_token_file}", hint=_HINT)
    return token


def urls_argument(text: str | None) -> tuple[str, ...] | None:
    """The base URLs in a list with commas; None where no list was given."""
    if text is None:
        return None
    return tuple(url.strip().rstrip("/") for url in text.split(",") if url.strip())
