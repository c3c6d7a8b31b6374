"""Eight clients at work while a cluster of `tests.ha_rig` is hurt; were they told what is true?

They are a process of their own (`tests.failover_writers`), which notes in a file what it is told.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster_rig import wait_until
from tests.failover_writers import count_by_answer
from tests.ha_processes import ROOT
from tests.ha_rig import HaRig
from tests.histories import Answer, Operation, Verb, from_lines
from tests.history_checker import violations

ENDS_S = 180.0
SHOWN = 5


class Load:
    """Clients of one cluster, below one folder.

    Args:
        give_up_s: seconds after which a client takes no answer for none.
    """

    def __init__(self, rig: HaRig, root: str, *, seed: int = 1, give_up_s: float = 5.0) -> None:
        self._rig = rig
        name = root.strip("/").replace("/", "-")
        self.diary = rig.root / f"history-{name}"
        self._errors = rig.root / f"clients-{name}.log"
        words = ["-m", "tests.failover_writers", "--out", str(self.diary), "--root", root]
        words += ["--namenode", ",".join(rig.urls), "--seed", str(seed)]
        self._command = rig.client_command([*words, "--give-up", str(give_up_s)])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Prepare what they work on, and begin."""
        with self._errors.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "--seconds", "3600"],
                cwd=ROOT,
                env=self._rig.variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", self._errors.read_text()

    def stop(self) -> None:
        """Have each client hear its last answer, or give up."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(ENDS_S) == 0, self._errors.read_text()

    def close(self) -> None:
        """SIGKILL, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_S)
            assert self._process.stdout is not None
            self._process.stdout.close()

    def history(self) -> list[Operation]:
        """What they were told by now."""
        with self.diary.open("rb") as lines:
            return from_lines(lines)

    def await_more(self, count: int = 150, *, within_s: float = 90.0) -> None:
        """Wait until so many more operations were answered."""
        with self.diary.open("rb") as diary:
            diary.seek(0, os.SEEK_END)
            answered = 0

            def are_answered() -> bool:
                nonlocal answered
                assert self._process is not None
                ended = self._process.poll()
                assert ended is None, f"the clients ended with {ended}: {self._errors.read_text()}"
                answered += diary.read().count(b'"end_s"')
                return answered >= count

            wait_until(are_answered, f"{count} more operations are answered", within_s=within_s)

    def judge(self) -> Counter[tuple[Verb, Answer]]:
        """Read everything once more and hold it against what they were told; how much there was.

        Raises:
            AssertionError: something was lost, invented or told in the wrong order.
        """
        looked = subprocess.run(
            [*self._command, "--look"],
            cwd=ROOT,
            env=self._rig.variables,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
            check=False,
        )
        assert looked.returncode == 0, looked.stderr
        assert not looked.stdout, f"lost: {looked.stdout}"
        history = self.history()
        found = violations(history)
        assert not found, "\n".join(map(str, found[:SHOWN]))
        return count_by_answer(history)


@contextmanager
def at_work(rig: HaRig, root: str, *, seed: int = 1, give_up_s: float = 5.0) -> Iterator[Load]:
    """Clients are at work; afterwards what they were told was judged, and the tables compared."""
    load = Load(rig, root, seed=seed, give_up_s=give_up_s)
    try:
        load.start()
        load.await_more()
        yield load
        load.await_more()
        load.stop()
        counts = load.judge()
    finally:
        load.close()
    told = {f"{verb} {answer}": n for (verb, answer), n in sorted(counts.items())}
    silent_s = longest_silence_s(load.history())
    print(f"{root}: longest without an answer {silent_s:.2f} s; {told}", flush=True)
    for verb in Verb:
        assert counts[verb, Answer.OK] >= 1, counts


def longest_silence_s(history: Sequence[Operation]) -> float:
    """The longest time in which no client that was at work was told that something was done."""
    done = (one for one in history if one.answer is Answer.OK and one.client >= 0)
    ends = sorted(one.done_s for one in done)
    return max((b - a for a, b in zip(ends, ends[1:], strict=False)), default=0.0)


def show(what: str) -> None:
    """A measurement, into the output of the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def spoil(file: Path, at: int, count: int) -> None:
    """Flip the bits of so many bytes of a file."""
    with file.open("r+b") as both:
        both.seek(at)
        data = both.read(count)
        both.seek(at)
        both.write(bytes(byte ^ 0xFF for byte in data))
