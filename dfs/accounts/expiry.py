"""The background job that drops what is over: sessions, and answers remembered for repeated asking.

Sessions are journaled, so their end is too.  Answers of the retry cache are dropped softly: every
NameNode forgets its own.  A pass is bounded, and its report says whether anything is left.
"""

from dataclasses import dataclass
from typing import Final

from dfs.accounts.session_rows import OpenSession
from dfs.accounts.sessions import Sessions
from dfs.base.events import Emitter, Event
from dfs.meta.retry_cache import forget_answers
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

SESSIONS_MAX: Final = 1_000
USES_MAX: Final = 5_000
ANSWERS_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class ExpiryReport:
    """What a pass dropped; false when nothing was over.  `more` says that something is left."""

    sessions: int
    answers: int
    more: bool

    def __bool__(self) -> bool:
        """Whether anything was dropped."""
        return bool(self.sessions or self.answers)


class Expiry:
    """See the module.  To be run once a minute: so often last uses of sessions are saved."""

    def __init__(
        self, writer: Writer, sessions: Sessions, *, emit: Emitter, retry_cache_keep_s: float
    ) -> None:
        self._writer = writer
        self._sessions = sessions
        self._emit = emit
        self._keep_ms = int(retry_cache_keep_s * 1000)

    def expire_once(self) -> ExpiryReport:
        """Save when sessions were used, end overdue ones, forget old answers."""
        over, answers = self._writer.submit(self._expire)
        for one in over:
            self._emit.emit(Event.SESSION_ENDED, user=one.user, session=one.id, reason="expired")
        more = len(over) == SESSIONS_MAX or answers == ANSWERS_MAX
        return ExpiryReport(sessions=len(over), answers=answers, more=more)

    def _expire(self, txn: Txn) -> tuple[list[OpenSession], int]:
        self._sessions.save_uses(txn, limit=USES_MAX)
        over = self._sessions.end_overdue(txn, limit=SESSIONS_MAX)
        before_ms = txn.now_ms - self._keep_ms
        return over, forget_answers(txn.connection, before_ms=before_ms, limit=ANSWERS_MAX)
