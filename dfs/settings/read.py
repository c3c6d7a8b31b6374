"""How settings come together: packaged defaults, /etc, a file, the environment, then flags.

Later sources win key by key.  A section or key that does not exist is refused by name, with the
nearest one that does.  Only composition roots call this; nobody else reads the environment.
"""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

from dfs.base.errors import BadConfig, BadRequest
from dfs.base.units import parse_duration_s, parse_size
from dfs.settings.sections import Config

SYSTEM_FILE: Final = Path("/etc/dfs/config.ini")
LOCAL_FILE: Final = Path("config.ini")
_TRUE, _FALSE = frozenset({"yes", "true", "on", "1"}), frozenset({"no", "false", "off", "0"})

# configparser mixes the keys of its default section into every other; we have no such section.
_NO_SECTION: Final = "\n"

Overrides = Mapping[tuple[str, str], object]


def read_config(
    *, file: Path | None, environment: Mapping[str, str], overrides: Overrides | None = None
) -> Config:
    """The settings of this process.

    Args:
        file: what `--config` named; `DFS_CONFIG`, else `./config.ini` where there is one.
        environment: `DFS_CONFIG`, `DFS_NAMENODE` and `DFS_CREDENTIALS` are looked at.
        overrides: `(section, key) -> value` from flags, already of the key's type.

    Raises:
        BadConfig: a file cannot be read, or a section, key, value or relation is wrong.
    """
    found: dict[tuple[str, str], object] = {}
    for path in _files(file, environment):
        found.update(_parse(path))
    if environment.get("DFS_NAMENODE"):
        found["cluster", "namenodes"] = _list(environment["DFS_NAMENODE"])
    if environment.get("DFS_CREDENTIALS"):
        found["client", "credentials"] = environment["DFS_CREDENTIALS"]
    found.update(overrides or {})
    return _build(found)


def _files(file: Path | None, environment: Mapping[str, str]) -> list[Path]:
    named = file or (Path(environment["DFS_CONFIG"]) if environment.get("DFS_CONFIG") else None)
    if named is not None and not named.is_file():
        raise BadConfig(f"no such config file: {named}", hint="name one with --config FILE")
    local = named or LOCAL_FILE
    return [path for path in (SYSTEM_FILE, local) if path.is_file()]


def _parse(path: Path) -> dict[tuple[str, str], object]:
    parser = configparser.ConfigParser(
        interpolation=None, inline_comment_prefixes=None, default_section=_NO_SECTION
    )
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (configparser.Error, OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"{path}: {' '.join(str(exc).split())}") from None
    sections = section_types()
    found: dict[tuple[str, str], object] = {}
    for section in parser.sections():
        if section not in sections:
            raise BadConfig(f"{path}: unknown section [{section}]{_nearest(section, sections)}")
        kinds = get_type_hints(sections[section])
        for key, text in parser[section].items():
            if key not in kinds:
                raise BadConfig(f"{path}: unknown key {key!r} in [{section}]{_nearest(key, kinds)}")
            found[section, key] = _value(path, section, key, kinds[key], text)
    return found


def _value(path: Path, section: str, key: str, kind: Any, text: str) -> object:
    try:
        return parse_value(key, kind, text)
    except (ValueError, BadRequest) as exc:
        raise BadConfig(f"{path}: [{section}] {key} = {text!r}: {exc}") from None


def parse_value(key: str, kind: Any, text: str) -> object:
    """The value meant by a text for a key of that type; the key's suffix is its unit.

    Raises:
        ValueError, BadRequest: the text says nothing of that type.
    """
    if kind is bool:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError("write yes or no")
        return word in _TRUE
    if key.endswith(("_bytes", "_bytes_max")):
        return parse_size(text)
    if key.endswith("_s"):
        return parse_duration_s(text)
    if kind is int or kind is float:
        return _number(kind, text)
    if kind is str:
        return text.strip()
    return _list(text)


def _number(kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"write a {'whole ' if kind is int else ''}number") from None


def section_types() -> dict[str, type]:
    """The type of each section, by its name in the file."""
    return dict(get_type_hints(Config))


def _build(found: Mapping[tuple[str, str], object]) -> Config:
    by_section: dict[str, dict[str, Any]] = {}
    for (section, key), value in found.items():
        by_section.setdefault(section, {})[key] = value
    made = {name: section(**by_section.get(name, {})) for name, section in section_types().items()}
    return Config(**made)


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("\n", ",").split(",") if part.strip())


def _nearest(word: str, known: Mapping[str, object]) -> str:
    import difflib  # noqa: PLC0415 - start-up time of the commands

    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
