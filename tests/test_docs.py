"""The documents name everything the program has; four of them are written from it."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import fields

from dfs.base.errors import classes_by_code
from dfs.base.events import Event
from dfs.settings.read import section_types
from dfs.wire.routes import ROUTES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *DOCS.glob("*.md")])
METRIC_MAKERS = {"counter", "gauge", "histogram"}


def _text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dfs_docs_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _metric_names() -> list[str]:
    """Every name given to `Metrics.counter`, `.gauge` or `.histogram`."""
    found = set()
    for path in (ROOT / "dfs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METRIC_MAKERS
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and str(node.args[0].value).startswith("dfs_")
            ):
                found.add(str(node.args[0].value))
    return sorted(found)


@pytest.mark.parametrize("page", ["commands.md", "api.md", "configure.md", "metrics.md"])
def test_page_is_what_the_program_says_now(page: str) -> None:
    assert _text(page) == _reference().PAGES[page](), "run: make docs"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_api_page_names_the_route(route: object) -> None:
    assert f"### {route.path}\n" in _text("api.md")  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", classes_by_code())
def test_api_page_names_the_error(code: str) -> None:
    assert f"| `{code}` |" in _text("api.md")


@pytest.mark.parametrize("section", section_types())
def test_configure_page_names_every_key(section: str) -> None:
    body = _text("configure.md").split(f"## [{section}]", 1)[1].split("\n## ", 1)[0]
    missing = [f.name for f in fields(section_types()[section]) if f"`{f.name}`" not in body]
    assert missing == []


@pytest.mark.parametrize("event", list(Event), ids=str)
def test_operate_page_names_the_event(event: Event) -> None:
    assert f"`{event.value}`" in _text("operate.md")


@pytest.mark.parametrize("metric", _metric_names() or ["dfs_"])
def test_metrics_page_names_the_metric(metric: str) -> None:
    assert f"`{metric.removesuffix('_total')}" in _text("metrics.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_pages_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    fenced = [part for at, part in enumerate(re.split(r"(?m)^```\w*$", text)) if at % 2]
    code = "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", text)])
    named = set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE))
    assert [one for one in sorted(named) if f"\n{one}:" not in makefile] == []
