"""What a command loads before it does its work: what it needs, and no more."""

import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dfs.cli
from dfs.cli import admin, user
from dfs.cli.verb_table import VerbTable
from dfs.cli.verbs import Program

OTHER_VERBS = {"dfs.cli.copy_commands", "dfs.cli.inspect_commands", "dfs.cli.attribute_commands"}
FOR_BYTES = {"grpc", "xxhash", "google", "fsspec"}
FOR_SERVERS = {"flask", "waitress", "sqlalchemy", "alembic", "apscheduler", "prometheus_client"}
FOR_LESS = {"typing_extensions", "inspect", "dataclasses", "hashlib", "shutil", "difflib", "json"}
FOR_SHOW = {"rich", "prompt_toolkit", "shtab"}
SLOW = FOR_BYTES | FOR_SERVERS | FOR_SHOW | OTHER_VERBS

LOADED = """
import sys
from dfs.cli import {module}
code = {module}.main({words!r})
print()
print(code, *sorted(sys.modules))
"""


def _loaded(module: str, *words: str, home: Path) -> tuple[str, set[str]]:
    """The exit code of a command, and what it had loaded by its end."""
    config = home / "config.ini"
    config.write_text("[client]\ngive_up_s = 0s\n")
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "DFS_CONFIG": str(config),
        "DFS_NAMENODE": "http://127.0.0.1:1",
        "DFS_TOKEN": "dfs_none",
    }
    script = LOADED.format(module=module, words=list(words))
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    code, *names = ran.stdout.splitlines()[-1].split()
    return code, set(names)


@pytest.mark.parametrize("module", ["user", "admin"])
def test_version_loads_neither_verbs_nor_their_grammar(module: str, tmp_path: Path) -> None:
    code, loaded = _loaded(module, "--version", home=tmp_path)
    assert code == "0"
    ours = {name for name in loaded if name.startswith("dfs.")}
    assert ours == {"dfs.cli", f"dfs.cli.{module}", "dfs.cli.start", "dfs.cli.verb_table"}
    assert not {"argparse", "json", "re", "dataclasses"} & (loaded - _bare())


def _bare() -> set[str]:
    """What Python has loaded by itself, which depends on how it is installed."""
    ran = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize("words", [("ls", "-R", "/data"), ("rm", "-r", "/data"), ("df",)])
def test_command_on_names_loads_its_own_verbs_and_nothing_that_moves_bytes(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    code, loaded = _loaded("user", *words, home=tmp_path)
    assert code == "6", "there is no NameNode"
    assert "dfs.client.namenode_link" in loaded, "it asked"
    assert not SLOW & loaded
    assert not (FOR_LESS | {"encodings.idna"}) & (loaded - _bare())
    assert not [name for name in loaded if name.startswith("dfs.transfer")]


@pytest.mark.parametrize("program", [user.program(), admin.program()], ids=lambda p: p.name)
def test_every_verb_is_found_under_its_name(program: Program) -> None:
    assert [verb.name for verb in program.verbs.values()] == list(program.verbs)
    assert "nothing of the kind" not in program.verbs


def test_every_verb_of_every_module_is_in_a_program() -> None:
    written = {
        (verb.name, name)
        for name in (module.name for module in pkgutil.iter_modules(dfs.cli.__path__))
        for attribute in ("VERBS", "ADMIN_VERBS")
        for verb in getattr(import_module(f"dfs.cli.{name}"), attribute, ())
    }
    tables = [program.verbs for program in (user.program(), admin.program())]
    assert all(isinstance(table, VerbTable) for table in tables)
    listed = {
        (verb.name, verb.run.__module__.rpartition(".")[2]) for t in tables for verb in t.values()
    }
    assert written == listed
