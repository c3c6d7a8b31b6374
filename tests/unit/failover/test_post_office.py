"""Letters go out without waiting, arrive where they should, and nothing is left behind."""

import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from time import monotonic

import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import BadRequest, LimitExceeded
from dfs.failover.envelope import LETTERS_PATH, Seal, write_letter
from dfs.failover.outbox import WAITING_MAX, Outbox
from dfs.failover.post_office import DAEMONS_MAX
from dfs.ha.messages import Ack, Append, Beat, Body, Canvass, JournalRecord, Letter, VoterBeat
from dfs.ha.rows import NO_CONFIG, NO_VOTERS, START, Hint
from tests.route_server import RouteServer
from tests.unit.failover.post_rig import PATIENCE_S, SECRET, Daemon, Reader, eventually, threads_of


def letter(to: str, body: Body | None = None) -> Letter:
    return Letter("c", "A", to, body or Canvass((1, 0)))


def voter_beat(number: int, *, epoch: int = 1, durable: bool = False) -> VoterBeat:
    return VoterBeat(epoch, number, (1, 0), Hint(0, number), durable)


@pytest.fixture
def here() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture
def there() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


def state_of(daemon: Daemon) -> tuple[int, int, str]:
    (only,) = daemon.post.state().daemons
    return only.sent, only.dropped, only.error


def test_letters_arrive_in_order_at_whom_they_are_for(here: Daemon, there: Daemon) -> None:
    member, voter = Reader(there, "B"), Reader(there, "v2")
    here.post.book({"B": there.url, "v2": there.url})
    sent = [letter("B", Ack(number, START)) for number in range(50)]
    here.post.send([*sent, letter("v2")])
    eventually(lambda: voter.letters == [letter("v2")] and member.letters == sent)
    eventually(lambda: state_of(here) == (51, 0, ""))
    assert there.post.state().received == 51


def test_letters_to_somebody_here_need_no_connection(here: Daemon) -> None:
    voter = Reader(here, "v1")
    here.post.send([letter("v1"), letter("nobody")])
    assert voter.letters == [letter("v1")]
    assert here.post.state().undeliverable == 1


def test_letters_for_somebody_who_is_there_no_more_are_counted(here: Daemon, there: Daemon) -> None:
    here.post.book({"old": there.url})
    here.post.send([letter("old")])
    eventually(lambda: there.post.state().misdirected == 1)


def test_letter_too_long_for_any_envelope_is_not_sent(here: Daemon, there: Daemon) -> None:
    here.post.book({"B": there.url})
    record = JournalRecord(1, 1, b"", b"", 0, bytes(16 << 20))
    here.post.send([letter("B", Append(1, START, (record,), START))])
    assert here.post.state().undeliverable == 1


def test_dead_daemon_delays_nobody_and_is_written_to_again_when_it_is_back(
    here: Daemon, there: Daemon
) -> None:
    dead = Daemon()
    port = dead.server.port
    dead.close()
    reader = Reader(there, "B")
    here.post.book({"B": there.url, "v9": f"http://127.0.0.1:{port}"})
    here.post.send([letter("v9"), letter("B")])
    eventually(lambda: reader.letters)
    eventually(lambda: any("refused" in each.error for each in here.post.state().daemons))
    back = Daemon(port=port)
    voter = Reader(back, "v9")
    here.post.send([letter("v9", Ack(7, START))])
    eventually(lambda: voter.letters)
    assert voter.letters == [letter("v9", Ack(7, START))], "what could not be sent was kept"
    eventually(lambda: all(each.error == "" for each in here.post.state().daemons))
    back.close()


def test_daemon_that_does_not_answer_costs_its_own_letters_only(there: Daemon) -> None:
    here = Daemon(patience_s=0.3)
    reader = Reader(there, "B")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        here.post.book({"v1": url, "B": there.url})
        began_s = monotonic()
        for _ in range(3_000):
            here.post.send([letter("v1", Ack(1, START))])
        here.post.send([letter("B")])
        eventually(lambda: reader.letters)
        assert monotonic() - began_s < 10
        eventually(lambda: _of(here, url).error.endswith("timed out"))
        eventually(lambda: _of(here, url).dropped == 3_000)  # too many, too old, unanswered
        assert _of(here, url).sent == 0
    here.close()


