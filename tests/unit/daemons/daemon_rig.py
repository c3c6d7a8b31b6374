"""`dfs-datanode serve` as a process of a test."""

import json
import os
import select
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[3]
READY_S = 30
CONFIG = """
[datanode]
reserve_bytes = 0
reserve_percent = 0
stock_delta_s = 50ms
drain_s = 10s
[liveness]
heartbeat_interval_s = 50ms
"""


class Daemon:
    """`dfs-datanode serve` in a process of its own."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        settings: str = CONFIG,
    ) -> None:
        config = folder.with_suffix(".ini")
        config.write_text(settings)
        self.log = folder.with_suffix(".log")
        command = [sys.executable, "-m", "dfs.daemons.datanode", "serve"]
        command += ["--data", str(folder), "--port", "0", "--http-port", "0"]
        command += ["--config", str(config), *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self.line = self.grpc = self.http = ""

    def ready(self) -> "Daemon":
        assert self.process.stdout is not None
        told, _, _ = select.select([self.process.stdout], [], [], READY_S)
        assert told, self.log.read_text()
        self.line = self.process.stdout.readline().strip()
        assert " ready: " in self.line, self.line + self.log.read_text()
        words = self.line.split()
        self.grpc, self.http = words[words.index("grpc") + 1], words[words.index("http") + 1]
        return self

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return json.load(answer)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)
