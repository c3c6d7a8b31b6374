"""The two ways bytes go between a client and a DataNode of one machine, and how to ask for each."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.ground import Ground
from bench.targets import NETWORK, SAME_HOST
from dfs.settings.sections import ClientConfig

KEYS: Final = ("same_host", "local_transfers")  # of [client]; the first that this version knows


def ways(ground: Ground) -> Mapping[str, Mapping[str, str]]:
    """The environment of each way this version has."""
    known = {field.name for field in dataclasses.fields(ClientConfig)}
    key = next((key for key in KEYS if key in known), None)
    if key is None:
        return {NETWORK: ground.environment}
    return {
        NETWORK: _with(ground, key, "no"),
        SAME_HOST: _with(ground, key, "yes"),
    }


def _with(ground: Ground, key: str, value: str) -> Mapping[str, str]:
    text = ground.cluster.folder.config.read_text(encoding="utf-8")
    assert "[client]\n" in text, text
    file = Path(ground.folder / f"config-{key}-{value}.ini")
    file.write_text(text.replace("[client]\n", f"[client]\n{key} = {value}\n"), encoding="utf-8")
    file.chmod(0o600)
    return {**ground.environment, "DFS_CONFIG": str(file)}
