"""The real process against a NameNode that speaks the routes: its whole life, from joining on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dfs.wire import dataNode_pb2 as pb
from dfs.wire.channel import open_channel
from dfs.wire.dataNode_pb2_grpc import DataNodeStub
from dfs.wire.tokens import Mode
from tests.datanode_rig import ref, upload_messages
from tests.fake_namenode import JOIN_TOKEN, FakeNamenode
from tests.unit.daemons.daemon_rig import ROOT, Daemon


def test_datanode_joins_registers_beats_serves_drains_and_keeps_its_id(
    tmp_path: Path, namenode: FakeNamenode, start
) -> None:
    folder = tmp_path / "disk"
    daemon = start(folder, "--join-token", JOIN_TOKEN).ready()
    assert daemon.line.startswith("dfs-datanode dn-3 ready: grpc 127.0.0.1:")
    namenode.wait(lambda: len(namenode.beats) >= 2)
    registration = namenode.registrations[0]
    assert daemon.grpc.endswith(f":{registration.grpc_port}")
    assert daemon.http.endswith(f":{registration.http_port}")

    with open_channel(daemon.grpc) as channel:
        DataNodeStub(channel).UploadBlock(upload_messages(b"kept"))
    namenode.wait(lambda: any(r.entries for r in namenode.reports))
    health = daemon.ask("/health")
    assert (health["status"], health["node"]) == ("ok", "dn-3")
    assert health["namenodes"][0]["registered"]
    (block,) = daemon.ask("/stock")["blocks"]
    assert (block["number"], block["state"]) == (0, "final")

    assert daemon.end() == 0
    gone = str(tmp_path / "gone")
    again = start(folder, "--join-token-file", gone).ready()  # it knows who it is: nobody reads it
    assert again.line.startswith("dfs-datanode dn-3 ready:")
    namenode.wait(lambda: len(namenode.registrations) == 2)
    assert len(namenode.joins) == 1
    assert namenode.registrations[1].clean_stop
    assert namenode.registrations[1].restarts > registration.restarts
    with open_channel(again.grpc) as channel:
        request = pb.BlockRange(block=ref(Mode.READ))
        assert b"".join(c.data for c in DataNodeStub(channel).DownloadBlock(request)) == b"kept"
    assert again.end() == 0


def begun_and_told_to_stop(
    daemon: Daemon, messages: Iterator[pb.BlockChunk]
) -> Iterator[pb.BlockChunk]:
    """The first messages of an upload; while it waits for more, the daemon is told to stop."""
    yield next(messages)
    yield next(messages)
    while daemon.ask("/health")["in_flight"] == 0:
        pass
    daemon.process.send_signal(signal.SIGTERM)
    while daemon.ask("/health")["status"] != "stopping":
        pass


def test_datanode_finishes_an_upload_when_told_to_stop(tmp_path, namenode, start) -> None:
    daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
    namenode.wait(lambda: len(namenode.beats) >= 1)
    messages = upload_messages(b"in time")

    def slowly() -> Iterator[pb.BlockChunk]:
        yield from begun_and_told_to_stop(daemon, messages)
        yield from messages

    with open_channel(daemon.grpc) as channel:
        assert DataNodeStub(channel).UploadBlock(slowly(), timeout=30).length == 7
    assert daemon.process.wait(timeout=30) == 0


def test_second_signal_stops_at_once(tmp_path, namenode, start) -> None:
    daemon = start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
    namenode.wait(lambda: len(namenode.beats) >= 1)
    messages = upload_messages(b"never")

    def stalling() -> Iterator[pb.BlockChunk]:
        yield from begun_and_told_to_stop(daemon, messages)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(timeout=30)

    with open_channel(daemon.grpc) as channel, pytest.raises(grpc.RpcError):
        DataNodeStub(channel).UploadBlock(stalling(), timeout=30)
    assert daemon.process.wait(timeout=30) == 1


def test_join_token_file_without_a_token_is_named(tmp_path, start) -> None:
    empty = tmp_path / "token"
    empty.touch()
    daemon = start(tmp_path / "disk", "--join-token-file", str(empty))
    assert daemon.process.wait(timeout=30) == 2
    assert f"there is no join token in {empty}" in daemon.log.read_text()


def test_wrong_join_token_is_one_line_and_exit_4(tmp_path, start) -> None:
    daemon = start(tmp_path / "disk", environment={"DFS_JOIN_TOKEN": "wrong"})
    assert daemon.process.wait(timeout=30) == 4
    said = [line for line in daemon.log.read_text().splitlines() if not line.startswith("{")]
    assert len(said) == 1
    assert said[0].startswith("dfs-datanode: the join token is wrong")


def test_no_join_token_says_what_to_do(tmp_path, start) -> None:
    daemon = start(tmp_path / "disk")
    assert daemon.process.wait(timeout=30) == 2
    assert "dfs-admin join-token" in daemon.log.read_text()


def test_port_in_use_is_exit_5(tmp_path, namenode, start) -> None:
    daemon = start(tmp_path / "disk", "--http-port", str(namenode.port), "--join-token", JOIN_TOKEN)
    assert daemon.process.wait(timeout=30) == 5
    assert "another process listens on" in daemon.log.read_text()


def test_same_folder_twice_is_exit_5(tmp_path, start) -> None:
    start(tmp_path / "disk", "--join-token", JOIN_TOKEN).ready()
    second = start(tmp_path / "disk", "--join-token", JOIN_TOKEN)
    assert second.process.wait(timeout=30) == 5


def test_join_waits_for_a_namenode_and_a_signal_ends_the_wait(tmp_path) -> None:
    down = FakeNamenode()
    down.close()
    daemon = Daemon(tmp_path / "disk", "--namenode", down.url, "--join-token", JOIN_TOKEN)
    while "namenode.unreachable" not in daemon.log.read_text():
        assert daemon.process.poll() is None
    assert daemon.end() == 0
    assert daemon.process.stdout is not None
    daemon.process.stdout.close()


def run_unread(*arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a command whose standard output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as unread:
        ran = subprocess.run(
            [sys.executable, "-m", "dfs.daemons.datanode", *arguments],
            cwd=ROOT,
            stdout=unread,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    return ran.returncode, ran.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dfs.daemons.datanode", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_optimised_python_is_refused(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-m", "dfs.daemons.datanode", "ls", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "python -O" in done.stderr


def test_ls_and_verify_read_a_folder_offline(tmp_path, namenode, start) -> None:
    folder = tmp_path / "disk"
    daemon = start(folder, "--join-token", JOIN_TOKEN).ready()
    namenode.wait(lambda: len(namenode.beats) >= 1)
    with open_channel(daemon.grpc) as channel:
        DataNodeStub(channel).UploadBlock(upload_messages(b"kept" * 1000))
    daemon.end(signal.SIGKILL)

    (listed,) = json.loads(run("ls", "--data", str(folder), "--json").stdout)
    assert (listed["file"], listed["number"], listed["length_bytes"]) == (21, 0, 4000)
    assert "1 blocks, 4000 bytes" in run("ls", "--data", str(folder)).stdout
    assert run_unread("ls", "--data", str(folder)) == (141, "")
    assert run("verify", "--data", str(folder)).returncode == 0

    block = next(folder.joinpath("blocks").rglob("000000.*"))
    with block.open("r+b") as file:
        file.seek(2000)
        file.write(b"?")
    bad = run("verify", "--data", str(folder), "--json")
    assert bad.returncode == 7
    assert [each["intact"] for each in json.loads(bad.stdout)] == [False]
    assert "corrupt" in run("verify", "--data", str(folder)).stdout


@pytest.mark.parametrize(("folder", "code"), [("nowhere", 3), (".", 5)])
def test_ls_of_no_data_folder_is_one_line_and_an_exit_code(
    tmp_path, folder: str, code: int
) -> None:
    done = run("ls", "--data", str(tmp_path / folder))
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
