"""A DataNode and several NameNodes, of which one leads: whom it believes, obeys and finds."""

import threading
from collections.abc import Callable, Iterator

import pytest

from dfs.base.clock import SystemClock
from dfs.base.errors import BadConfig, StaleEpoch, VolumeReadOnly
from dfs.base.events import Event, RecordingEmitter
from dfs.nodes.joining import join
from dfs.wire import routes
from dfs.wire.ha_api import Correspondents
from dfs.wire.http_link import HttpLink
from dfs.wire.nodes_api import JoinRequest, KeyItem
from tests.fake_namenode import JOIN_TOKEN, FakeNamenode
from tests.unit.nodes.beat_rig import Disk, Side, command, entry, known

SLOW_S = 30.0  # an interval that no test waits for
CORRESPONDENTS = Correspondents(3, b"s" * 32, {"A": "http://h:1"}, {}, {})


@pytest.fixture
def new_namenode() -> Iterator[Callable[..., FakeNamenode]]:
    made: list[FakeNamenode] = []

    def make(*, epoch: int = 1, leader: str | None = None, port: int = 0) -> FakeNamenode:
        fake = FakeNamenode(port=port)
        fake.epoch, fake.leader = epoch, leader
        made.append(fake)
        return fake

    yield make
    for fake in made:
        fake.close()


def until(holds: Callable[[], object]) -> None:
    """Wait for what no request tells of."""
    pause = threading.Event()
    for _ in range(2_000):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("did not come to pass")


def beaten_on(namenode: FakeNamenode, times: int = 3) -> None:
    """Until it was asked so many times more."""
    before = len(namenode.beats) + namenode.asked_in_vain
    namenode.wait(lambda: len(namenode.beats) + namenode.asked_in_vain >= before + times)


def whole_reports(namenode: FakeNamenode) -> list[int]:
    """The epochs that its full reports say."""
    return [each.epoch for each in namenode.reports if each.full and each.last_page]


# ---- who is believed, and obeyed


def test_namenode_that_was_deposed_is_not_obeyed_and_teaches_nothing(
    new_namenode, new_side
) -> None:
    old, new = new_namenode(epoch=4), new_namenode(epoch=5)
    side = new_side(new.url)
    side.disk.store(entry(1))
    new.wait(lambda: known(new.reports) == {1})
    side.beats.stop()

    old.commands = [command(11, "delete", epoch=9, block=entry(1).name)]
    old.keys = [KeyItem(2, b"z" * 32, 0, 4_000_000_000_000)]
    old.namenodes = ["http://127.0.0.1:1", old.url]
    old.correspondents = CORRESPONDENTS
    old.block_tokens = False
    both = new_side(new.url, old.url, disk=side.disk)
    old.wait(lambda: len(old.beats) >= 5)
    beaten_on(new)
    assert entry(1).name in side.disk.held
    assert old.acknowledged == []
    assert both.standing.ring.ids() == [1]
    assert both.standing.tokens_required
    assert both.post.version == 0
    assert both.urls() == [new.url, old.url]
    assert both.beats.leader() == new.url
    assert both.told(Event.COMMAND_FENCED) == 1


def test_commands_that_wait_are_dropped_when_a_new_leader_is_heard_and_the_log_hears_once(
    new_namenode, new_side
) -> None:
    namenode = new_namenode(epoch=4)
    side = new_side(namenode.url)
    side.disk.store(*map(entry, range(5)))
    namenode.wait(lambda: known(namenode.reports) == set(range(5)))
    began, go_on = threading.Event(), threading.Event()
    side.disk.before_delete = lambda: began.set() or go_on.wait(20)
    namenode.commands = [command(20 + n, "delete", epoch=4, block=entry(n).name) for n in range(5)]
    assert began.wait(20)
    raiser = threading.Thread(target=side.standing.admit_epoch, args=(5,))
    raiser.start()
    raiser.join(0.2)
    assert side.standing.epoch == 4, "known before the command under way is over"
    go_on.set()
    raiser.join(20)
    assert side.standing.epoch == 5
    beaten_on(namenode)
    assert len(side.disk.held) == 4
    assert side.told(Event.COMMAND_FENCED) == 1


