import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import BlockCorrupt, DfsError, ErrorKind, LocalDiskFull, PortInUse
from dfs.base.events import Event
from dfs.daemons.lifecycle import StopRequest, run_guarded, watch_threads
from dfs.daemons.schedule import Schedule, _FromNow
from dfs.observe.exit_codes import EXIT_BY_KIND, exit_code
from tests.datanode_rig import BugsFail


@pytest.fixture
def log() -> BugsFail:
    return BugsFail()


@pytest.fixture
def schedule(log: BugsFail):
    made = Schedule(clock=SystemClock(), log=log)
    yield made
    made.stop()


def test_every_kind_has_an_exit_code() -> None:
    assert set(EXIT_BY_KIND) == set(ErrorKind)
    assert set(EXIT_BY_KIND.values()) <= set(range(2, 8))


@pytest.mark.parametrize(
    ("error", "code"), [(PortInUse("x"), 5), (BlockCorrupt("x"), 7), (LocalDiskFull("x"), 1)]
)
def test_exit_code_follows_the_kind_but_a_local_disk_is_a_plain_failure(
    error: DfsError, code: int
) -> None:
    assert exit_code(error) == code


def test_job_runs_at_intervals_and_never_twice_at_once(schedule: Schedule) -> None:
    running, most, passes = [0], [0], threading.Semaphore(0)

    def run_once() -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        threading.Event().wait(0.05)
        running[0] -= 1
        passes.release()
        return 1

    schedule.every("busy", 0.01, run_once)
    schedule.start()
    assert all(passes.acquire(timeout=10) for _ in range(4))
    assert most == [1]


def test_job_that_left_work_behind_goes_on_at_once(schedule: Schedule) -> None:
    left, done = [3], threading.Event()

    def run_once() -> int:
        left[0] -= 1
        if not left[0]:
            done.set()
        return left[0]

    schedule.every("piled up", 3600, run_once, has_more=lambda remaining: remaining > 0)
    schedule.start()
    schedule.soon("piled up")
    assert done.wait(10)
    schedule.stop()
    assert left == [0]


def test_job_that_fails_runs_again_and_shows_its_error(schedule: Schedule, log: BugsFail) -> None:
    passes = threading.Semaphore(0)

    def run_once() -> None:
        passes.release()
        raise PortInUse("taken")

    schedule.every("failing", 0.01, run_once)
    schedule.start()
    assert all(passes.acquire(timeout=10) for _ in range(3))
    assert log.bugs == []
    (result,) = schedule.results()
    assert (result.ok, result.report) == (False, "port_in_use: taken")


def test_bug_in_a_job_is_logged_and_ends_nothing(schedule: Schedule, log: BugsFail) -> None:
    schedule.every("broken", 3600, lambda: 1 / 0)
    assert not schedule.run_now("broken").ok
    assert len(log.bugs) == 1


def test_job_runs_soon_when_asked(schedule: Schedule) -> None:
    ran = threading.Event()
    schedule.every("rare", 3600, ran.set)
    schedule.start()
    schedule.soon("rare")
    assert ran.wait(10)


class SetBack(SystemClock):
    """A wall clock that somebody sets."""

    back_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() - self.back_ms


def test_clock_that_was_set_back_stops_no_job(log: BugsFail) -> None:
    clock, ran = SetBack(), threading.Event()
    schedule = Schedule(clock=clock, log=log)
    schedule.every("rare", 3600, ran.set)
    schedule.start()
    try:
        clock.back_ms = 86_400_000
        assert ran.wait(10)
    finally:
        schedule.stop()


def test_clock_that_was_set_on_by_years_leaves_one_time_and_not_millions() -> None:
    trigger = _FromNow(seconds=1, timezone=UTC)
    then = datetime(1970, 1, 1, tzinfo=UTC)
    now = then + timedelta(days=56 * 365)
    assert trigger.get_next_fire_time(then, now) == now + timedelta(seconds=1)


def test_pass_that_found_nothing_is_not_logged(schedule: Schedule, log: BugsFail) -> None:
    schedule.every("idle", 3600, lambda: 0)
    schedule.every("finds", 3600, lambda: 2)
    schedule.run_now("idle")
    schedule.run_now("finds")
    assert [e for e, _ in log.events] == [Event.JOB_FINISHED]


def test_guard_says_an_error_in_one_line_with_its_hint(capsys) -> None:
    def body() -> int:
        raise PortInUse("another process\nlistens")

    assert run_guarded("dfs-x", body) == 5
    err = capsys.readouterr().err
    assert err == ("dfs-x: another process listens (choose another with --port (or --http-port))\n")


def test_guard_keeps_the_stack_of_a_bug_from_the_terminal(capsys, log: BugsFail) -> None:
    assert run_guarded("dfs-x", lambda: 1 // 0, bugs=log) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert len(log.bugs) == 1


def test_second_signal_ends_the_process() -> None:
    ended: list[int] = []
    stop = StopRequest(end_now=ended.append)
    stop._on_signal(15, None)
    assert (stop.asked, stop.signal_name, ended) == (True, "SIGTERM", [])
    stop._on_signal(2, None)
    assert ended == [1]


def test_daemon_that_waits_hears_a_signal_that_another_thread_got() -> None:
    stop = StopRequest(end_now=lambda _code: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop.install()
    late = threading.Timer(20, stop.ask, ["nobody heard it"])
    other = threading.Timer(0.2, signal.raise_signal, [signal.SIGTERM])  # in its own thread
    try:
        for each in (late, other):
            each.start()
        assert stop.wait()
    finally:
        late.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop.signal_name == "SIGTERM"


@pytest.mark.parametrize(("thread", "stops"), [("beat http://nn", True), ("passing", False)])
def test_bug_in_a_thread_is_logged_and_ends_the_daemon_that_cannot_live_without_it(
    log: BugsFail, monkeypatch: pytest.MonkeyPatch, *, thread: str, stops: bool
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # put back afterwards
    stop = StopRequest()
    dead = watch_threads(log, stop, vital=("beat ",))
    broken = threading.Thread(target=lambda: 1 / 0, name=thread)
    broken.start()
    broken.join(10)
    assert len(log.bugs) == 1
    assert (stop.asked, dead) == (stops, [thread] if stops else [])
