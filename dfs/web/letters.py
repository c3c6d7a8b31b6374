"""The address at which a daemon takes letters of failover in.

It is beside the route table, which is for people and clients: a letter is no JSON, who may send it
says its seal, and it is answered before anybody has read it.  A NameNode adds it to what its
`Front` serves; before a DataNode's application goes a `Front` that serves nothing else.
"""

from collections.abc import Callable
from typing import Final

from dfs.base.errors import DfsError
from dfs.base.units import KiB
from dfs.web.answers import Answer, Asking, refusal
from dfs.web.front import Served

QUICK_BYTES: Final = 4 * KiB  # to check the seal takes less than waking a thread
_TAKEN: Final = Answer(200, b'{"done":true}')


def letters_address(receive: Callable[[bytes], None]) -> Served:
    """What answers at `dfs.failover.envelope.LETTERS_PATH`.

    Args:
        receive: takes an envelope in, without waiting; a `DfsError` of it is answered.
    """

    def answer(asking: Asking) -> Answer:
        try:
            receive(asking.body)
        except DfsError as err:
            return refusal(err)
        return _TAKEN

    def begin(asking: Asking, then: Callable[[Answer], None]) -> None:
        then(answer(asking))

    return Served(("POST",), answer, begin, QUICK_BYTES)
