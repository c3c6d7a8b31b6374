"""What deploy/ says is true of the program: flags, ports, paths and times; and it parses."""

import argparse
import configparser
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dfs.base.units import parse_duration_s
from dfs.cli import grammar
from dfs.settings.read import read_config
from dfs.settings.sections import Config

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
UNITS = {"dfs-namenode": "namenode", "dfs-datanode": "datanode"}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))
DAEMON_SERVICES = {
    name: service
    for name, service in COMPOSE["services"].items()
    if service["command"][0].startswith("dfs-")
}
HARDENING = (
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectHome",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictNamespaces",
    "RestrictSUIDSGID",
)


def _parser(program: str) -> argparse.ArgumentParser:
    module = import_module(f"dfs.daemons.{program.removeprefix('dfs-')}")
    parser: argparse.ArgumentParser = module.build_parser()
    return parser


def _parse(words: list[str]) -> argparse.Namespace:
    """Parse a command line of a daemon as the daemon would."""
    return _parser(Path(words[0]).name).parse_args(words[1:])


def _unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / f"{name}.service").read_text(encoding="utf-8"))
    return unit


@pytest.mark.parametrize("name", UNITS)
def test_unit_starts_its_daemon_with_flags_it_has(name: str) -> None:
    words = shlex.split(_unit(name)["Service"]["ExecStart"])
    assert words[0] == f"/opt/dfs/bin/{name}"
    assert words[1] == "serve"
    _parse(words)


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_hardened(name: str) -> None:
    service = _unit(name)["Service"]
    assert [key for key in HARDENING if service.get(key) != "yes"] == []
    assert service["ProtectSystem"] == "strict"
    assert service["User"] == "dfs"
    assert service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize("name", UNITS)
def test_unit_may_write_where_its_daemon_does(name: str) -> None:
    unit = _unit(name)
    words = shlex.split(unit["Service"]["ExecStart"])
    data = words[words.index("--data") + 1]
    assert data == f"/var/lib/{unit['Service']['StateDirectory']}"
    assert unit["Unit"]["RequiresMountsFor"] == data


@pytest.mark.parametrize("name", UNITS)
def test_unit_waits_longer_than_the_daemon_drains(name: str) -> None:
    timeout_s = parse_duration_s(_unit(name)["Service"]["TimeoutStopSec"])
    assert timeout_s >= Config().datanode.drain_s + 30


@pytest.mark.parametrize("name", UNITS)
def test_unit_needs_the_network_and_comes_back(name: str) -> None:
    unit = _unit(name)
    assert "network-online.target" in unit["Unit"]["After"].split()
    assert "network-online.target" in unit["Unit"]["Wants"].split()
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("name", UNITS)
def test_unit_passes_systemds_own_check(name: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    text = (DEPLOY / f"{name}.service").read_text(encoding="utf-8")
    copy = tmp_path / f"{name}.service"
    copy.write_text(re.sub(r"/opt/dfs/bin/\S+", sys.executable, text), encoding="utf-8")
    run = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in run.stderr.splitlines() if f"{name}.service" in line]
    assert complaints == []


@pytest.mark.parametrize("name", DAEMON_SERVICES)
def test_compose_service_uses_flags_its_daemon_has(name: str) -> None:
    asked = _parse(DAEMON_SERVICES[name]["command"])
    assert asked.host == "0.0.0.0"  # else nobody outside the container would reach it


@pytest.mark.parametrize("name", DAEMON_SERVICES)
def test_compose_service_keeps_its_data_in_a_volume_of_its_own(name: str) -> None:
    asked = _parse(DAEMON_SERVICES[name]["command"])
    folder = asked.data[0] if isinstance(asked.data, list) else asked.data
    assert f"{name}:{folder}" in DAEMON_SERVICES[name]["volumes"]
    assert name in COMPOSE["volumes"]
    assert DAEMON_SERVICES[name]["hostname"] == name  # the name it gives to others


@pytest.mark.parametrize("name", DAEMON_SERVICES)
def test_compose_asks_health_on_the_port_in_use(name: str) -> None:
    config = Config()
    port = config.namenode.port if name == "namenode" else config.datanode.http_port
    assert f"127.0.0.1:{port}/health" in DAEMON_SERVICES[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", DAEMON_SERVICES)
def test_compose_lets_a_daemon_drain(name: str) -> None:
    grace_s = parse_duration_s(DAEMON_SERVICES[name]["stop_grace_period"])
    assert grace_s >= Config().datanode.drain_s + 30


def test_compose_gives_datanodes_the_token_that_first_login_writes() -> None:
    script = (DEPLOY / "first-login.sh").read_text(encoding="utf-8")
    written = re.search(r"^token=(\S+)$", script, re.MULTILINE)
    assert written is not None
    datanodes = [_parse(s["command"]) for n, s in DAEMON_SERVICES.items() if n != "namenode"]
    assert [str(asked.join_token_file) for asked in datanodes] == [written[1]] * 3
    assert f"--uses {len(datanodes)}" in script


def test_first_login_uses_verbs_and_flags_that_exist() -> None:
    script = (DEPLOY / "first-login.sh").read_text(encoding="utf-8")
    found = re.findall(r"\b(dfs|dfs-admin) ([a-z][^<>|;\n]*)", re.sub(r"#.*", "", script))
    assert len(found) == 4
    for program, line in found:
        module = import_module(f"dfs.cli.{'user' if program == 'dfs' else 'admin'}")
        grammar.parse(module.PROGRAM, shlex.split(line))


@pytest.mark.parametrize("script", ["first-login.sh", "dfs-health"])
def test_script_is_a_shell_script(script: str) -> None:
    subprocess.run(["sh", "-n", str(DEPLOY / script)], check=True)


def _commands(line: str) -> list[list[str]]:
    """The commands of ours in a line of shell."""
    return [
        shlex.split(one)
        for one in re.split(r"\|\||&&|;|\$\(|\)", line)
        if one.split()[:1] in (["dfs"], ["dfs-admin"], ["dfs-health"])
    ]


def _parse_ours(words: list[str]) -> None:
    program, *rest = words
    if program == "dfs-health":
        program, rest = "dfs-admin", ["health", "--quiet", *rest]
    module = import_module(f"dfs.cli.{'user' if program == 'dfs' else 'admin'}")
    grammar.parse(module.PROGRAM, rest)


def test_crontab_uses_verbs_and_flags_that_exist() -> None:
    text = (DEPLOY / "dfs-health.crontab").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] in "*0123456789"]
    assert len(lines) == 4
    for line in lines:
        *when, user, command = line.split(None, 6)
        assert len(when) == 5
        assert user == "dfs"
        found = _commands(command)
        assert found
        for words in found:
            _parse_ours(words)


