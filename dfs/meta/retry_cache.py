"""What requests were answered, remembered under the ids that their callers gave them.

An answer is remembered in the transaction of the change itself, so that who lost it asks again,
gets the same, and nothing is done twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from dfs.meta.cluster_tables import RETRY_CACHE
from dfs.meta.prepared import Prepared
from dfs.meta.txn import Txn

_ANSWER: Final = Prepared(
    select(RETRY_CACHE.c.answer).where(
        RETRY_CACHE.c.caller == bindparam("caller"), RETRY_CACHE.c.request == bindparam("request")
    )
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Who asked, under which request id."""

    caller: str
    request: str


def once(key: RequestKey, work: Callable[[Txn], bytes]) -> Callable[[Txn], bytes]:
    """The same work, but what was answered under `key` before is answered the same, undone."""

    def work_once(txn: Txn) -> bytes:
        found = remembered(txn.connection, key)
        if found is not None:
            return found
        answer = work(txn)
        row = {
            "caller": key.caller,
            "request": key.request,
            "answer": answer,
            "txid": txn.txid,
            "at_ms": txn.now_ms,
        }
        txn.put(RETRY_CACHE, row)
        return answer

    return work_once


def remembered(connection: Connection, key: RequestKey) -> bytes | None:
    """What the request was answered, where it was answered before."""
    rows = _ANSWER.run(connection, caller=key.caller, request=key.request)
    return bytes(rows[0][0]) if rows else None