def _of(daemon: Daemon, url: str):
    return next(each for each in daemon.post.state().daemons if each.url == url)


@pytest.mark.parametrize(
    "nonsense", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"]
)
def test_daemon_that_answers_nonsense_is_asked_again(nonsense: bytes, here: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:
        odd.settimeout(10)
        here.post.book({"v1": f"http://127.0.0.1:{odd.getsockname()[1]}"})
        for _ in range(2):
            here.post.send([letter("v1")])
            connection, _ = odd.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(4096)
                connection.sendall(nonsense)
        eventually(lambda: state_of(here)[1] == 2)
        assert "no answer" in state_of(here)[2]


def test_address_that_is_none_is_told(here: Daemon) -> None:
    here.post.book({"v1": "http://127.0.0.1:what"})
    here.post.send([letter("v1")])
    eventually(lambda: "no answer from http://127.0.0.1:what" in state_of(here)[2])


def test_refusal_is_told_in_the_words_of_who_refused(here: Daemon) -> None:
    other = Daemon(secret=b"t" * 32)
    here.post.book({"B": other.url})
    here.post.send([letter("B")])
    eventually(lambda: "the seal on these letters does not hold" in state_of(here)[2])
    assert state_of(here)[:2] == (0, 1)
    assert other.post.state().refused == 1
    other.close()


def test_connection_that_the_daemon_closed_meanwhile_costs_no_letter(here: Daemon) -> None:
    got: list[bytes] = []

    def answer(_path: str, raw: bytes, _headers: object) -> object:
        got.append(raw)
        return b"{}"

    server = RouteServer(answer)
    here.post.book({"v1": server.url})
    here.post.send([letter("v1")])
    eventually(lambda: state_of(here)[0] == 1)
    server.close()
    server = RouteServer(answer, port=server.port)
    here.post.send([letter("v1")])
    eventually(lambda: state_of(here) == (2, 0, ""))
    assert len(got) == 2
    server.close()


def test_stop_ends_what_is_under_way_and_leaves_no_thread_and_no_socket() -> None:
    before, files = threads_of("letters"), set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    here = Daemon(patience_s=60)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        here.post.book({"v1": f"http://127.0.0.1:{mute.getsockname()[1]}"})
        here.post.send([letter("v1")])
        connection, _ = mute.accept()
        connection.recv(4096)  # the letter is there, and its answer is waited for
        began_s = monotonic()
        here.close()
        assert monotonic() - began_s < 10
        connection.close()
    assert threads_of("letters") == before
    assert set(os.listdir("/proc/self/fd")) <= files  # noqa: PTH208
    here.post.send([letter("v1")])
    here.post.book({"v1": "http://127.0.0.1:1"})
    assert here.post.state().daemons == ()


def test_daemon_that_nobody_lives_at_any_more_is_forgotten(here: Daemon, there: Daemon) -> None:
    here.post.book({"B": there.url, "v9": "http://127.0.0.1:1"})
    here.post.book({"B": there.url})
    assert [each.url for each in here.post.state().daemons] == [there.url]
    eventually(lambda: [t.name for t in threads_of("letters")] == [f"letters {there.url}"])


def test_post_office_writes_to_no_more_daemons_than_a_cluster_has(here: Daemon) -> None:
    with pytest.raises(LimitExceeded):
        here.post.book({str(n): f"http://h{n}:1" for n in range(DAEMONS_MAX + 1)})


def test_letters_of_an_unknown_kind_do_not_spoil_the_others(here: Daemon) -> None:
    reader = Reader(here, "B")
    good = write_letter(letter("B"))
    with pytest.raises(BadRequest, match="Bribe"):
        here.post.receive(Seal(SECRET).close([good.replace(b"Canvass", b"Bribe!?"), good]))
    assert reader.letters == [letter("B")]
    assert here.post.state().refused == 1


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"DFSL\x01" + bytes(60), 401), (b"x" * 70_000, 413)]
)
def test_route_refuses_what_is_no_envelope(body: bytes, status: int, there: Daemon) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(there.url + LETTERS_PATH, data=body, timeout=10)
    assert refused.value.code == status
    refused.value.close()


