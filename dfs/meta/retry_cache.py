"""What requests were answered, remembered under the ids that their callers gave them.

An answer is remembered in the transaction of the change itself, so that who lost it asks again,
gets the same, and nothing is done twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from dfs.meta.cluster_tables import RETRY_CACHE
from dfs.meta.prepared import ByKeys
from dfs.meta.row_images import delete_keys
from dfs.meta.txn import Txn

_ANSWERS: Final = ByKeys(select(RETRY_CACHE), RETRY_CACHE.c.caller, RETRY_CACHE.c.request)
assert [column.key for column in RETRY_CACHE.columns] == [
    *("caller", "request", "answer", "txid", "at_ms"),
]


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Who asked, under which request id."""

    caller: str
    request: str


def once(key: RequestKey, work: Callable[[Txn], bytes]) -> Callable[[Txn], bytes]:
    """The same work, but what was answered under `key` before is answered the same, undone."""

    def work_once(txn: Txn) -> bytes:
        found = remembered(txn.connection, [key])
        if found:
            return found[key]
        answer = work(txn)
        remember(txn, {key: answer})
        return answer

    return work_once


def remembered(connection: Connection, keys: Sequence[RequestKey]) -> dict[RequestKey, bytes]:
    """What those of the requests were answered that were answered before."""
    rows = _ANSWERS.run(connection, [(key.caller, key.request) for key in keys])
    return {RequestKey(caller, request): bytes(answer) for caller, request, answer, *_ in rows}


def forget_answers(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Forget old answers, the oldest first; how many.  Not journaled: each NameNode does it."""
    columns = RETRY_CACHE.c
    wanted = select(columns.caller, columns.request).where(columns.at_ms < before_ms)
    rows = connection.execute(wanted.order_by(columns.at_ms).limit(limit))
    keys = [(caller, request) for caller, request in rows]
    if keys:
        delete_keys(connection, RETRY_CACHE, keys)
    return len(keys)


def remember(txn: Txn, answers: Mapping[RequestKey, bytes]) -> None:
    """Remember answers with the changes of this transaction."""
    txn.put_images(
        RETRY_CACHE,
        [
            (key.caller, key.request, answer, txn.txid, txn.now_ms)
            for key, answer in answers.items()
        ],
    )
