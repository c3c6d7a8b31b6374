"""What every step of the demo stands on: the cluster, the screen, commands as a user types them."""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from dfs.base.clock import Clock
from dfs.local.cluster import LocalCluster
from dfs.local.demo_screen import Screen
from dfs.observe.exit_codes import EXIT_DONE

POLL_S: Final = 0.3
MODULES: Final = {"dfs": "dfs.cli.user", "dfs-admin": "dfs.cli.admin"}


class Progress(NamedTuple):
    """Where something is that the cluster does by itself."""

    share: float  # 0 to 1
    words: str
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The cluster and the screen.

    Attributes:
        environment: of the commands; filled when the cluster is there.
    """

    folder: Path
    cluster: LocalCluster
    screen: Screen
    clock: Clock
    environment: dict[str, str]

    def command(self, program: str, words: str, *, fine: Collection[int] = (EXIT_DONE,)) -> int:
        """Run `dfs` or `dfs-admin` as a user would and show it; its exit code.

        Raises:
            DaemonFailed: the exit code is none of those that are fine.
        """
        argv = [sys.executable, "-m", MODULES[program], *words.split()]
        return self.screen.command(
            f"{program} {words}", argv, environment=self.environment, fine=fine
        )

    def follow(self, label: str, look: Callable[[], Progress], *, within_s: float) -> bool:
        """Show a bar until it is over; False when it is not in time."""
        deadline_s = self.clock.monotonic_s() + within_s
        with self.screen.job(label) as show:
            while True:
                progress = look()
                show(progress.share, progress.words)
                if progress.over:
                    return True
                if self.clock.monotonic_s() > deadline_s:
                    return False
                self.clock.sleep(POLL_S)
