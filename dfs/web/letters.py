"""The addresses at which a daemon takes letters of failover in, and gives snapshots.

They are beside the route table, which is for people and clients: a letter is no JSON, who may send
it says its seal, and it is answered before anybody has read it.  A NameNode adds them to what its
`Front` serves; before a DataNode's application goes a `Front` that serves letters and nothing else.
"""

from collections.abc import Callable
from typing import Final

from dfs.base.errors import DfsError
from dfs.base.units import KiB
from dfs.web.answers import Answer, Asking, refusal
from dfs.web.front import Served

QUICK_BYTES: Final = 4 * KiB  # to check the seal takes less than waking a thread
_TAKEN: Final = b'{"done":true}'


def letters_address(receive: Callable[[bytes], None]) -> Served:
    """What answers at `dfs.failover.envelope.LETTERS_PATH`.

    Args:
        receive: takes an envelope in, without waiting; a `DfsError` of it is answered.
    """

    def take(raw: bytes) -> bytes:
        receive(raw)
        return _TAKEN

    return _sealed_address(take, QUICK_BYTES)


def sealed_address(answer: Callable[[bytes], bytes]) -> Served:
    """What answers at an address of sealed questions, in a thread that may wait.

    Those of `dfs.failover.snapshot_wire.SNAPSHOT_PATH`, `dfs.failover.digest_wire.DIGEST_PATH`.

    Args:
        answer: gives what is asked for; a `DfsError` of it is answered.
    """
    return _sealed_address(answer, 0)


def _sealed_address(work: Callable[[bytes], bytes], quick_bytes: int) -> Served:
    def answer(asking: Asking) -> Answer:
        try:
            return Answer(200, work(asking.body))
        except DfsError as err:
            return refusal(err)

    return Served.at_once(("POST",), answer, quick_bytes=quick_bytes)
