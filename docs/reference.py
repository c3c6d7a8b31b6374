"""Writes the pages that must equal the program: commands.md, api.md, configure.md, metrics.md.

Commands come from the parsers, routes and shapes from the route table, errors from their classes,
settings from config.ini, metrics from where they are made.  `make docs` writes them;
tests/test_docs.py fails when they are not what this would write.
"""

import argparse
import ast
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import msgspec

from dfs.base.errors import classes_by_code
from dfs.cli import grammar
from dfs.cli.errors import EXIT_MEANING
from dfs.cli.verbs import Program
from dfs.local.main import build_parser as build_local_parser
from dfs.observe.exit_codes import exit_code
from dfs.web.errors import http_status
from dfs.wire.routes import ROUTES, Route

FOLDER = Path(__file__).resolve().parent
METRIC_KINDS = ("counter", "gauge", "histogram")
Actions = list[argparse.Action]

COMMANDS_HEAD = """\
# Commands

Written by `make docs` from the programs themselves.

| program | for |
|---|---|
| [`dfs`](#dfs) | users: files in the cluster |
| [`dfs-admin`](#dfs-admin) | administrators: the cluster |
| [`dfs-namenode`](#dfs-namenode) | the NameNode daemon |
| [`dfs-datanode`](#dfs-datanode) | the DataNode daemon, and its disk offline |
| [`dfs-local`](#dfs-local) | a whole cluster on one machine |

## Everywhere

`dfs` and `dfs-admin` take these with every verb, before or after it:

{flags}

Environment: `DFS_CONFIG` (settings file), `DFS_NAMENODE` (URL, or several by commas), `DFS_TOKEN`
(a session token, instead of the one `dfs login` kept), `DFS_CREDENTIALS` (the file where it is
kept). A flag wins over the environment, the environment over files.

Exit codes, of every command and daemon:

| code | means |
|---|---|
{exits}

A path that begins with `/` is whole; another is below where you are: your home `/user/<name>`, or
the working directory in `dfs shell`.
"""

API_HEAD = """\
# REST interface

Written by `make docs` from the route table (`dfs/wire/routes.py`), which server and client share.
A running NameNode serves the same as OpenAPI at `/v1/openapi.json`.

* Every route is `POST` with a JSON body. Those marked *safe* change nothing and answer `GET` too,
  with the fields as query parameters (a list by repeating its name).
* `Authorization: Bearer dfs_...` is a user's session (from `/v1/accounts/login`),
  `Authorization: Bearer dfsn_...` a DataNode's own secret.
* `X-Request-Id`: 32 hex digits made by the caller. A change repeated under the same id is answered
  as the first time and not made twice.
* Bytes (hashes, tokens) are base64. Sizes are bytes, times milliseconds since 1970 UTC (`*_ms`).
* A batch answers one outcome an item, in the order asked: `value`, or `error`.
* A refusal is `{"error": {"code", "message", "hint", "details"}}` with the status of the
  [table](#errors). Unknown fields are refused.

Besides `/v1`: `/health` and `/metrics` (both daemons), `/stock` and `/beat-now` (DataNodes),
`/v1/openapi.json`.
"""

CONFIGURE_HEAD = """\
# Settings

Written by `make docs` from [`config.ini`](../config.ini), which has every key at its default.

Settings are read in this order, the later wins key by key:

1. the defaults in the program;
2. `/etc/dfs/config.ini`;
3. the file named by `--config FILE`, else by `DFS_CONFIG`, else `./config.ini` where there is one;
4. the environment: `DFS_NAMENODE` for `[cluster] namenodes`, `DFS_CREDENTIALS` for
   `[client] credentials`;
5. flags.

A file needs only what differs. An unknown section or key is refused by name, and so is a value
that makes no sense beside another (`stale_after_s` below `heartbeat_interval_s`); nothing starts
with settings it would have to guess about. Daemons read settings once, when they start.

Units: a key that ends in `_s` takes a duration (`500ms`, `3s`, `10m`, `24h`, `14d`), one that ends
in `_bytes` or `_bytes_max` a size in powers of 1024 (`64KiB`, `128MiB`, `4GiB`). Yes and no are
`yes` and `no`. Lists are separated by commas.

What the times of `[ha]` mean for each other, and which keys have to be alike on all machines:
[failover.md](failover.md#times).
"""

METRICS_HEAD = """\
# Metrics

Written by `make docs`. Both daemons serve `/metrics` in Prometheus' text format; a counter's name
ends in `_total` there. The usual `process_*` metrics (memory, CPU, open files) come with them.

| metric | kind | labels | means |
|---|---|---|---|
"""


