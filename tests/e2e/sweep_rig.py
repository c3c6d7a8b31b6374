"""A process of a cluster that dies at a crash point while a story is told; what must hold after."""

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from dfs.base import crashpoint
from dfs.base.errors import DfsError
from dfs.blockstore.offline import verify_offline
from dfs.client import PutOptions
from dfs.meta.cluster_tables import NODE
from dfs.meta.tables import BLOCK, DIRENT, GC_QUEUE, LEASE, REPLICA
from tests.cluster_rig import WAIT_S, RigCluster, wait_until
from tests.e2e.sweep_story import Story

ROOT = Path(__file__).resolve().parents[2]
CLIENT = "client"
STORY_WITHIN_S = 90.0
BACKGROUND_WITHIN_S = 12.0  # what follows a story: purge, garbage collection, reports
TRIES_MAX = 2  # which of two DataNodes is first in a pipeline, for one, is chance
KILLED_BY_POINT = crashpoint.CRASH_EXIT_CODE


def named_points() -> set[str]:
    """Every crash point in the source."""
    return {
        name
        for path in (ROOT / "dfs").rglob("*.py")
        for name in re.findall(r'crashpoint\.reach\("([^"]+)"\)', path.read_text())
    }


@dataclass(frozen=True, slots=True)
class Case:
    """One end: of which process, at which point, at which hit of it."""

    process: str
    point: str
    hit: int = 1

    def __str__(self) -> str:
        return f"{self.process} at {self.point}:{self.hit}"


