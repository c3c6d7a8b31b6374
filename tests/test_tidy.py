"""Size, naming and wording rules that ruff has no code for."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PACKAGE_LINES_MAX = {"base": 1_600}  # the shared floor may not become an attic
BANNED = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "core", "tools"}
# Paths of one person's machine; the project must not know any.
FOREIGN = re.compile(r"/home/\w|/Users/\w|(?<![\w.-])/work/|/root/\w")


def _tracked(*patterns: str) -> list[Path]:
    """Files git knows (or would take), so that a build's leftovers are not judged."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.decode().split("\0") if name]
        return sorted(path for name in names if (path := ROOT / name).is_file())
    suffixes = {Path(pattern).suffix for pattern in patterns}
    found = (p for p in ROOT.rglob("*") if p.is_file() and p.suffix in suffixes)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.parts))


def _ours(paths: list[Path]) -> list[Path]:
    return [path for path in paths if "_pb2" not in path.name]


FILES = _ours(_tracked("*.py"))
WRITTEN = [
    path
    for path in _ours(_tracked("*.py", "*.md", "*.ini", "*.cfg", "*.toml", "*.yml", "*.service"))
    if path.name != "test_tidy.py"
]


@cache
def _parsed() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_are_small_and_well_named() -> None:
    names = {path: path.relative_to(ROOT).with_suffix("").parts for path in FILES}
    assert [_name(path) for path, parts in names.items() if not BANNED.isdisjoint(parts)] == []
    assert [_name(p) for p in FILES if p.read_text().count("\n") > FILE_LINES_MAX] == []


def test_functions_are_small() -> None:
    long = [
        f"{_name(path)}: {node.name}"
        for path, tree in _parsed().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("package", PACKAGE_LINES_MAX)
def test_package_keeps_its_budget(package: str) -> None:
    lines = sum(p.read_text().count("\n") for p in (ROOT / "dfs" / package).rglob("*.py"))
    assert lines <= PACKAGE_LINES_MAX[package]


def test_modules_say_what_they_own() -> None:
    ours = [path for path in FILES if path.is_relative_to(ROOT / "dfs")]
    assert [_name(p) for p in ours if len(ast.get_docstring(_parsed()[p]) or "") < 20] == []


def test_files_name_no_place_of_one_machine() -> None:
    assert [_name(path) for path in WRITTEN if FOREIGN.search(path.read_text())] == []


def test_types_are_read_by_what_works_them_out_one_at_a_time() -> None:
    own = re.compile(r"msgspec\.(json|msgpack)\.(Decoder\b|decode\(.*\btype=)")
    door = ROOT / "dfs" / "base" / "decoding.py"
    calls = [
        (path, ast.unparse(node))  # on one line, however it is written
        for path, tree in _parsed().items()
        for node in ast.walk(tree)
        if path != door and isinstance(node, ast.Call)
    ]
    assert [_name(path) for path, call in calls if own.match(call)] == []


def test_packages_hold_only_a_docstring_in_their_init() -> None:
    public = {ROOT / "dfs" / "__init__.py", ROOT / "dfs" / "client" / "__init__.py"}
    for path in set((ROOT / "dfs").rglob("__init__.py")) - public:
        assert len(_parsed()[path].body) == 1, f"{_name(path)} holds code"


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_notes_to_finish_something_later_are_not_left_in_code() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [_name(p) for p in FILES if p.name != "test_tidy.py" and marks.search(p.read_text())]
    assert left == []