def test_route_answers_only_post(there: Daemon) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(there.url + LETTERS_PATH, timeout=10)
    assert refused.value.code == 405
    refused.value.close()


class TestWaiting:
    """What gathers in an outbox whose thread was not started."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def outbox(self, clock: ManualClock) -> Outbox:
        return Outbox("http://x", seal=Seal(SECRET), clock=clock, patience_s=PATIENCE_S)

    def put(self, outbox: Outbox, *bodies: Body) -> None:
        for body in bodies:
            one = letter("B", body)
            outbox.put(one, write_letter(one))

    def waiting(self, outbox: Outbox) -> list[Body]:
        return [each.letter.body for each in outbox._waiting]

    def test_newest_beat_takes_the_place_of_an_older_one(self, outbox: Outbox) -> None:
        beat = Beat(1, START, NO_CONFIG, NO_VOTERS)
        newer = Beat(2, START, NO_CONFIG, NO_VOTERS)
        self.put(outbox, voter_beat(1), beat, Canvass((1, 0)), voter_beat(2), newer)
        assert self.waiting(outbox) == [Canvass((1, 0)), voter_beat(2), newer]
        assert outbox.state().dropped == 2

    def test_beat_of_an_older_epoch_takes_nobodys_place(self, outbox: Outbox) -> None:
        self.put(outbox, voter_beat(9, epoch=2), voter_beat(10, epoch=1))
        assert len(self.waiting(outbox)) == 2

    def test_durable_beat_stays_until_another_durable_one_comes(self, outbox: Outbox) -> None:
        self.put(outbox, voter_beat(1, durable=True), voter_beat(2))
        assert len(self.waiting(outbox)) == 2
        self.put(outbox, voter_beat(3, durable=True))
        assert self.waiting(outbox) == [voter_beat(2), voter_beat(3, durable=True)]

    def test_beats_of_two_members_are_two(self, outbox: Outbox) -> None:
        self.put(outbox, voter_beat(1))
        other = Letter("c", "Z", "B", voter_beat(2))
        outbox.put(other, write_letter(other))
        assert len(self.waiting(outbox)) == 2

    def test_oldest_letters_are_dropped_when_there_is_no_room(self, outbox: Outbox) -> None:
        self.put(outbox, *(Ack(number, START) for number in range(WAITING_MAX + 5)))
        assert self.waiting(outbox)[0] == Ack(5, START)
        assert outbox.state().dropped == 5

    def test_letters_that_waited_too_long_are_not_sent(
        self, outbox: Outbox, clock: ManualClock
    ) -> None:
        self.put(outbox, Ack(1, START))
        clock.advance(PATIENCE_S * 1.1)
        self.put(outbox, Ack(2, START))
        assert outbox._next() == [write_letter(letter("B", Ack(2, START)))]

    def test_envelope_is_filled_and_a_long_letter_goes_alone(self, outbox: Outbox) -> None:
        record = JournalRecord(1, 1, b"", b"", 0, bytes(40_000))
        long = Append(1, START, (record,), START)
        self.put(outbox, Ack(1, START), Ack(2, START), long, Ack(3, START))
        sizes = [len(outbox._next()) for _ in range(3)]
        assert sizes == [2, 1, 1]
        assert outbox._waiting_bytes == 0

    def test_nothing_waits_in_an_outbox_that_is_stopped(self, outbox: Outbox) -> None:
        self.put(outbox, Ack(1, START))
        outbox.stop()
        self.put(outbox, Ack(2, START))
        assert outbox.state().dropped == 2
        assert outbox._next() == []
        outbox.join()


def test_threads_that_send_at_once_lose_nothing(here: Daemon, there: Daemon) -> None:
    reader = Reader(there, "B")
    here.post.book({"B": there.url})

    def write() -> None:
        for _ in range(100):
            here.post.send([letter("B", Ack(1, START))])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    eventually(lambda: len(reader.letters) + state_of(here)[1] == 400)
    assert len(reader.letters) > 0
