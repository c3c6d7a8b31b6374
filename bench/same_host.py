"""The two ways bytes go between a client and a DataNode of one machine, and how to ask for each."""

from collections.abc import Mapping
from typing import Final

from bench.ground import Ground
from bench.targets import NETWORK, SAME_HOST

KEY: Final = "local_transfers"  # of [client]


def ways(ground: Ground) -> Mapping[str, Mapping[str, str]]:
    """The environment of each way."""
    return {NETWORK: _with(ground, "no"), SAME_HOST: _with(ground, "yes")}


def _with(ground: Ground, value: str) -> Mapping[str, str]:
    text = ground.cluster.folder.config.read_text(encoding="utf-8")
    assert "[client]\n" in text, text
    file = ground.folder / f"{KEY}-{value}.ini"
    file.write_text(text.replace("[client]\n", f"[client]\n{KEY} = {value}\n"), encoding="utf-8")
    file.chmod(0o600)
    return {**ground.environment, "DFS_CONFIG": str(file)}
