"""A NameNode as a process of its own, started by its command line."""

import re
import signal
import subprocess
import sys

import msgspec
import urllib3

READY = re.compile(r"^dfs-namenode ready: http (127\.0\.0\.1:\d+) cluster ([0-9a-f]{32})$")
WAIT_S = 60


class Serving:
    """A NameNode process that said it was ready."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dfs.daemons.namenode", "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if found := READY.match(line.strip()):
                self.url, self.cluster = f"http://{found[1]}", found[2]
                return
        raise AssertionError(self.said + self.process.communicate(timeout=WAIT_S)[1])

    def ask(self, path: str, body: object = None, token: str = "") -> dict[str, object]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        raw = None if body is None else msgspec.json.encode(body)
        answer = urllib3.request(
            "GET" if raw is None else "POST", self.url + path, body=raw, headers=headers, timeout=30
        )
        found: dict[str, object] = msgspec.json.decode(answer.data)
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors
