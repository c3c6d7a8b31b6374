"""The conversation with the cluster: opened when a command first needs it, shared by a whole shell.

Decides which settings, which NameNode and whose session a command uses.  The client library is
loaded here and not before, because loading it takes longer than answering `--help`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from dfs.client import DfsClient
    from dfs.client.stale_answer import StaleAnswer
    from dfs.settings.sections import Config

HURRIED_TIMEOUT_S: Final = 2.0  # nobody waits longer for a TAB


class Connection:
    """Clients by the settings that were asked for; a command line has one, a shell mostly one.

    Args:
        environment: `DFS_*`, `XDG_*` and `HOME` are looked at.
        hurried: fail soon instead of waiting for a NameNode to come back.
    """

    def __init__(self, environment: Mapping[str, str], *, hurried: bool = False) -> None:
        self.environment = environment
        self._notice: Callable[[str], None] = lambda _text: None
        self._caution: Callable[[str], None] = lambda _text: None
        self._stale_said = False
        self._hurried = hurried
        self._clients: dict[tuple[str, str, bool], DfsClient] = {}

    def begin(self, *, notice: Callable[[str], None], caution: Callable[[str], None]) -> None:
        """Another command begins.

        Args:
            notice: told when it has to wait, and when no more.
            caution: told once if its answer is of a standby.
        """
        self._notice, self._caution = notice, caution
        self._stale_said = False

    def client(self, args: argparse.Namespace) -> DfsClient:
        """The client for these flags.

        Raises:
            BadConfig: the settings are wrong.
            LocalIoError: the credentials file cannot be read.
        """
        stale_ok = bool(getattr(args, "stale_ok", False))
        key = (args.config or "", args.namenode or "", stale_ok)
        if key not in self._clients:
            config = self.config(args)
            from dfs.client import connect  # noqa: PLC0415 - start-up time

            client = self._clients[key] = connect(
                args.namenode or None,
                config=config,
                environment=self.environment,
                notice=lambda text: self._notice(text),
            )
            if stale_ok:
                client.link.welcome_stale(self._hear_stale)
        return self._clients[key]

    def config(self, args: argparse.Namespace) -> Config:
        """The settings for these flags.

        Raises:
            BadConfig: a file cannot be read, or says something wrong.
        """
        _load_msgspec()
        from pathlib import Path  # noqa: PLC0415 - start-up time

        from dfs.settings.read import read_config  # noqa: PLC0415 - start-up time

        file = Path(args.config) if args.config else None
        config = read_config(file=file, environment=self.environment)
        if not self._hurried:
            return config
        from msgspec.structs import replace  # noqa: PLC0415 - start-up time

        hurried = replace(config.client, give_up_s=0.0, timeout_s=HURRIED_TIMEOUT_S)
        return replace(config, client=hurried)

    def _hear_stale(self, answer: StaleAnswer) -> None:
        if not self._stale_said:
            self._stale_said = True
            self._caution(answer.words())

    def close(self) -> None:
        """End every conversation."""
        while self._clients:
            self._clients.popitem()[1].close()


def _load_msgspec() -> None:
    """Load `msgspec` as if `typing_extensions` were not installed.

    It would take from there what `typing` has as well, and what that one brings (`inspect`, and
    with it Python's own parser) takes longer to load than all that a listing needs of ours.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # the way to say: there is none
    try:
        import msgspec  # noqa: F401, PLC0415 - start-up time
    finally:
        del sys.modules["typing_extensions"]
