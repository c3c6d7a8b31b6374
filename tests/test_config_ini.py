"""config.ini is the reference: every key of every section, with a comment, at its default."""

import configparser
import re
from pathlib import Path
from typing import get_type_hints

import pytest
from msgspec.structs import fields

from dfs.settings.read import parse_value, read_config, section_types
from dfs.settings.sections import Config

FILE = Path(__file__).resolve().parents[1] / "config.ini"
TEXT = FILE.read_text(encoding="utf-8")
KEYS = [(s, f.name) for s, kind in section_types().items() for f in fields(kind)]


def _file() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(TEXT)
    return parser


def test_config_ini_has_exactly_the_sections_of_the_program() -> None:
    assert _file().sections() == list(section_types())


@pytest.mark.parametrize("section", section_types())
def test_config_ini_has_exactly_the_keys_of_a_section_in_their_order(section: str) -> None:
    assert list(_file()[section]) == [f.name for f in fields(section_types()[section])]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_config_ini_shows_the_default(section: str, key: str) -> None:
    kind = get_type_hints(section_types()[section])[key]
    default = getattr(getattr(Config(), section), key)
    assert parse_value(key, kind, _file()[section][key]) == default


@pytest.mark.parametrize("section", section_types())
def test_config_ini_explains_every_key(section: str) -> None:
    body = re.split(r"^\[\w+\]$", TEXT.split(f"[{section}]\n", 1)[1], flags=re.MULTILINE)[0]
    for paragraph in re.split(r"\n\s*\n", body.strip()):
        lines = paragraph.splitlines()
        assert lines[0].startswith("# "), f"[{section}] has no comment above: {lines[0]}"


def test_config_ini_is_read_as_the_defaults() -> None:
    assert read_config(file=FILE, environment={}) == Config()
