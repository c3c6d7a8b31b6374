"""A NameNode takes its own folder for its own, however little is in it yet."""

import os
from pathlib import Path

import pytest

from dfs.base.errors import ForeignFolder, LocalIoError
from dfs.daemons.namenode_folder import NamenodeFolder


def test_folder_of_a_member_without_a_database_is_ours(tmp_path: Path) -> None:
    folder = NamenodeFolder(tmp_path)
    rows = (tmp_path / name for name in ("voter.row", "correspondents"))
    for mine in (folder.member_row, folder.joining, *rows):
        mine.touch()
        mine.with_name(f"{mine.name}.new").touch()
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "diverged-3-20261028T101112.123Z.sqlite").touch()
    folder.close()
    NamenodeFolder(tmp_path).close()


@pytest.mark.parametrize("name", ["member", "snapshot.tar", "blocks"])
def test_folder_of_somebody_else_is_not(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ForeignFolder):
        NamenodeFolder(tmp_path)


def test_uuid_of_a_newcomer_is_made_once(tmp_path: Path) -> None:
    folder = NamenodeFolder(tmp_path)
    uuid = folder.joining_uuid()
    assert (len(uuid), folder.joining_uuid()) == (32, uuid)
    folder.close()


def test_uuid_of_a_newcomer_has_no_file_before_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = NamenodeFolder(tmp_path)

    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(LocalIoError):
            folder.joining_uuid()
    assert not folder.joining.exists()
    assert len(folder.joining_uuid()) == 32
    folder.close()
