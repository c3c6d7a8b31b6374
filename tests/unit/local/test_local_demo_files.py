import hashlib
from pathlib import Path

from dfs.base.entropy import Random
from dfs.local.demo_files import copy_library, take_prints, write_random


def _tree(root: Path) -> Path:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "one").write_bytes(b"1")
    (root / "a" / "b" / "two").write_bytes(b"22")
    return root


def test_prints_hold_every_file_folder_and_byte(tmp_path: Path) -> None:
    prints = take_prints(_tree(tmp_path))
    assert prints.files["a/one"] == hashlib.sha256(b"1").hexdigest()
    assert prints.folders == {"a", "a/b"}
    assert prints.size_bytes == 3


def test_prints_tell_each_kind_of_difference(tmp_path: Path) -> None:
    first, second = _tree(tmp_path / "x"), _tree(tmp_path / "y")
    assert take_prints(first).differences(take_prints(second)) == []
    (second / "a" / "one").write_bytes(b"!")
    (second / "a" / "b" / "two").unlink()
    (second / "new").write_bytes(b"")
    (second / "empty").mkdir()
    words = take_prints(first).differences(take_prints(second))
    assert sorted(words) == [
        "differs: a/one",
        "folder differs: empty",
        "missing: a/b/two",
        "not asked for: new",
    ]


def test_random_file_has_its_size_to_the_byte(tmp_path: Path) -> None:
    size_bytes = 9 * 1024 * 1024 + 1
    write_random(tmp_path / "large", size_bytes, rng=Random(3))
    assert (tmp_path / "large").stat().st_size == size_bytes


def test_library_copy_is_real_and_clean(tmp_path: Path) -> None:
    copy_library(tmp_path / "library")
    prints = take_prints(tmp_path / "library")
    assert len(prints.files) > 500
    assert "json/__init__.py" in prints.files
    assert not any("__pycache__" in name or "site-packages" in name for name in prints.files)
