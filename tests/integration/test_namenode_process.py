"""The NameNode as a process: first and later starts, ends, and what it refuses to start on."""

import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dfs.observe.exit_codes import (
    EXIT_CONFLICT,
    EXIT_CORRUPT,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
)
from tests.namenode_serving import WAIT_S, Serving

PASSWORD = re.compile(r"\b[a-z2-9]{4}(-[a-z2-9]{4}){3}\b")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("DFS_")}


@pytest.fixture
def serve(environment: dict[str, str]) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*arguments: object) -> Serving:
        started.append(Serving([str(one) for one in arguments], environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture
def run(environment: dict[str, str]) -> Command:
    def command(*arguments: object, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "dfs.daemons.namenode", *(str(one) for one in arguments)],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            env=environment | more,
        )

    return command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "namenode"


def _said_once(got: "subprocess.CompletedProcess[str]") -> str:
    """The one line a refused start leaves on stderr."""
    lines = [line for line in got.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, got.stderr
    assert "Traceback" not in got.stderr
    return lines[0]


def test_first_start_says_how_to_go_on_and_the_password_works_once(
    serve: Callable[..., Serving], data: Path
) -> None:
    serving = serve("--data", data)
    password = PASSWORD.search(serving.said)
    assert password is not None
    for step in ("dfs login admin", "dfs-admin join-token", "dfs-datanode serve"):
        assert step in serving.said
    kept = data / "admin-password"
    assert kept.read_text() == f"{password[0]}\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    reply = serving.ask("/v1/accounts/login", {"name": "admin", "password": password[0]})
    assert reply["must_change_password"] is True
    code, errors = serving.end()
    assert (code, "Traceback" in errors) == (EXIT_DONE, False)


def test_second_start_serves_the_same_cluster_and_prints_no_password(
    serve: Callable[..., Serving], data: Path
) -> None:
    first = serve("--data", data)
    first.end()
    second = serve("--data", data)
    assert second.cluster == first.cluster
    assert second.said.count("\n") == 1
    assert second.ask("/health")["cluster"] == first.cluster


def test_change_answered_before_a_kill_is_there_after_the_next_start(
    serve: Callable[..., Serving], data: Path
) -> None:
    first = serve("--data", data)
    account = {"name": "ada", "password": "a password of twelve"}
    assert first.ask("/v1/accounts/register", account) == {"done": True}
    first.end(signal.SIGKILL)
    second = serve("--data", data)
    token = str(second.ask("/v1/accounts/login", account)["token"])
    status = second.ask("/v1/fs/stat", {"paths": ["/user/ada"]}, token)
    assert '"owner":"ada"' in msgspec.json.encode(status).decode()


def test_disk_that_fails_a_write_ends_the_process_and_the_next_start_recovers(
    serve: Callable[..., Serving], data: Path
) -> None:
    first = serve("--data", data)
    account = {"name": "ada", "password": "a password of twelve"}
    assert first.ask("/v1/accounts/register", account) == {"done": True}
    resource.prlimit(first.process.pid, resource.RLIMIT_FSIZE, (1, 1))  # every write: EFBIG
    refused = first.ask("/v1/accounts/register", account | {"name": "bob"})
    assert msgspec.convert(refused["error"], dict[str, object])["code"] == "database_unavailable"
    _, errors = first.process.communicate(timeout=WAIT_S)
    assert first.process.returncode == EXIT_UNAVAILABLE
    assert "the metadata database failed" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    second = serve("--data", data)
    assert second.ask("/v1/accounts/register", account | {"name": "bob"}) == {"done": True}
    assert "token" in second.ask("/v1/accounts/login", account)


def test_init_makes_the_cluster_that_serve_then_serves(
    serve: Callable[..., Serving], run: Command, data: Path
) -> None:
    made = run("init", "--data", data)
    assert made.returncode == EXIT_DONE
    assert PASSWORD.search(made.stdout)
    again = run("init", "--data", data)
    assert again.returncode == EXIT_DONE
    assert "already" in again.stdout
    assert not PASSWORD.search(again.stdout)
    serving = serve("--data", data)
    assert serving.cluster in made.stdout


@pytest.mark.parametrize(
    "point", ["nn.init.tables", "nn.password.kept", "nn.commit.before", "nn.init.created"]
)
def test_first_start_that_was_cut_off_is_finished_by_the_next(
    run: Command, data: Path, point: str
) -> None:
    assert run("init", "--data", data, DFS_CRASHPOINT=point).returncode == 137
    finished = run("init", "--data", data)
    assert finished.returncode == EXIT_DONE
    kept = (data / "admin-password").read_text().strip()
    assert (kept in finished.stdout) == (point != "nn.init.created")


def test_same_folder_twice_is_refused(
    serve: Callable[..., Serving], run: Command, data: Path
) -> None:
    serve("--data", data)
    got = run("serve", "--port", "0", "--data", data)
    assert got.returncode == EXIT_CONFLICT
    assert "another process serves" in _said_once(got)


def test_port_in_use_is_refused_with_the_flag_that_helps(run: Command, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        got = run("serve", "--port", port, "--data", data)
    assert got.returncode == EXIT_CONFLICT
    assert f"127.0.0.1:{port}" in _said_once(got)
    assert "--port" in got.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[namenode]\nthread = 3\n", "'thread'"),
        ("[nonsense]\n", "[nonsense]"),
        ("[namenode]\nthreads = many\n", "threads"),
        ("[namenode]\nlease_soft_s = 2h\n", "lease_soft_s"),
    ],
)
def test_wrong_settings_are_named(
    run: Command, data: Path, tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "config.ini"
    file.write_text(text)
    got = run("serve", "--data", data, "--config", file)
    assert got.returncode == EXIT_USAGE
    assert named in _said_once(got)
    assert not data.exists()


def test_folder_without_rights_is_named(run: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    got = run("serve", "--port", "0", "--data", tmp_path / "file" / "data")
    assert got.returncode == EXIT_FAILED
    assert str(tmp_path / "file" / "data") in _said_once(got)


@pytest.mark.parametrize("key", ["file", "audit_file"])
def test_log_that_cannot_be_written_is_named(
    run: Command, data: Path, tmp_path: Path, key: str
) -> None:
    config, folder = tmp_path / "config.ini", tmp_path / "a-folder"
    folder.mkdir()
    config.write_text(f"[logging]\n{key} = {folder}\n")
    got = run("serve", "--port", "0", "--data", data, "--config", config)
    assert got.returncode == EXIT_FAILED
    assert str(folder) in _said_once(got)


def test_database_that_cannot_be_opened_is_named(run: Command, data: Path) -> None:
    (data / "dfs.sqlite").mkdir(parents=True)
    got = run("serve", "--port", "0", "--data", data)
    assert got.returncode == EXIT_UNAVAILABLE
    assert "dfs.sqlite" in _said_once(got)


def test_file_that_is_no_database_is_named_and_left_alone(run: Command, data: Path) -> None:
    data.mkdir()
    (data / "dfs.sqlite").write_bytes(b"something else entirely" * 100)
    got = run("serve", "--port", "0", "--data", data)
    assert got.returncode == EXIT_CORRUPT
    assert "dfs.sqlite" in _said_once(got)
    assert (data / "dfs.sqlite").read_bytes() == b"something else entirely" * 100


def test_damaged_database_is_refused(run: Command, data: Path) -> None:
    run("init", "--data", data)
    file = data / "dfs.sqlite"
    raw = bytearray(file.read_bytes())
    for page in range(4096 * 2, len(raw), 4096):
        raw[page : page + 64] = b"\xff" * 64
    file.write_bytes(raw)
    got = run("serve", "--port", "0", "--data", data)
    assert got.returncode == EXIT_CORRUPT
    assert "docs/recover.md" in _said_once(got)


def test_journal_that_was_tampered_with_is_refused(run: Command, data: Path) -> None:
    run("init", "--data", data)
    with closing(sqlite3.connect(data / "dfs.sqlite")) as raw:
        raw.execute("UPDATE journal SET changes = x'90' WHERE txid = 1")
        raw.commit()
    got = run("serve", "--port", "0", "--data", data)
    assert got.returncode == EXIT_CORRUPT
    assert "journal record 1" in _said_once(got)


def test_database_of_a_newer_program_is_refused(run: Command, data: Path) -> None:
    run("init", "--data", data)
    with closing(sqlite3.connect(data / "dfs.sqlite")) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    for command in (["serve", "--port", "0"], ["upgrade"], ["upgrade", "--check"]):
        got = run(*command, "--data", data)
        assert got.returncode == EXIT_UNAVAILABLE
        assert "newer DFS" in _said_once(got)


def test_upgrade_of_a_current_database_does_nothing(run: Command, data: Path) -> None:
    assert "would make" in run("upgrade", "--check", "--data", data).stdout
    run("init", "--data", data)
    before = (data / "dfs.sqlite").read_bytes()
    assert "nothing to do" in run("upgrade", "--check", "--data", data).stdout
    assert "already" in run("upgrade", "--data", data).stdout
    assert (data / "dfs.sqlite").read_bytes() == before
    assert not (data / "backup").exists()


def test_usage_mistakes_end_with_the_usage_code(run: Command) -> None:
    assert run("serve", "--port", "70000").returncode == EXIT_USAGE
    assert run("nonsense").returncode == EXIT_USAGE
    assert run("--help").returncode == EXIT_DONE
