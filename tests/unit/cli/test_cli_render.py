import io
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfs.base.errors import BadRequest
from dfs.cli import render
from dfs.cli.find_command import age_bounds, size_bounds, time_ms
from dfs.cli.modes import parse_mode
from dfs.cli.output import PAGE_ROWS, Output


@pytest.mark.parametrize(
    ("mode", "text"),
    [(0o755, "rwxr-xr-x"), (0o1777, "rwxrwxrwt"), (0o1776, "rwxrwxrwT"), (0, "---------")],
)
def test_permissions_read_as_ls_writes_them(mode: int, text: str) -> None:
    assert render.permissions(mode) == text


@pytest.mark.parametrize(
    ("change", "before", "directory", "after"),
    [
        ("640", 0o777, False, 0o640),
        ("1777", 0, True, 0o1777),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("go-w", 0o666, False, 0o644),
        ("a=r", 0o1777, False, 0o444),
        ("a+X", 0o644, False, 0o644),
        ("a+X", 0o744, False, 0o755),
        ("a+X", 0o600, True, 0o711),
        ("g=u,o-rwx", 0o755, True, 0o770),
        ("+t", 0o755, True, 0o1755),
        ("u=rwx,go=", 0o777, True, 0o700),
        ("u-w+x", 0o600, False, 0o500),
    ],
)
def test_mode_changes_as_posix_chmod_does(
    change: str,
    before: int,
    directory: bool,  # noqa: FBT001 - a column of the table
    after: int,
) -> None:
    assert parse_mode(change).apply(before, directory=directory) == after


@pytest.mark.parametrize("text", ["", "888", "77777", "u+s", "q+x", "u", "u+x;", "+xu", "0o755"])
def test_mode_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_mode(text)


@given(st.integers(0, 0o1777), st.sampled_from(["u+r", "g-w,o=x", "a=rX", "+t", "o=g"]))
def test_mode_change_stays_a_mode_and_is_idempotent(mode: int, change: str) -> None:
    once = parse_mode(change).apply(mode, directory=True)
    assert 0 <= once <= 0o1777
    assert parse_mode(change).apply(once, directory=True) == once


def test_sizes_and_ages_of_find() -> None:
    assert size_bounds("+1k") == (1025, None)
    assert size_bounds("-1k") == (0, 1023)
    assert size_bounds("7") == (7, 7)
    assert age_bounds("-1", 86_400_000) == (0, None)
    assert age_bounds("+12h", 86_400_000) == (None, 43_200_000)
    assert time_ms("1970-01-01T00:00:01+00:00") == 1_000
    for wrong in ("7d", "soon"):
        with pytest.raises(BadRequest):
            age_bounds(wrong, 0)


def test_json_has_hex_bytes_and_iso_times() -> None:
    assert render.to_json({"hash": b"\x01\xff", "at_ms": 1}) == {
        "hash": "01ff",
        "at_ms": 1,
        "at": "1970-01-01T00:00:00.001Z",
    }
    with pytest.raises(TypeError):
        render.to_json(object())


def test_wide_and_combining_characters_take_the_columns_they_take() -> None:
    assert render.width("añb") == 3
    assert render.width("日本") == 4
    assert render.pad("日本", 6) == "日本  "


@given(st.lists(st.text("abc日", min_size=1, max_size=12), max_size=40), st.integers(5, 120))
def test_columns_hold_every_name_once_and_fit(names: list[str], line_width: int) -> None:
    lines = render.in_columns(names, line_width)
    assert sorted(" ".join(lines).split()) == sorted(names)
    widest = max(map(render.width, names), default=0)
    assert all(render.width(line) <= max(line_width, widest) for line in lines)


def test_bytes_that_are_not_utf8_are_shown_as_they_are_written_in_a_shell() -> None:
    assert render.plain(os.fsdecode(b"a\xffb")) == "a\\xffb"


@given(st.text())
def test_plain_text_never_holds_a_control_character(text: str) -> None:
    assert render.plain(text).isprintable()


def test_lines_that_come_before_a_refusal_are_written() -> None:
    out = io.StringIO()
    met = [f"/d/{number}" for number in range(PAGE_ROWS + 2)]

    def listing() -> Iterator[str]:
        yield from met
        yield "a\x1bb"
        raise BadRequest("no more")

    with pytest.raises(BadRequest):
        Output(out, out).lines(listing())
    assert out.getvalue().splitlines() == [*met, "a\\x1bb"]
