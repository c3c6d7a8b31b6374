"""Values are read by many threads at once, also by the first that read values of their type."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Annotations are texts, as where they are late: working them out runs Python, in the middle of
# which another thread may begin to read.
AT_ONCE = """
import sys, threading, msgspec
from concurrent.futures import ThreadPoolExecutor
from dfs.base.decoding import json_reader, msgpack_reader

READERS = {"json": json_reader, "msgpack": msgpack_reader}
FORMAT, ROUNDS, THREADS = sys.argv[1], 150, 4
sys.setswitchinterval(1e-6)
encode = getattr(msgspec, FORMAT).encode

def read(kind, raw, ready):
    ready.wait()
    return READERS[FORMAT](kind)(raw)

with ThreadPoolExecutor(THREADS) as pool:
    for n in range(ROUNDS):
        inner = msgspec.defstruct("Inner", [(f"f{i}", "int | None") for i in range(20)])
        outer = msgspec.defstruct("Outer", [("one", inner), ("all", list[inner])])
        one = inner(*range(20))
        raw, ready = encode(outer(one, [one])), threading.Barrier(THREADS)
        for done in [pool.submit(read, outer, raw, ready) for _ in range(THREADS)]:
            assert done.result() == outer(one, [one])
"""


@pytest.mark.parametrize("kind", ["json", "msgpack"])
def test_threads_that_are_the_first_to_read_a_type_all_get_its_values(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", AT_ONCE, kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"ended with {ran.returncode}: {ran.stderr}"
