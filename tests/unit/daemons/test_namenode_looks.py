"""A NameNode whose disk is nearly full is not to lead, and says why."""

from pathlib import Path

from dfs.daemons.namenode_looks import FREE_MIN_BYTES, hindrance_of


def test_namenode_without_room_is_hindered_and_says_how_much_is_left() -> None:
    assert hindrance_of(Path("/data"), FREE_MIN_BYTES) == ""
    assert hindrance_of(Path("/data"), FREE_MIN_BYTES - 1).startswith("the disk of /data has 16")
    assert "0 B left" in hindrance_of(Path("/data"), 0)
