"""What an operator set of repair while it runs: a pause with an end, other budgets.

Kept in `setting` (journaled), so that a restart or a standby goes on with them; memory follows the
commit.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, select

from dfs.blocks.redundancy import RepairClass
from dfs.meta.cluster_tables import SETTING
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

PAUSED_KEY: Final = "repair.paused_until_ms"
RATE_KEY: Final = "repair.rate."


class RepairSettings:
    """See the module.  Safe to share between threads.

    Args:
        configured: rates that hold until another is set.
    """

    def __init__(
        self, writer: Writer, reader: Reader, *, configured: Mapping[RepairClass, int]
    ) -> None:
        self._writer = writer
        self._configured = dict(configured)
        with reader.view() as connection:
            self._known = _read(connection)

    @property
    def paused_until_ms(self) -> int:
        """When the pause ends; 0 when there is none."""
        return int(self._known.get(PAUSED_KEY, "0"))

    def rates(self) -> dict[RepairClass, int]:
        """Bytes a second of each class; 0 is no limit."""
        return {
            each: int(self._known.get(_rate_key(each), rate))
            for each, rate in self._configured.items()
        }

    def pause(self, until_ms: int) -> None:
        """Rest until then; 0 ends a pause."""
        self._put(PAUSED_KEY, str(until_ms))

    def set_rate(self, urgency: RepairClass, rate_bytes: int) -> None:
        """Let a class move so many bytes a second from now on."""
        assert rate_bytes >= 0
        self._put(_rate_key(urgency), str(rate_bytes))

    def _put(self, key: str, value: str) -> None:
        def work(txn: Txn) -> None:
            txn.put(SETTING, {"key": key, "value": value})
            txn.after_commit(lambda: self._take(key, value))

        self._writer.submit(work)

    def _take(self, key: str, value: str) -> None:
        self._known = {**self._known, key: value}


def _rate_key(urgency: RepairClass) -> str:
    return RATE_KEY + urgency.name.lower()


def _read(connection: Connection) -> dict[str, str]:
    wanted = select(SETTING.c.key, SETTING.c.value).where(SETTING.c.key.startswith("repair."))
    return {key: value for key, value in connection.execute(wanted)}  # noqa: C416
