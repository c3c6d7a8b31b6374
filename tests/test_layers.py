"""Imports point down, processes load only their own, and what says it is pure is held to it."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
# msgspec and xxhash only turn values into other values.
PURE_MAY_IMPORT = {"dfs", "msgspec", "xxhash", *sys.stdlib_module_names}
PURE_MAY_NOT_IMPORT = {"os", "socket", "sqlite3", "subprocess", "time", "urllib"}


def _setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _pure_modules() -> list[str]:
    found = []
    for path in (ROOT / "dfs").rglob("*.py"):
        header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if header.startswith("Pure:"):
            found.append(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))
    return sorted(found)


def test_import_contracts_are_kept() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--config",
            "setup.cfg",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_file_imports_the_face_of_its_own_package() -> None:
    """The face hands on what is in its files: a circle that the contract on siblings cannot see."""
    graph = grimp.build_graph("dfs", cache_dir=None)
    below = {
        f"{importer} -> {package}"
        for package in graph.modules - {"dfs"}
        for importer in graph.find_modules_that_directly_import(package)
        if importer.startswith(f"{package}.")
    }
    assert below == set()


def test_every_pure_module_is_under_the_purity_contract() -> None:
    listed = _setup_cfg()["importlinter:contract:pure"]["source_modules"].split()
    assert sorted(listed) == _pure_modules()


@pytest.mark.parametrize("module", _pure_modules())
def test_pure_module_imports_no_effects(module: str) -> None:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names <= PURE_MAY_IMPORT
    assert not names & PURE_MAY_NOT_IMPORT


def test_installed_packages_are_the_folders() -> None:
    config = _setup_cfg()
    listed = set(config["options"]["packages"].split()) - {"dfs.migrations.versions"}
    folders = {"dfs"} | {
        f"dfs.{path.parent.relative_to(ROOT / 'dfs').as_posix().replace('/', '.')}"
        for path in (ROOT / "dfs").glob("*/**/__init__.py")
    }
    assert listed - {"dfs.migrations"} == folders
