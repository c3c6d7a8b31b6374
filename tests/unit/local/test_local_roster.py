import socket
from pathlib import Path

import pytest

from dfs.base.entropy import Random
from dfs.base.errors import LocalIoError, LocalNotFound, PortInUse
from dfs.ha.timers import DURATIONS, Timers
from dfs.local.ports import free_port, is_free, outgoing_ports
from dfs.local.roster import DATANODE, HOST, NAMENODE, Folder, Member, Roster, write_private
from dfs.local.settings_file import settings_text
from dfs.settings.read import read_config


def _member(name: str, port: int = 20_001, pid: int = 0) -> Member:
    role = NAMENODE if name.startswith("nn") else DATANODE
    return Member(name=name, role=role, port=port, http_port=port + 1, pid=pid)


def test_roster_reads_back_as_saved(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.load() == Roster()
    roster = Roster(members=(_member("nn-1"), _member("dn-1", 20_010, pid=7)))
    folder.save(roster)
    assert folder.load() == roster
    assert folder.exists()


def test_roster_refuses_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(LocalIoError, match=r"cluster\.json"):
        Folder(tmp_path).load()


def test_roster_numbers_each_role_by_itself() -> None:
    roster = Roster(members=(_member("nn-1"), _member("dn-1"), _member("dn-9")))
    assert roster.next_name(DATANODE) == "dn-10"
    assert roster.next_name(NAMENODE) == "nn-2"
    assert Roster().next_name(DATANODE) == "dn-1"


def test_roster_replaces_a_member_in_its_place() -> None:
    roster = Roster(members=(_member("nn-1"), _member("dn-1"), _member("dn-2")))
    changed = roster.with_member(_member("dn-1", pid=42))
    assert [one.name for one in changed.members] == ["nn-1", "dn-1", "dn-2"]
    assert changed.find("dn-1").pid == 42


def test_roster_lists_namenodes_first_whenever_they_came() -> None:
    roster = Roster(members=(_member("nn-1"), _member("dn-1"), _member("dn-2")))
    grown = roster.with_member(_member("nn-2", 20_020)).with_member(_member("dn-3"))
    assert [one.name for one in grown.members] == ["nn-1", "nn-2", "dn-1", "dn-2", "dn-3"]
    assert grown.namenode_urls == ("http://127.0.0.1:20002", "http://127.0.0.1:20021")


def test_roster_of_before_there_were_several_namenodes_is_read(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(
        '{"members": [{"name": "nn-1", "role": "namenode", "port": 7, "http_port": 7, "pid": 1,'
        ' "started": "12", "order": "start", "settled": true}]}'
    )
    assert Folder(tmp_path).load().find("nn-1").settled


def test_roster_names_who_is_there_when_asked_for_another() -> None:
    with pytest.raises(LocalNotFound) as caught:
        Roster(members=(_member("nn-1"), _member("dn-1"))).find("dn-7")
    assert "nn-1, dn-1" in caught.value.hint


def test_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600


def test_free_port_is_none_of_those_for_outgoing_connections() -> None:
    found = {free_port(HOST, taken=set(), rng=Random(seed)) for seed in range(50)}
    assert not found & set(outgoing_ports())


def test_free_port_avoids_taken_and_listening_ones() -> None:
    first = free_port(HOST, taken=set(), rng=Random(7))
    assert free_port(HOST, taken={first}, rng=Random(7)) != first
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        assert not is_free(HOST, listener.getsockname()[1])


def test_free_port_gives_up_when_none_is_left() -> None:
    with pytest.raises(PortInUse):
        free_port(HOST, taken=range(65_536), rng=Random(1))


def test_settings_of_a_local_cluster_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "config.ini"
    file.write_text(settings_text(namenode="http://127.0.0.1:20001", credentials=tmp_path / "c"))
    config = read_config(file=file, environment={})
    assert config.cluster.namenodes == ("http://127.0.0.1:20001",)
    assert config.client.credentials == str(tmp_path / "c")
    assert config.datanode.reserve_percent == 0


def test_timers_of_a_local_cluster_agree_and_replace_a_leader_within_seconds(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.ini"
    file.write_text(settings_text(namenode="http://127.0.0.1:20001", credentials=tmp_path / "c"))
    ha = read_config(file=file, environment={}).ha
    timers = Timers(**{name: getattr(ha, name) for name in DURATIONS})
    assert timers.election_max_s <= 2