def test_crontab_finds_the_program_and_the_session_where_the_unit_does() -> None:
    text = (DEPLOY / "dfs-health.crontab").read_text(encoding="utf-8")
    cron = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    unit = (DEPLOY / "dfs-health.service").read_text(encoding="utf-8")
    said = dict(re.findall(r"^Environment=([A-Z_]+)=(.*)$", unit, re.MULTILINE))
    assert {key: cron[key] for key in said} == said
    assert said["DFS_CREDENTIALS"].startswith("/var/lib/dfs/health/")


def test_health_script_asks_health_and_logs_in_with_what_exists() -> None:
    text = (DEPLOY / "dfs-health").read_text(encoding="utf-8")
    assert (DEPLOY / "dfs-health").stat().st_mode & 0o111
    found = re.findall(r"\b(dfs(?:-admin)? (?:health|login) [^<)]*)", re.sub(r"#.*", "", text))
    assert len(found) == 3
    for line in found:
        _parse_ours([word for word in shlex.split(line) if not word.startswith("$@")])


def test_health_unit_is_hardened_and_started_by_its_timer() -> None:
    service = _unit("dfs-health")["Service"]
    assert service["Type"] == "oneshot"
    assert shlex.split(service["ExecStart"])[0] == "/opt/dfs/bin/dfs-health"
    _parse_ours(["dfs-health", *shlex.split(service["ExecStart"])[1:]])
    assert [key for key in HARDENING if service.get(key) != "yes"] == []
    assert service["ProtectSystem"] == "strict"
    assert f"/var/lib/{service['StateDirectory']}" == "/var/lib/dfs/health"
    assert parse_duration_s(service["TimeoutStartSec"]) > 2 * Config().client.give_up_s
    timer = configparser.ConfigParser(interpolation=None, strict=False)
    timer.optionxform = str  # type: ignore[assignment,method-assign]
    timer.read_string((DEPLOY / "dfs-health.timer").read_text(encoding="utf-8"))
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert "OnUnitActiveSec" in timer["Timer"]


@pytest.mark.parametrize(
    ("answers", "code", "logins"),
    [
        (["0"], 0, 0),
        (["2"], 2, 0),
        (["3", "0"], 0, 1),
        (["3", "1"], 1, 1),
    ],
)
def test_health_script_logs_in_once_when_nobody_is(
    tmp_path: Path, answers: list[str], code: int, logins: int
) -> None:
    (tmp_path / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    (tmp_path / "password").write_text("words\n")
    admin = tmp_path / "dfs-admin"
    admin.write_text(
        '#!/bin/sh\nread code <"$0.now" || exit 9\n'.replace("$0.now", str(tmp_path / "answers"))
        + f'sed -i 1d "{tmp_path}/answers"\n[ "$code" = 0 ] || echo "said $code $*"\nexit "$code"\n'
    )
    login = tmp_path / "dfs"
    login.write_text(f'#!/bin/sh\ncat >>"{tmp_path}/logins"\n')
    for program in (admin, login):
        program.chmod(0o755)
    run = subprocess.run(
        [str(DEPLOY / "dfs-health"), "--probe"],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "DFS_HEALTH_PASSWORD_FILE": str(tmp_path / "password"),
        },
    )
    assert run.returncode == code
    assert run.stdout == (f"said {code} health --quiet --probe\n" if code else "")
    said = tmp_path / "logins"
    assert (said.read_text().count("words") if said.exists() else 0) == logins


def test_prometheus_scrapes_every_service_where_it_listens() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {target for job in jobs for one in job["static_configs"] for target in one["targets"]}
    config = Config()
    assert targets == {
        f"{name}:{config.namenode.port if name == 'namenode' else config.datanode.http_port}"
        for name in DAEMON_SERVICES
    }
    assert {job["metrics_path"] for job in jobs} == {"/metrics"}


def test_every_alert_is_about_metrics_that_there_are_and_says_what_to_do() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    assert settings["rule_files"] == ["alerts.yml"]
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    listed = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for rule in rules:
        named = re.findall(r"\bdfs_[a-z_]+", rule["expr"])
        assert named, rule
        assert [name for name in named if f"`{name}`" not in listed] == []
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert "dfs-admin" in rule["annotations"]["description"] or "docs/" in str(rule)
    assert len({rule["alert"] for rule in rules}) == len(rules)


def test_dockerfile_copies_what_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _target = line.split()
        assert [name for name in sources if not (ROOT / name).exists()] == []


def test_installed_config_file_is_read() -> None:
    assert read_config(file=ROOT / "config.ini", environment={}) == Config()