def test_epoch_is_on_the_disk_before_anything_of_it_is_obeyed_or_believed(
    new_namenode, new_side
) -> None:
    disk = Disk()
    disk.epoch_refusal = VolumeReadOnly("no data folder can remember the epoch")
    disk.store(entry(1))
    namenode = new_namenode(epoch=7)
    namenode.registered = True
    namenode.commands = [command(11, "delete", epoch=7, block=entry(1).name)]
    namenode.correspondents = CORRESPONDENTS
    side = new_side(namenode.url, disk=disk)
    namenode.wait(lambda: len(namenode.registrations) >= 3)
    assert entry(1).name in disk.held
    assert (side.standing.epoch, side.standing.ring.ids(), side.post.version) == (1, [], 0)
    assert namenode.reports == []
    disk.epoch_refusal = None
    namenode.wait(lambda: namenode.acknowledged == [11])
    assert disk.epoch == 7


def test_epoch_that_was_seen_fences_after_a_restart(new_namenode, new_side) -> None:
    new, old = new_namenode(epoch=6), new_namenode(epoch=5)
    first = new_side(new.url)
    until(lambda: first.disk.epoch == 6)
    first.beats.stop()
    again = new_side(old.url, disk=first.disk)
    again.disk.store(entry(1))
    old.commands = [command(11, "delete", epoch=5, block=entry(1).name)]
    old.wait(lambda: len(old.beats) >= 3)
    assert {each.epoch for each in old.beats} == {6}
    assert entry(1).name in again.disk.held
    assert again.standing.ring.ids() == []


# ---- a new leader


def test_new_leader_is_registered_with_and_told_everything_in_its_own_epoch(
    new_namenode, new_side
) -> None:
    namenode = new_namenode(epoch=4)
    side = new_side(namenode.url)
    side.disk.store(*map(entry, range(7)))
    namenode.wait(lambda: known(namenode.reports) == set(range(7)))
    with namenode.moved:
        namenode.epoch = 5  # the same process, which still has us registered
        registrations, reports = len(namenode.registrations), len(namenode.reports)
        digests = len(namenode.digests)
    namenode.wait(lambda: len(namenode.registrations) > registrations)
    assert namenode.registrations[-1].epoch == 5
    namenode.wait(lambda: any(each.last_page for each in namenode.reports[reports:]))
    assert {each.epoch for each in namenode.digests[digests:]} == {5}
    assert {each.epoch for each in namenode.reports[reports:]} == {5}
    assert known(namenode.reports) == set(range(7))


def test_nothing_is_reported_before_the_leader_was_told_that_its_epoch_is_known(
    new_namenode, new_side
) -> None:
    namenode = new_namenode(epoch=9)
    told: list[int] = []
    compare = namenode._compare
    namenode._compare = lambda digests: (
        told.append(namenode.beats[-1].epoch if namenode.beats else 0),
        compare(digests),
    )[1]
    answer = namenode._answer

    def answer_beats_late(path: str, raw: bytes, credential: str) -> object:
        if path == routes.BEAT.path:
            namenode.moved.wait_for(lambda: told, 0.2)  # a report that waits for none comes by then
        return answer(path, raw, credential)

    namenode._answer = answer_beats_late
    new_side(namenode.url, interval_s=SLOW_S)
    namenode.wait(lambda: namenode.digests)
    assert namenode.registrations[0].epoch == 1
    assert told[0] == 9
    assert whole_reports(namenode) in ([], [9])


def test_full_report_of_an_epoch_that_ends_under_way_is_given_up(new_namenode, new_side) -> None:
    namenode = new_namenode(epoch=4)
    side = new_side("http://127.0.0.1:9")
    side.beats.stop()
    side.disk.store(*map(entry, range(7)))
    take = namenode._stock
    second: list[Side] = []

    def take_and_raise(report):
        if report.full and report.page == 0 and report.epoch == 4:
            second[0].standing.admit_epoch(5)
        return take(report)

    namenode._stock = take_and_raise
    second.append(Side(namenode.url, page_max=3, disk=side.disk, begin=False))
    second[0].beats.start()
    namenode.wait(lambda: any(each.epoch == 5 and each.last_page for each in namenode.reports))
    second[0].beats.stop()
    assert [each.page for each in namenode.reports if each.epoch == 4] == [0]
    assert known([each for each in namenode.reports if each.epoch == 5]) == set(range(7))