def cases(process: str, hits: Counter[str], *, every: bool) -> list[Case]:
    """The first, middle and last hit of each point, or every hit."""
    return [
        Case(process, point, hit)
        for point, total in sorted(hits.items())
        for hit in (range(1, total + 1) if every else sorted({1, (total + 1) // 2, total}))
    ]


class Sweep:
    """Many cases on one cluster; each in a directory of its own.

    Attributes:
        broken: a line for each promise that did not hold.
        reached: the points at which a process did die.
        missed: cases in which it did not.
        passed: the points that golden runs took any process of a sort past.
    """

    def __init__(self, cluster: RigCluster) -> None:
        self.cluster = cluster
        self.broken: list[str] = []
        self.reached: set[str] = set()
        self.missed: list[Case] = []
        self.passed: set[str] = set()
        self._stories: list[Story] = []
        self._numbers = itertools.count()

    def golden(self, process: str) -> Counter[str]:
        """How often the story takes the process past each point, its start included."""
        alike = [n for n in (CLIENT, *self.cluster.names) if n[:2] == process[:2]]
        story = self._prepared()
        if process == CLIENT:
            assert self._tell_apart(story, self._watched(CLIENT)) == 0
        else:
            for name in alike:
                assert self.cluster.restart(name, **self._watched(name))
            self._tell_here(story)
            self.settle()
            for name in alike:
                self.cluster.restart(name)
        self._judge(story)
        logs = {name: Counter(self._log(name).read_text().split()) for name in alike}
        self.passed.update(*logs.values())
        return logs[process]

    def run(self, cases: Iterable[Case], *, within_s: float = 3600.0) -> None:
        """Each case; what breaks is noted and the sweep goes on."""
        deadline = time.monotonic() + within_s
        for case in cases:
            if time.monotonic() > deadline:
                self.broken.append(f"no time left for {case} and those after it")
                return
            began = time.monotonic()
            try:
                died = any(self._run(case) for _ in range(TRIES_MAX))
            except (AssertionError, DfsError, OSError) as exc:
                self.broken.append(f"{case}: {type(exc).__name__}: {exc}")
                died = True
                self._revive()
            if died:
                self.reached.add(case.point)
            else:
                self.missed.append(case)
            took_s = time.monotonic() - began
            print(f"{case}: {'died' if died else 'not reached'}, {took_s:.1f} s", flush=True)

    def settle(self) -> None:
        """Wait until nothing is left to purge, expire or collect."""
        wait_until(self._is_settled, "trash, leases and garbage are gone")

    def finish(self) -> None:
        """After all cases: everything reads back, and disk and metadata agree to the last block."""
        for name in self.cluster.datanodes:
            self.cluster.restart(name)  # so that every full report is of now
        self.settle()
        with self.cluster.client() as client:
            for story in self._stories:
                story.judge(client)
        wait_until(lambda: not self.cluster.parts(), "no .part is left")
        wait_until(self._stock_agrees, "the disks hold the blocks of files and no others")
        self.cluster.check_metadata()
        self.cluster.down()
        for name in self.cluster.datanodes:
            for verdict in verify_offline(self.cluster.data(name)):
                assert verdict.intact, f"{name}: {verdict}"

    def _log(self, process: str) -> Path:
        return self.cluster.root / f"passed-{process}"

    def _watched(self, process: str) -> dict[str, str]:
        self._log(process).unlink(missing_ok=True)
        return {"DFS_CRASHPOINT_LOG": str(self._log(process))}

    # --- one case -------------------------------------------------------------------------------

    def _run(self, case: Case) -> bool:
        story = self._prepared()
        died = (
            self._die_as_client(case, story) if case.process == CLIENT else self._die(case, story)
        )
        self._judge(story)
        if story.done() != {name for name, _ in story.steps(None)}:  # type: ignore[arg-type]
            self._tell_here(story)
            self._judge(story)
        self._take_new_writes(story)
        wait_until(lambda: not self.cluster.parts(), "no .part is left")
        self.cluster.check_metadata()
        return died

    def _die_as_client(self, case: Case, story: Story) -> bool:
        code = self._tell_apart(story, {"DFS_CRASHPOINT": f"{case.point}:{case.hit}"})
        assert code in (0, KILLED_BY_POINT), f"the client ended with {code}"
        return code == KILLED_BY_POINT

    def _die(self, case: Case, story: Story) -> bool:
        """The daemon dies while the story is told, and is started again at once."""
        cluster, name = self.cluster, case.process
        if not cluster.restart(name, DFS_CRASHPOINT=f"{case.point}:{case.hit}"):
            cluster.start(name)
            self._tell_here(story)
            return True
        failures: list[BaseException] = []
        teller = threading.Thread(target=self._tell_noting, args=(story, failures), daemon=True)
        teller.start()
        deadline = time.monotonic() + STORY_WITHIN_S
        while teller.is_alive() and cluster.exit_code(name) is None:
            assert time.monotonic() < deadline, "the story does not end"
            teller.join(0.05)
        if cluster.exit_code(name) is None:
            self._wait_for_death(name)
        died = cluster.exit_code(name) is not None
        if died:
            assert cluster.exit_code(name) == KILLED_BY_POINT
            cluster.start(name)
        else:
            cluster.restart(name)
        teller.join(max(0.0, deadline - time.monotonic()))
        assert not teller.is_alive(), "the story does not end"
        bugs = [each for each in failures if not isinstance(each, DfsError)]
        assert not bugs, f"the client broke: {bugs}"
        for each in failures:
            print(f"{case}: the client was told: {each}", flush=True)
        return died

    def _wait_for_death(self, name: str) -> None:
        """What comes after the story may be what takes it past the point."""
        deadline = time.monotonic() + BACKGROUND_WITHIN_S
        while self.cluster.exit_code(name) is None and time.monotonic() < deadline:
            if self._is_settled():
                return
            time.sleep(0.05)

    def _tell_noting(self, story: Story, failures: list[BaseException]) -> None:
        try:
            self._tell_here(story)
        except Exception as exc:  # noqa: BLE001 - the thread that waits tells what it was
            failures.append(exc)

    def _tell_here(self, story: Story) -> None:
        with self.cluster.client() as client:
            story.tell(client)

    def _tell_apart(self, story: Story, extra: dict[str, str]) -> int:
        """In a process of its own; its exit code."""
        words = (story.remote, str(story.local), str(story.diary))
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.sweep_story", *words],
            cwd=ROOT,
            env={**self.cluster.variables, **extra},
            capture_output=True,
            text=True,
            timeout=STORY_WITHIN_S,
            check=False,
        )
        assert done.returncode in (0, KILLED_BY_POINT), done.stderr[-2000:]
        return done.returncode

    # --- oracles --------------------------------------------------------------------------------

    def _prepared(self) -> Story:
        number = next(self._numbers)
        local = self.cluster.root / "local" / str(number)
        story = Story(f"/sweep/{number}", local, self.cluster.root / f"diary-{number}")
        with self.cluster.client() as client:
            story.prepare(client)
        self._stories.append(story)
        return story

    def _judge(self, story: Story) -> None:
        with self.cluster.client() as client:
            story.judge(client)

    def _take_new_writes(self, story: Story) -> None:
        """With every copy, as soon as the process that came back is known again."""
        path, data = f"{story.remote}/afterwards", os.urandom(100_000)
        local = story.local / "afterwards"
        local.write_bytes(data)

        def is_whole() -> bool:
            with self.cluster.client() as client:
                report = client.put([local], path, options=PutOptions(overwrite=True))
                assert report.ok, report.worst()
                assert client.read_bytes(path) == data
                return report.owed == 0

        wait_until(is_whole, "a new file with every copy")

    def _revive(self) -> None:
        for name in self.cluster.names:
            if not self.cluster.is_running(name):
                self.cluster.start(name)

    def _is_settled(self) -> bool:
        with self.cluster.metadata() as connection:
            left = [
                connection.scalar(select(func.count()).select_from(GC_QUEUE)),
                connection.scalar(select(func.count()).select_from(LEASE)),
                connection.scalar(
                    select(func.count()).select_from(DIRENT).where(DIRENT.c.died_tx.is_not(None))
                ),
            ]
        return not any(left)

    def _stock_agrees(self) -> bool:
        """What lies on a disk is what the NameNode says lies there: blocks of files, and all."""
        with self.cluster.metadata() as connection:
            committed = set(
                connection.scalars(select(BLOCK.c.id).where(BLOCK.c.state == "committed"))
            )
            copies: dict[int, set[tuple[int, int]]] = {}
            for row in connection.execute(select(REPLICA)):
                copies.setdefault(row.node, set()).add((row.block, row.generation))
            nodes = sorted(connection.scalars(select(NODE.c.id)))
        held = dict(
            zip(nodes, (self.cluster.block_files(n) for n in self.cluster.datanodes), strict=True)
        )
        there = {block for files in held.values() for block, _ in files}
        return there == committed and all(copies.get(n, set()) == held[n] for n in nodes)


def report(sweep: Sweep) -> str:
    """What broke, for an assertion."""
    return "\n".join([*sweep.broken, sweep.cluster.last_words()])


assert WAIT_S > BACKGROUND_WITHIN_S
