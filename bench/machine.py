"""What a run was measured on: a figure without it says little."""

import datetime
import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dfs import __version__
from dfs.base.units import GiB

PACKAGES = ("grpcio", "protobuf", "msgspec", "sqlalchemy", "urllib3", "waitress", "xxhash")


def machine() -> dict[str, Any]:
    """Date, processor, memory, kernel, versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GiB, 1),
        "kernel": platform.release(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "dfs": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: _version(name) for name in PACKAGES},
    }


def in_words() -> str:
    """The same on a line, for a person."""
    return ", ".join(f"{key} {value}" for key, value in machine().items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