# ---- those that follow


def test_namenode_that_follows_counts_as_reached_and_is_beaten_at_the_interval(
    new_namenode, new_side
) -> None:
    leader = new_namenode(epoch=3)
    follower = new_namenode(leader=leader.url)
    side = new_side(follower.url, leader.url)
    beaten_on(follower, 5)
    seen = {each.url: (each.reached, each.following) for each in side.beats.reachability()}
    assert seen == {follower.url: (True, True), leader.url: (True, False)}
    assert side.told(Event.NAMENODE_UNREACHABLE) == 0
    assert side.beats.leader() == leader.url
    assert follower.reports == follower.digests == []


def test_follower_that_comes_to_lead_is_told_everything_and_the_old_leader_is_not_obeyed(
    new_namenode, new_side
) -> None:
    old = new_namenode(epoch=3)
    new = new_namenode(leader=old.url)
    side = new_side(old.url, new.url)
    side.disk.store(entry(1), entry(2))
    old.wait(lambda: known(old.reports) == {1, 2})
    with new.moved:
        new.epoch, new.leader = 4, None
    new.wait(lambda: known(new.reports) == {1, 2})
    assert set(whole_reports(new)) == {4}
    old.commands = [command(11, "delete", epoch=3, block=entry(1).name)]
    beaten_on(old)
    assert entry(1).name in side.disk.held
    assert side.beats.leader() == new.url


def test_leader_that_nobody_here_reaches_is_known_by_the_word_of_a_follower(
    new_namenode, new_side
) -> None:
    follower = new_namenode(leader="http://127.0.0.1:9")
    side = new_side(follower.url)
    until(lambda: side.beats.leader() == "http://127.0.0.1:9")


# ---- which NameNodes there are


def test_namenode_that_the_leader_names_is_beaten_soon_and_after_a_restart_alone(
    new_namenode, new_side
) -> None:
    leader, added = new_namenode(), new_namenode(leader="")
    leader.namenodes = [leader.url, added.url]
    side = new_side(leader.url)
    beaten_on(added)
    until(lambda: side.disk.namenodes == (leader.url, added.url))
    side.beats.stop()
    leader.close()
    with added.moved:
        added.epoch, added.leader = 2, None
    again = new_side(leader.url, disk=side.disk)
    added.wait(lambda: added.registrations)
    assert again.urls() == [leader.url, added.url]


def test_namenode_that_the_leader_names_no_more_is_left_and_a_configured_one_is_kept(
    new_namenode, new_side
) -> None:
    leader, gone, configured = new_namenode(), new_namenode(leader=""), new_namenode(leader="")
    leader.namenodes = [leader.url, gone.url, configured.url]
    side = new_side(leader.url, configured.url)
    beaten_on(gone)
    leader.namenodes = [leader.url, configured.url]
    until(lambda: side.urls() == [leader.url, configured.url])
    leader.namenodes = [leader.url]
    until(lambda: side.disk.namenodes == ())
    beaten_on(configured)
    assert side.urls() == [leader.url, configured.url]
    before = gone.asked_in_vain
    beaten_on(leader, 5)
    assert gone.asked_in_vain <= before + 1


def test_follower_is_believed_about_others_only_while_nobody_leads(new_namenode, new_side) -> None:
    leader, follower = new_namenode(), new_namenode()
    follower.leader = leader.url
    follower.namenodes = [follower.url, "http://127.0.0.1:9"]
    side = new_side(follower.url)
    leader.wait(lambda: len(leader.beats) >= 2)
    leader.namenodes = [leader.url, follower.url]
    until(lambda: side.urls() == [follower.url, leader.url])
    beaten_on(follower, 5)
    assert side.urls() == [follower.url, leader.url]


