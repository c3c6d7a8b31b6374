"""The way of data and of requests with one rule broken, each time another: see `broken_on_purpose`.

What is on a disk before it is acknowledged, what is held against which hash, which generation
counts, what may be deleted, and whose word a request is.
"""

import json
from collections.abc import Callable
from typing import Any

from dfs.base.checksum import CHUNK_SIZE_BYTES
from dfs.blocks import strays
from dfs.blockstore import store
from dfs.blockstore.part_file import PartFile
from dfs.blockstore.reader import BlockFile
from dfs.blockstore.volume import Volume
from dfs.blockstore.writer import Intake
from dfs.meta import session
from dfs.web.dispatch import Endpoint
from tests.broken_on_purpose import Mutant, report

UNIT = "tests/unit"


class Forgetful:
    """A disk that is not asked to keep something."""

    def __init__(self, real: Any, *left_out: str) -> None:
        self._real = real
        self._left_out = left_out

    def __getattr__(self, name: str) -> Any:
        return (lambda *_given: None) if name in self._left_out else getattr(self._real, name)


def without(act: Callable[..., Any], attribute: str, *left_out: str) -> Callable[..., Any]:
    """That method, with a disk that forgets."""

    def broken(self: Any, *given: Any) -> Any:
        real = getattr(self, attribute)
        setattr(self, attribute, Forgetful(real, *left_out))
        try:
            return act(self, *given)
        finally:
            setattr(self, attribute, real)

    return broken


def takes_any_generation(rows: Any, name: Any) -> Any:
    return next((row for row in rows if row.name == name), None)


def believes_any_end(_self: Intake, _length: int, _digest: bytes) -> None:
    return


def reads_unverified(self: BlockFile, first: int, count: int) -> bytes:
    offset = first * CHUNK_SIZE_BYTES
    want = min(count * CHUNK_SIZE_BYTES, self.truth.length_bytes - offset)
    return self._disk.read(self._fd, want, offset)


_admit = Endpoint._admit


def believes_who_is_named(self: Endpoint, visit: Any) -> None:
    """A field of the body says for whom it is done, and the session only that somebody may ask."""
    said = json.loads(visit.asking.body or b"{}")
    if isinstance(said, dict) and said.pop("user", None):
        visit.asking = visit.asking._replace(body=json.dumps(said).encode())
    _admit(self, visit)


ORDER = f"{UNIT}/blockstore/test_order_of_effects.py"
SYNCED = f"{ORDER}::test_bytes_are_fsynced_before_the_name_and_the_name_before_the_answer"

MUTANTS: dict[str, Mutant] = {
    "the bytes of a block are not synced": Mutant(
        PartFile, "seal", without(PartFile.seal, "_disk", "fsync"), SYNCED
    ),
    "the name of a block is not synced": Mutant(
        Volume, "publish", without(Volume.publish, "disk", "fsync_folder"), SYNCED
    ),
    "the metadata is not synced at each commit": Mutant(
        session,
        "_PRAGMAS",
        session._PRAGMAS | {"synchronous": 1},
        f"{UNIT}/meta/test_writer.py::test_commit_that_returned_is_on_the_disk",
    ),
    "a DataNode takes an older generation": Mutant(
        store,
        "find_stored",
        takes_any_generation,
        f"{UNIT}/blockstore/test_block_intake.py::test_lower_generation_is_stale",
    ),
    "a block that nobody knows is deleted at once": Mutant(
        strays,
        "_is_old",
        lambda *_given: True,
        f"{UNIT}/blocks/test_strays.py::test_orphan_leaves_after_two_full_reports_a_day_apart",
    ),
    "a copy is not held against the hash that was ordered": Mutant(
        Intake,
        "check_end",
        believes_any_end,
        f"{UNIT}/rpc/test_block_transfer.py::test_copy_refuses_anything_but_what_was_ordered",
    ),
    "a block is not verified as it is read": Mutant(
        BlockFile,
        "_chunks",
        reads_unverified,
        f"{UNIT}/blockstore/test_block_damage.py"
        "::test_damaged_block_is_never_delivered_and_kept_aside",
    ),
    "a request says itself whose it is": Mutant(
        Endpoint,
        "_admit",
        believes_who_is_named,
        f"{UNIT}/web/test_namenode_refusals.py::test_user_who_is_named_in_a_request_is_refused",
    ),
}


if __name__ == "__main__":
    report(MUTANTS)