def commands_page() -> str:
    """docs/commands.md."""
    flags = argparse.ArgumentParser(add_help=False)
    grammar.add_global_flags(flags)
    exits = "\n".join(f"| {code} | {text} |" for code, text in sorted(EXIT_MEANING.items()))
    parts = [COMMANDS_HEAD.format(flags=_table(flags._actions), exits=exits)]
    for name in ("user", "admin"):
        parts += _program(import_module(f"dfs.cli.{name}").PROGRAM)
    for name in ("namenode", "datanode"):
        parts += _daemon(import_module(f"dfs.daemons.{name}").build_parser())
    parts += _daemon(build_local_parser())
    return "\n".join(parts).rstrip() + "\n"


def _program(program: Program) -> Iterator[str]:
    shown = [verb for verb in program.verbs.values() if not verb.hidden]
    yield f"## {program.name}\n\n{program.summary}\n\n| verb | does |\n|---|---|"
    for verb in shown:
        yield f"| [`{verb.name}`](#{program.name}-{verb.name.replace(' ', '-')}) | {verb.summary} |"
    everywhere = argparse.ArgumentParser(add_help=False)
    grammar.add_global_flags(everywhere)
    known = {flag for action in everywhere._actions for flag in action.option_strings}
    for verb in shown:
        parser = grammar.parser_of(program, verb)
        own = [one for one in _own(parser) if not known & set(one.option_strings)]
        yield f"\n### {program.name} {verb.name}\n\n{verb.summary}. {verb.description}".rstrip()
        yield f"\n```\n{' '.join(_usage(parser).split())}\n```\n"
        yield _table(own)
        for example in verb.examples:
            yield f"\n`{example.command}` — {example.meaning}"


def _daemon(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"\n## {parser.prog}\n\n{parser.description or ''}\n"
    yield _table(_own(parser))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                yield f"\n### {parser.prog} {name}\n\n{verb.description or ''}"
                yield f"\n```\n{' '.join(_usage(verb).split())}\n```\n"
                yield _table(_own(verb))


def _usage(parser: argparse.ArgumentParser) -> str:
    """On one line, whatever the terminal's width."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=10_000)
    return parser.format_usage().removeprefix("usage: ")


def _own(parser: argparse.ArgumentParser) -> Actions:
    skipped = (argparse._HelpAction, argparse._SubParsersAction)
    return [
        one
        for one in parser._actions
        if not isinstance(one, skipped)
        and "--help" not in one.option_strings
        and one.help != argparse.SUPPRESS
    ]


def _table(actions: Actions) -> str:
    if not actions:
        return ""
    lines = ["| argument | means |", "|---|---|"]
    for action in actions:
        value = _value(action)
        names = ", ".join(f"`{flag}{value}`" for flag in action.option_strings)
        text = (action.help or "") % (vars(action) | {"prog": ""})
        lines.append(f"| {names or f'`{value.strip()}`'} | {_cell(text)} |")
    return "\n".join(lines)


def _value(action: argparse.Action) -> str:
    if action.option_strings and action.nargs == 0:
        return ""
    metavar = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if action.choices is not None and action.metavar is None:
        metavar = "{" + ",".join(str(one) for one in action.choices) + "}"
    return f" {metavar if isinstance(metavar, str) else ' '.join(metavar)}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def api_page() -> str:
    """docs/api.md."""
    shapes: dict[str, type] = {}
    parts = [API_HEAD, "## Routes\n", "| route | does | caller | safe |", "|---|---|---|---|"]
    for route in ROUTES:
        safe = "yes" if route.safe else ""
        parts.append(
            f"| [`{route.path}`](#{_anchor(route.path)}) | {_cell(route.summary)} "
            f"| {route.caller.value} | {safe} |"
        )
    for route in ROUTES:
        parts.append(_route(route, shapes))
    parts += ["\n## Shapes\n", *_shapes(shapes), *_errors()]
    return "\n".join(parts).rstrip() + "\n"


def _route(route: Route[typing.Any, typing.Any], shapes: dict[str, type]) -> str:
    return (
        f"\n### {route.path}\n\n{_first(route.takes)}\n\n"
        f"Takes:\n\n{_fields(route.takes, shapes)}\n\nAnswers {_shown(route.gives, shapes)}."
    )


def _shapes(shapes: dict[str, type]) -> Iterator[str]:
    done: set[str] = set()
    while left := sorted(shapes.keys() - done):
        for name in left:
            done.add(name)
            yield f"### {name}\n\n{_first(shapes[name])}\n\n{_fields(shapes[name], shapes)}\n"


def _errors() -> Iterator[str]:
    yield "## Errors\n\n| code | kind | HTTP | exit | means | hint |\n|---|---|---|---|---|---|"
    for code, leaf in classes_by_code().items():
        error = leaf("")
        yield (
            f"| `{code}` | {leaf.kind.value} | {http_status(error)} | {exit_code(error)} "
            f"| {_cell(_first(leaf))} | {_cell(leaf.default_hint)} |"
        )


def _fields(shape: type, shapes: dict[str, type]) -> str:
    rows = list(_each_field(shape, shapes))
    if not rows:
        return "nothing"
    return "\n".join(["| field | type | default |", "|---|---|---|", *rows])


def _each_field(shape: type, shapes: dict[str, type]) -> Iterator[str]:
    hints = typing.get_type_hints(shape)
    if dataclasses.is_dataclass(shape):
        named = [(one.name, one.default, one.default_factory) for one in dataclasses.fields(shape)]
        missing: object = dataclasses.MISSING
    else:
        found = msgspec.structs.fields(shape)
        named = [(one.name, one.default, one.default_factory) for one in found]
        missing = msgspec.NODEFAULT
    for name, default, factory in named:
        made = factory() if callable(factory) else default
        shown = "" if made is missing else f"`{_plain(made)}`"
        yield f"| `{name}` | {_shown(hints[name], shapes)} | {shown} |"


def _plain(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _shown(kind: object, shapes: dict[str, type]) -> str:
    """A type as a reader of JSON would call it; ours are linked and noted in `shapes`."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _shown(inner[0], shapes)
    if origin in (list, tuple):
        return f"list of {_shown(inner[0], shapes)}"
    if origin is dict:
        return f"object of {_shown(inner[1], shapes)}"
    if origin is frozenset:
        return f"list of {_shown(inner[0], shapes)}"
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return f"{_named(origin, shapes)} of {_shown(inner[0], shapes)}"
    if inner:
        return " or ".join(_shown(one, shapes) for one in inner)
    return _simple(kind, shapes)


def _simple(kind: object, shapes: dict[str, type]) -> str:
    plain = {int: "integer", float: "number", str: "string", bool: "boolean", bytes: "bytes"}
    if kind in plain:
        return plain[kind]
    if kind is type(None):
        return "null"
    if hasattr(kind, "__supertype__"):
        return _simple(kind.__supertype__, shapes)
    if isinstance(kind, type) and (
        issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)
    ):
        return _named(kind, shapes)
    return f"`{getattr(kind, '__name__', kind)}`" if isinstance(kind, type) else "any"


