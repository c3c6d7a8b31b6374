from pathlib import Path

from dfs.base.checksum import block_hash, file_checksum
from dfs.base.ids import NodeId
from dfs.base.records import Holder, LocatedFile
from dfs.base.states import NodeState, ReplicaState
from dfs.cli.inspect_commands import verdict_word
from dfs.client import ReplicaVerdict
from tests.builders import an_address
from tests.unit.cli.conftest import Console
from tests.unit.cli.fake_namenode import FakeNamenode, an_extent


def test_stat_shows_facts_a_line_each(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/a", 4096)
    lines = dict(line.split(":", 1) for line in console.dfs("stat", "/a").out.splitlines())
    assert lines["size"].strip() == "4096 bytes (4 KiB)"
    assert lines["mode"].strip() == "0644 rw-r--r--"


def test_locate_shows_holders_with_what_is_wrong_and_never_the_token(
    console: Console, namenode: FakeNamenode
) -> None:
    status = namenode.add_file("/a", 10)
    good = Holder(an_address(1), ReplicaState.LIVE, NodeState.LIVE)
    bad = Holder(an_address(2), ReplicaState.CORRUPT, NodeState.STALE)
    namenode.located["/a"] = LocatedFile(status, (an_extent(10, good, bad),))
    ran = console.dfs("locate", "/a")
    assert ran.code == 0
    assert "dn-1, dn-2 (corrupt, node stale)" in ran.out
    document = console.dfs("locate", "--json", "/a")
    assert document.json[0]["blocks"][0]["holders"][1]["state"] == "corrupt"
    assert "token" not in document.out
    assert b"a secret token".hex() not in document.out


def test_locate_exits_7_when_a_block_has_no_readable_copy(
    console: Console, namenode: FakeNamenode
) -> None:
    namenode.locate_without_holders(namenode.add_file("/a", 10))
    ran = console.dfs("locate", "/a")
    assert ran.code == 7
    assert "NOBODY" in ran.out
    assert "no readable copy of 1 block" in ran.err


def test_checksum_prints_a_line_a_file(console: Console, namenode: FakeNamenode) -> None:
    namenode.add_file("/a", checksum=b"\xab" * 16)
    assert console.dfs("checksum", "/a").out == f"{'ab' * 16}  /a\n"


def test_checksum_compare_tells_same_from_different(
    console: Console, namenode: FakeNamenode, tmp_path: Path
) -> None:
    local = tmp_path / "a"
    local.write_bytes(b"0123456789")
    namenode.add_file("/a", 10, checksum=file_checksum([(10, block_hash(b"0123456789"))]))
    ran = console.dfs("checksum", "/a", "--compare", str(local))
    assert (ran.code, ran.out) == (0, "1 file compared, 1 the same\n")
    local.write_bytes(b"0123456780")
    ran = console.dfs("checksum", "/a", "--compare", str(local))
    assert (ran.code, ran.out.splitlines()[0]) == (1, "other content  /a")
    local.unlink()
    assert console.dfs("checksum", "/a", "--compare", str(local)).code == 1


def test_checksum_compare_walks_directories_both_ways(
    console: Console, namenode: FakeNamenode, tmp_path: Path
) -> None:
    namenode.add_directory("/d")
    namenode.add_file("/d/same", 2, checksum=file_checksum([(2, block_hash(b"ok"))]))
    namenode.add_file("/d/gone", 2)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "same").write_bytes(b"ok")
    (tmp_path / "d" / "extra").write_bytes(b"")
    ran = console.dfs("checksum", "/d", "--compare", str(tmp_path / "d"))
    assert ran.code == 1
    assert "only in DFS  /d/gone" in ran.out
    assert "only here    /d/extra" in ran.out
    assert "3 files compared, 1 the same" in ran.out


def test_verify_tells_a_bad_copy_from_one_out_of_reach() -> None:
    def verdict(**changes: object) -> ReplicaVerdict:
        whole = {"intact": True, "reason": "", "reached": True} | changes
        return ReplicaVerdict("/a", 0, 1, 1, 10, NodeId(1), **whole)  # type: ignore[arg-type]

    assert verdict_word(verdict()) == "intact"
    assert verdict_word(verdict(intact=False, reason="other bytes")) == "BAD"
    assert verdict_word(verdict(intact=False, reason="refused", reached=False)) == "unreached"


def test_verify_exits_6_when_the_only_holder_is_out_of_reach(
    console: Console, namenode: FakeNamenode
) -> None:
    holder = Holder(an_address(1, port=9), ReplicaState.LIVE, NodeState.LIVE)
    namenode.located["/a"] = LocatedFile(namenode.add_file("/a", 10), (an_extent(10, holder),))
    ran = console.dfs("verify", "/a")
    assert ran.code == 6
    assert "unreached  dn-1  0: 7.3  /a" in ran.out
    assert "1 copy asked for, 1 on nodes out of reach" in ran.err


def test_verify_exits_7_when_nobody_holds_a_block(console: Console, namenode: FakeNamenode) -> None:
    namenode.locate_without_holders(namenode.add_file("/a", 10))
    ran = console.dfs("verify", "/a", "--json")
    assert (ran.code, ran.json[0]["node"]) == (7, "-")
