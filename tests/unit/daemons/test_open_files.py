"""A daemon may have as many connections open as its settings say, whatever its shell allowed."""

import resource
import subprocess
import sys

_ASK = """
import resource
from dfs.daemons.lifecycle import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
print(allow_open_files(100), allow_open_files(900), allow_open_files(5000))
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_limit_is_raised_as_far_as_needed_and_allowed() -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1024
    said = subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.splitlines() == ["100 900 1024", "(1024, 1024)"]
