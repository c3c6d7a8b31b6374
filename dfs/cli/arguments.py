"""Pure: arguments that several verbs share, each saying what a TAB should offer for it."""

from __future__ import annotations

import argparse
from enum import StrEnum
from typing import Final

from dfs.base.errors import BadRequest
from dfs.base.units import parse_duration_s, parse_size

COMPLETES: Final = "dfs_completes"  # the attribute of an argparse action that holds an `Offer`


class Offer(StrEnum):
    """What a TAB offers for an argument."""

    REMOTE = "remote"
    REMOTE_DIRECTORY = "remote-directory"
    LOCAL = "local"
    LOCAL_OR_REMOTE = "local-or-remote"
    VERB = "verb"
    NOTHING = "nothing"


def offering(action: argparse.Action, offer: Offer) -> argparse.Action:
    """Say what a TAB offers for the argument."""
    setattr(action, COMPLETES, offer)
    return action


def offer_of(action: argparse.Action) -> Offer:
    """What a TAB offers for the argument."""
    found = getattr(action, COMPLETES, Offer.NOTHING)
    assert isinstance(found, Offer)
    return found


def remote_paths(
    parser: argparse.ArgumentParser,
    name: str,
    *,
    help: str,  # noqa: A002 - argparse's own word
    nargs: str | None = None,
) -> None:
    """A positional argument of paths in DFS."""
    action = parser.add_argument(name, nargs=nargs, metavar="PATH", help=help)
    offering(action, Offer.REMOTE)


def size_argument(text: str) -> int:
    """A size on the command line, for argparse's `type`."""
    try:
        return parse_size(text)
    except BadRequest as exc:
        raise argparse.ArgumentTypeError(f"{exc.message}; {exc.hint}") from None


def duration_argument(text: str) -> float:
    """A duration on the command line in seconds, for argparse's `type`."""
    try:
        return parse_duration_s(text)
    except BadRequest as exc:
        raise argparse.ArgumentTypeError(f"{exc.message}; {exc.hint}") from None


def count_argument(text: str) -> int:
    """A whole number of at least one, for argparse's `type`."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number of at least 1: {text!r}")
    return int(text)