def test_namenodes_that_are_no_addresses_are_not_asked_and_many_are_bounded(
    new_namenode, new_side
) -> None:
    leader = new_namenode()
    many = [f"http://127.0.0.1:{port}" for port in range(20_001, 20_031)]
    leader.namenodes = ["", "ftp://x", "http://a b", leader.url + "/", *many]
    side = new_side(leader.url)
    until(lambda: len(side.urls()) > 1)
    assert side.urls() == [leader.url, *many[:15]]


def test_configured_name_of_the_leader_rests_while_it_is_heard_at_the_one_it_gives_itself(
    new_namenode, new_side
) -> None:
    leader, other = new_namenode(), new_namenode(leader="")
    by_name = f"http://localhost:{leader.port}"
    leader.namenodes = [leader.url, other.url]
    side = new_side(by_name)
    until(lambda: side.urls() == [leader.url, other.url])
    side.disk.store(entry(1))
    leader.wait(lambda: known(leader.reports) == {1})
    with leader.moved:
        leader.leader = ""
    until(lambda: side.urls()[0] == by_name)


def test_single_namenode_that_gives_itself_another_name_changes_nothing(
    new_namenode, new_side
) -> None:
    namenode = new_namenode()
    namenode.namenodes = ["http://127.0.0.1:9"]
    side = new_side(namenode.url)
    namenode.wait(lambda: len(namenode.beats) >= 3)
    assert side.urls() == [namenode.url]
    assert side.told(Event.NAMENODES_CHANGED) == 0


# ---- letters


def test_correspondents_are_learnt_from_the_leader_and_their_version_is_said(
    new_namenode, new_side
) -> None:
    namenode = new_namenode()
    namenode.correspondents = CORRESPONDENTS
    new_side(namenode.url)
    namenode.wait(lambda: namenode.beats and namenode.beats[-1].correspondents == 3)


def test_correspondents_that_cannot_be_kept_stop_no_beats_and_are_logged_once(
    new_namenode, new_side
) -> None:
    namenode = new_namenode()
    side = new_side(namenode.url)
    side.post.refusal = BadConfig("times that cannot be")
    namenode.correspondents = CORRESPONDENTS
    beaten_on(namenode, 5)
    assert side.told(Event.CORRESPONDENTS_REFUSED) == 1
    assert side.told(Event.NAMENODE_UNREACHABLE) == 0


# ---- asked to beat


def test_poke_makes_every_conversation_beat_at_once_and_too_many_are_ignored(
    new_namenode, new_side
) -> None:
    leader, follower = new_namenode(), new_namenode(leader="")
    side = new_side(leader.url, follower.url, interval_s=SLOW_S)
    leader.wait(lambda: leader.registrations)
    follower.wait(lambda: follower.asked_in_vain)
    until(side.beats.beat_now)
    leader.wait(lambda: leader.beats)
    follower.wait(lambda: follower.asked_in_vain >= 2)
    until(side.beats.beat_now)
    assert sum(side.beats.beat_now() for _ in range(100)) <= 1


# ---- joining


def test_join_goes_to_the_leader_that_a_follower_names(new_namenode) -> None:
    leader = new_namenode()
    follower = new_namenode(leader=leader.url)
    emit, link = RecordingEmitter(), HttpLink(timeout_s=5)
    reply = join(
        [follower.url],
        JoinRequest(token=JOIN_TOKEN, uuid="u" * 32),
        link=link,
        clock=SystemClock(),
        emit=emit,
        stopped=lambda: False,
    )
    link.close()
    assert reply is not None
    assert reply.node == 3
    assert emit.events == []


def test_standing_lets_no_epoch_begin_while_a_command_of_an_older_one_is_obeyed() -> None:
    side = Side("http://127.0.0.1:9", begin=False)
    with side.standing.obeying(3):
        thread = threading.Thread(target=side.standing.admit_epoch, args=(4,))
        thread.start()
        thread.join(0.05)
        assert side.standing.epoch == 3
    thread.join(20)
    assert side.standing.epoch == 4
    with pytest.raises(StaleEpoch), side.standing.obeying(3):
        raise AssertionError("obeyed")
