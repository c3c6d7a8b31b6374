"""Settings that say nothing, or nothing that could work, are refused by name at once."""

from pathlib import Path

import pytest

from dfs.base.errors import BadConfig
from dfs.settings.read import read_config

# What a file says, and what its refusal must name.
WRONG = [
    ("[client]\nblok_size_bytes = 1MiB\n", ["blok_size_bytes", "[client]", "block_size_bytes"]),
    ("[klient]\njobs = 1\n", ["klient", "did you mean 'client'"]),
    ("[DEFAULT]\njobs = 1\n", ["[DEFAULT]"]),
    ("jobs = 1\n", ["no section headers"]),
    ("[client]\njobs = 1\njobs = 2\n", ["jobs", "already exists"]),
    ("[client]\njobs = many\n", ["[client] jobs = 'many'", "whole number"]),
    ("[client]\njobs = 1.5\n", ["whole number"]),
    ("[client]\njobs = 0\n", ["[client] needs jobs >= 1"]),
    ("[client]\nchunks_in_flight = 0\n", ["chunks_in_flight >= 1"]),
    ("[client]\ntimeout_s = 0s\n", ["[client] needs timeout_s > 0"]),
    ("[client]\ntimeout_s = 5 parsecs\n", ["timeout_s", "not a duration"]),
    ("[client]\ntimeout_s = -5s\n", ["not a duration"]),
    ("[client]\nstall_s = inf\n", ["not a duration"]),
    ("[client]\nblock_size_bytes = 1\n", ["block_size_bytes >= 64KiB"]),
    ("[client]\nwrite_mode = fast\n", ["pipeline or fan-out"]),
    ("[client]\ngive_up_s = 1h\n", ["give_up_s <= transfer_give_up_s"]),
    ("[client]\nretry_first_s = 0s\n", ["0 < retry_first_s"]),
    ("[namenode]\nport = 70000\n", ["[namenode] needs port between 0 and 65535"]),
    ("[datanode]\nhttp_port = -1\n", ["[datanode] needs http_port"]),
    ("[datanode]\nsync = maybe\n", ["write yes or no"]),
    ("[datanode]\nreserve_percent = nan\n", ["reserve_percent"]),
    ("[datanode]\nrack = here\n", ["rack"]),
    ("[replication]\ndefault = 99\n", ["default <= maximum"]),
    ("[liveness]\nstale_after_s = 1s\n", ["heartbeat_interval_s < stale_after_s"]),
    ("[limits]\nbody_bytes_max = 0\n", ["[limits] needs body_bytes_max > 0"]),
    ("[accounts]\nregistration = maybe\n", ["open or closed"]),
    ("[logging]\nlevel = loud\n", ["debug, info, warning or error"]),
    ("[cluster]\nnamenodes =\n", ["namenodes is empty"]),
    ("[cluster]\nnamenodes = host:9870\n", ["not the address of a NameNode: 'host:9870'"]),
    ("[cluster]\nnamenodes = ftp://host\n", ["'ftp://host'"]),
    ("[cluster]\nnamenodes = http://\n", ["'http://'"]),
    ("[cluster]\nnamenodes = http://host:9870/v1\n", ["/v1"]),
]


@pytest.mark.parametrize(("text", "named"), WRONG, ids=[text for text, _ in WRONG])
def test_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, named: list[str]) -> None:
    file = tmp_path / "config.ini"
    file.write_text(text)
    with pytest.raises(BadConfig) as caught:
        read_config(file=file, environment={})
    for word in named:
        assert word in caught.value.message
    assert "\n" not in caught.value.message
    assert "invalid literal" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://host", "https://a.b:1/", "http://[::1]:9870", "http://h_1"]
)
def test_address_of_a_namenode_is_taken(url: str) -> None:
    config = read_config(file=None, environment={"DFS_NAMENODE": url})
    assert config.cluster.namenodes == (url,)


def test_namenode_of_the_environment_is_checked_as_well() -> None:
    with pytest.raises(BadConfig, match="'localhost'") as caught:
        read_config(file=None, environment={"DFS_NAMENODE": "localhost"})
    assert "http://host:9870" in caught.value.hint


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.ini").write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfig, match="config.ini"):
        read_config(file=tmp_path / "config.ini", environment={})