def _named(kind: type, shapes: dict[str, type]) -> str:
    shapes[kind.__name__] = kind
    return f"[{kind.__name__}](#{kind.__name__.lower()})"


def _anchor(path: str) -> str:
    return re.sub(r"[^\w-]", "", path.lower())


def _first(thing: type) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def configure_page() -> str:
    """docs/configure.md."""
    text = (FOLDER.parent / "config.ini").read_text(encoding="utf-8")
    parts = [CONFIGURE_HEAD]
    for name, body in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL):
        about, *paragraphs = re.split(r"\n\s*\n", body.strip())
        parts += [
            f"## [{name}]\n\n{_comment(about)}\n",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for paragraph in paragraphs:
            keys = re.findall(r"^(\w+) = ?(.*)$", paragraph, re.MULTILINE)
            names = "<br>".join(f"`{key}`" for key, _ in keys)
            values = "<br>".join(f"`{value}`" if value else "(empty)" for _, value in keys)
            parts.append(f"| {names} | {values} | {_cell(_comment(paragraph))} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _comment(paragraph: str) -> str:
    return " ".join(line[2:] for line in paragraph.splitlines() if line.startswith("# "))


def metrics_page() -> str:
    """docs/metrics.md."""
    return METRICS_HEAD + "\n".join(sorted(_metrics())) + "\n"


def _metrics() -> Iterator[str]:
    """Every call of `Metrics.counter`, `.gauge` or `.histogram` with a name of ours."""
    for path in (FOLDER.parent / "dfs").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            words = [str(one.value) for one in call.args[:2] if isinstance(one, ast.Constant)]
            if call.func.attr not in METRIC_KINDS or len(words) < 2:
                continue
            labels = [
                str(one.value)
                for group in call.args[2:]
                for one in ast.walk(group)
                if call.func.attr != "gauge" and isinstance(one, ast.Constant)
            ]
            name = (
                f"{words[0].removesuffix('_total')}_total"
                if call.func.attr == "counter"
                else words[0]
            )
            yield f"| `{name}` | {call.func.attr} | {', '.join(labels)} | {_cell(words[1])} |"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "api.md": api_page,
    "configure.md": configure_page,
    "metrics.md": metrics_page,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
