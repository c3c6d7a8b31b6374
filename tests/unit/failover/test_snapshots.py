"""A snapshot is of one moment, arrives as it was made, or is refused."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dfs.base.clock import ManualClock
from dfs.base.errors import (
    BadRequest,
    DatabaseUnavailable,
    DfsError,
    LocalDiskFull,
    LocalNotFound,
    MetadataCorrupt,
    Overloaded,
    PeerUnreachable,
    SchemaMismatch,
    TokenRefused,
)
from dfs.base.events import Event
from dfs.base.units import MiB
from dfs.failover import snapshot_wire
from dfs.failover.sealing import Sealing
from dfs.failover.snapshot_wire import PIECE_BYTES_MAX, RETRIES_MAX, SnapshotDesk, SnapshotSeal
from dfs.failover.snapshots import KEPT_MAX, KEPT_MS, Shelf, prove, read_name
from dfs.ha.rows import Position
from dfs.meta.cluster_tables import SETTING
from dfs.meta.session import DATABASE_FILE, quick_check
from tests.journal_rig import set_to
from tests.metadata_rig import MetadataRig, fresh_database
from tests.unit.failover.store_rig import SECRET, Store, head_of, offer_of, serving

SEAL = SnapshotSeal(lambda: SECRET)
WRITERS = 2


@pytest.fixture
def leads(tmp_path: Path) -> Iterator[MetadataRig]:
    (tmp_path / "leader").mkdir()
    made = MetadataRig(tmp_path / "leader")
    set_to(made, "1")
    yield made
    made.close()


@pytest.fixture
def leader(leads: MetadataRig) -> Iterator[Store]:
    made = Store(leads.file.parent)
    yield made
    made.close()


def fill(rig: MetadataRig, mebibytes: int) -> None:
    """So much that it takes more than one piece."""
    for at in range(mebibytes):
        rows = [{"key": f"{at}-{n}", "value": f"{n:04}" * 2_560} for n in range(100)]
        rig.change(lambda txn, rows=rows: txn.put(SETTING, *rows))


def rows_of(file: Path, sql: str) -> list[tuple[object, ...]]:
    raw = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return raw.execute(sql).fetchall()
    finally:
        raw.close()


def asked(name: str, offset: int, *, seal: SnapshotSeal = SEAL) -> bytes:
    return seal.asked.close(msgspec.msgpack.encode({"name": name, "offset": offset}))


def given_by(desk: SnapshotDesk, raw: bytes) -> dict[str, object]:
    return msgspec.msgpack.decode(SEAL.given.open(desk.answer(raw)))


# Made.


def test_name_of_a_snapshot_proves_its_file_and_its_place(
    leader: Store, leads: MetadataRig
) -> None:
    position, name = leader.journal.make_snapshot()
    assert position == head_of(leads)
    file = leader.shelf.find(name)
    digest = xxhash.xxh3_128_hexdigest(file.read_bytes())
    assert name == f"{position.txid}-{position.epoch}-{digest}.sqlite"
    prove(file, name, position)
    assert file.stat().st_mode & 0o777 == 0o600
    assert leader.shelf.folder.stat().st_mode & 0o777 == 0o700
    assert os.listdir(leader.shelf.folder) == [name]  # noqa: PTH208
    assert leader.emit.events[-1][0] is Event.SNAPSHOT_MADE


def test_snapshot_made_while_others_write_is_of_one_moment(
    leader: Store, leads: MetadataRig
) -> None:
    """Every transaction leaves two rows that are equal; nobody waits for the copy."""
    fill(leads, 20)
    stop, counts = threading.Event(), [0] * WRITERS

    def write(who: int) -> None:
        while not stop.is_set():
            counts[who] += 1
            pair = [{"key": f"{side}{who}", "value": str(counts[who])} for side in "ab"]
            leads.change(lambda txn, pair=pair: txn.put(SETTING, *pair))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(WRITERS)]
    for each in threads:
        each.start()
    try:
        made = [leader.journal.make_snapshot() for _ in range(3)]
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert made[0][0].txid < made[2][0].txid
    assert min(counts) > len(made)
    for position, name in made[-KEPT_MAX:]:
        file = leader.shelf.find(name)
        prove(file, name, position)
        found = dict(rows_of(file, "SELECT key, value FROM setting WHERE length(key) = 2"))
        for who in range(WRITERS):
            assert found[f"a{who}"] == found[f"b{who}"]
        assert rows_of(file, "SELECT max(txid) FROM journal") == [(position.txid,)]


def test_two_snapshots_are_kept_and_for_a_day(leader: Store, leads: MetadataRig) -> None:
    names = []
    for number in range(4):
        set_to(leads, str(number))
        names.append(leader.journal.make_snapshot()[1])
    assert {each.name for each in leader.shelf.folder.iterdir()} == {*names[-2:]}
    now_ms = int(leader.shelf.find(names[-1]).stat().st_mtime * 1000)
    leader.journal.forget_diverged(now_ms)
    assert len(list(leader.shelf.folder.iterdir())) == KEPT_MAX
    leader.journal.forget_diverged(now_ms + KEPT_MS + 1_000)
    assert list(leader.shelf.folder.iterdir()) == []


def test_snapshot_made_after_the_wall_clock_was_put_back_is_kept(
    leader: Store, leads: MetadataRig
) -> None:
    """To the eye it is the oldest; who asked for it needs it all the same."""
    for number in range(KEPT_MAX):
        set_to(leads, str(number))
        _, name = leader.journal.make_snapshot()
        file = leader.shelf.find(name)
        ahead_s = file.stat().st_mtime + 10 * KEPT_MS / 1000
        os.utime(file, (ahead_s, ahead_s))
    set_to(leads, "last")
    _, name = leader.journal.make_snapshot()
    now_ms = int(leader.shelf.find(name).stat().st_mtime * 1000)
    assert len(list(leader.shelf.folder.iterdir())) == KEPT_MAX
    leader.journal.forget_diverged(now_ms)
    assert [each.name for each in leader.shelf.folder.iterdir()] == [name]


def test_snapshots_that_were_fetched_and_not_installed_do_not_pile_up(
    leader: Store, leads: MetadataRig, tmp_path: Path
) -> None:
    (tmp_path / "standby").mkdir()
    shelf = Shelf(tmp_path / "standby")
    for number in range(KEPT_MAX + 2):
        set_to(leads, str(number))
        position, name = leader.journal.make_snapshot()
        part = shelf.begin(name, 0)
        part.write_bytes(leader.shelf.find(name).read_bytes())
        shelf.take_in(part, name, position)
        assert shelf.find(name)
    assert len(list(shelf.folder.iterdir())) == KEPT_MAX


def test_start_clears_away_what_a_crash_left(leader: Store) -> None:
    _, name = leader.journal.make_snapshot()
    for part in ("copy.part", "copy.part-journal", f"{name}.part"):
        (leader.shelf.folder / part).write_bytes(b"x")
    Store(leader.data).close()
    assert list(leader.shelf.folder.iterdir()) == []


def test_snapshot_is_not_begun_without_room(leads: MetadataRig) -> None:
    tight = Store(leads.file.parent, room=lambda _folder: 64 * MiB)
    with pytest.raises(LocalDiskFull, match="a snapshot takes"):
        tight.journal.make_snapshot()
    assert list(tight.shelf.folder.iterdir()) == []
    tight.close()


def test_database_without_a_record_makes_no_snapshot(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(DfsError):
        store.journal.make_snapshot()
    fresh_database(tmp_path)
    with pytest.raises(DatabaseUnavailable, match="no record"):
        store.journal.make_snapshot()
    assert list(store.shelf.folder.iterdir()) == []
    store.close()


# Fetched.


def test_snapshot_is_fetched_in_pieces_and_installed(
    leader: Store, leads: MetadataRig, tmp_path: Path
) -> None:
    fill(leads, 3)
    position, name = leader.journal.make_snapshot()
    size = leader.shelf.find(name).stat().st_size
    assert size > PIECE_BYTES_MAX
    with serving(leader) as url:
        follower = Store(tmp_path / "follower", urls={"A": url})
        follower.journal.fetch_snapshot(offer_of(position, name), "A")
    whole, rest = divmod(size, PIECE_BYTES_MAX)
    told = [at * PIECE_BYTES_MAX for at in range(1, whole + 1)] + [size] * bool(rest)
    assert follower.progress == [(done, size) for done in told]
    assert follower.shelf.find(name).read_bytes() == leader.shelf.find(name).read_bytes()
    assert follower.journal.install_snapshot(name, aside=False) == position
    assert follower.names() == {DATABASE_FILE, "snapshots"}
    assert list(follower.shelf.folder.iterdir()) == []
    assert [event for event, _ in follower.emit.events] == [
        Event.SNAPSHOT_FETCHED,
        Event.SNAPSHOT_INSTALLED,
    ]
    follower.close()


class Spoiling:
    """A desk whose answers go wrong on the way, the first so many times."""

    def __init__(self, store: Store, spoil: Callable[[bytes], bytes], *, times: int) -> None:
        self._desk = SnapshotDesk(store.shelf, SEAL)
        self._spoil = spoil
        self._left = times

    def answer(self, raw: bytes) -> bytes:
        found = self._desk.answer(raw)
        if self._left:
            self._left -= 1
            return self._spoil(found)
        return found


def busy(_found: bytes) -> bytes:
    raise Overloaded("busy")


@pytest.mark.parametrize("times", [RETRIES_MAX, RETRIES_MAX + 1])
def test_piece_that_cannot_be_had_now_is_asked_for_a_few_times(
    leader: Store, tmp_path: Path, times: int
) -> None:
    position, name = leader.journal.make_snapshot()
    desk = Spoiling(leader, busy, times=times)
    with serving(leader, desk=desk.answer) as url:
        follower = Store(tmp_path / "follower", urls={"A": url}, clock=ManualClock())
        if times == RETRIES_MAX:
            follower.journal.fetch_snapshot(offer_of(position, name), "A")
        else:
            with pytest.raises(Overloaded):
                follower.journal.fetch_snapshot(offer_of(position, name), "A")
            assert list(follower.shelf.folder.iterdir()) == []
    follower.close()


def flipped(found: bytes) -> bytes:
    return found[:-1] + bytes([found[-1] ^ 1])


def other_piece(found: bytes) -> bytes:
    return resealed(found, offset=1)


def longer(found: bytes) -> bytes:
    return resealed(found, total_bytes=10)


def empty(found: bytes) -> bytes:
    return resealed(found, data=b"")


def wrong_bytes(found: bytes) -> bytes:
    said = msgspec.msgpack.decode(SEAL.given.open(found))
    return resealed(found, data=said["data"][:-1] + b"?")


def rubbish(_found: bytes) -> bytes:
    return SEAL.given.close(b"\xc1")


def resealed(found: bytes, **changed: object) -> bytes:
    said = msgspec.msgpack.decode(SEAL.given.open(found))
    return SEAL.given.close(msgspec.msgpack.encode(said | changed))


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (flipped, TokenRefused),
        (other_piece, MetadataCorrupt),
        (longer, MetadataCorrupt),
        (empty, MetadataCorrupt),
        (wrong_bytes, MetadataCorrupt),
        (rubbish, MetadataCorrupt),
    ],
)
def test_pieces_that_are_not_what_was_asked_for_are_refused(
    leader: Store, tmp_path: Path, spoil: Callable[[bytes], bytes], error: type[DfsError]
) -> None:
    position, name = leader.journal.make_snapshot()
    with serving(leader, desk=Spoiling(leader, spoil, times=99).answer) as url:
        follower = Store(tmp_path / "follower", urls={"A": url}, clock=ManualClock())
        with pytest.raises(error):
            follower.journal.fetch_snapshot(offer_of(position, name), "A")
    assert list(follower.shelf.folder.iterdir()) == []
    assert not follower.file.exists()
    follower.close()


def test_snapshot_of_somebody_who_is_not_there_is_not_had(leader: Store, tmp_path: Path) -> None:
    offer = offer_of(*leader.journal.make_snapshot())
    with serving(leader) as url:
        pass
    follower = Store(tmp_path / "follower", urls={"A": url}, clock=ManualClock())
    for source in ("A", "B"):
        with pytest.raises(PeerUnreachable):
            follower.journal.fetch_snapshot(offer, source)
    with pytest.raises(BadRequest):
        follower.journal.fetch_snapshot(replace(offer, name="../dfs.sqlite"), "A")
    follower.close()


def test_fetch_that_the_disk_has_no_room_for_is_given_up_at_once(
    leader: Store, tmp_path: Path
) -> None:
    offer = offer_of(*leader.journal.make_snapshot())
    with serving(leader) as url:
        tight = Store(tmp_path / "tight", urls={"A": url}, room=lambda _folder: 64 * MiB + 1)
        with pytest.raises(LocalDiskFull):
            tight.journal.fetch_snapshot(offer, "A")
    assert tight.progress == []
    assert list(tight.shelf.folder.iterdir()) == []
    tight.close()


# Proven.


def taken_in(store: Store, raw: bytes, position: Position) -> str:
    """As if it had been fetched, under the name that such a file has."""
    digest = xxhash.xxh3_128_hexdigest(raw)
    name = f"{position.txid}-{position.epoch}-{digest}.sqlite"
    part = store.shelf.begin(name, 0)
    part.write_bytes(raw)
    store.shelf.take_in(part, name, position)
    return name


def test_damaged_cut_or_foreign_snapshot_is_refused(
    leader: Store, leads: MetadataRig, tmp_path: Path
) -> None:
    fill(leads, 1)
    position, name = leader.journal.make_snapshot()
    raw = leader.shelf.find(name).read_bytes()
    store = Store(tmp_path / "follower")
    spoilt = bytearray(raw)
    for start in range(len(raw) // 2, len(raw), 4096):
        spoilt[start : start + 64] = b"\xff" * 64
    cases = [
        (bytes(spoilt), position),
        (raw[: len(raw) // 2], position),
        (b"", position),
        (b"no database" * 1_000, position),
        (raw, replace(position, hash=bytes(16))),
        (raw, replace(position, txid=position.txid + 1)),
        (raw, replace(position, epoch=position.epoch + 1)),
        (foreign_database(tmp_path), position),
    ]
    for content, expected in cases:
        with pytest.raises((MetadataCorrupt, DatabaseUnavailable)):
            taken_in(store, content, expected)
    assert taken_in(store, raw, position) == name
    part = store.shelf.begin(name, 0)
    part.write_bytes(raw + b"x")
    with pytest.raises(MetadataCorrupt, match="is not the snapshot"):
        store.shelf.take_in(part, name, position)
    with pytest.raises(MetadataCorrupt, match="no snapshot of transaction"):
        store.shelf.take_in(part, name, replace(position, txid=99))
    store.close()


def foreign_database(folder: Path) -> bytes:
    """Of another program."""
    file = folder / "foreign.sqlite"
    raw = sqlite3.connect(file)
    raw.execute("CREATE TABLE journal (txid, epoch, hash)")
    raw.commit()
    raw.close()
    quick_check(file)
    return file.read_bytes()


def test_snapshot_of_another_schema_is_refused(leader: Store, tmp_path: Path) -> None:
    position, name = leader.journal.make_snapshot()
    newer = tmp_path / "newer.sqlite"
    newer.write_bytes(leader.shelf.find(name).read_bytes())
    raw = sqlite3.connect(newer)
    raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.commit()
    raw.close()
    store = Store(tmp_path / "follower")
    with pytest.raises(SchemaMismatch):
        taken_in(store, newer.read_bytes(), position)
    store.close()


# Asked for.


def test_desk_gives_pieces_from_any_byte_on(leader: Store) -> None:
    _, name = leader.journal.make_snapshot()
    raw = leader.shelf.find(name).read_bytes()
    desk = SnapshotDesk(leader.shelf, SEAL)
    for offset in (0, 1, len(raw) - 1):
        assert given_by(desk, asked(name, offset)) == {
            "name": name,
            "offset": offset,
            "total_bytes": len(raw),
            "data": raw[offset : offset + PIECE_BYTES_MAX],
        }
    for offset in (-1, len(raw), 1 << 62):
        with pytest.raises(BadRequest):
            desk.answer(asked(name, offset))


@pytest.mark.parametrize(
    "name", ["", "dfs.sqlite", "../dfs.sqlite", "copy.part", "1-1-" + "0" * 32 + ".sqlite"]
)
def test_desk_gives_nothing_else_than_whole_snapshots(leader: Store, name: str) -> None:
    leader.journal.make_snapshot()
    (leader.shelf.folder / "copy.part").write_bytes(b"x")
    with pytest.raises((BadRequest, LocalNotFound)):
        SnapshotDesk(leader.shelf, SEAL).answer(asked(name, 0))


def test_desk_gives_nothing_to_strangers(leader: Store) -> None:
    _, name = leader.journal.make_snapshot()
    desk = SnapshotDesk(leader.shelf, SEAL)
    answer = desk.answer(asked(name, 0))
    for raw in (asked(name, 0, seal=SnapshotSeal(lambda: b"t" * 32)), flipped(asked(name, 0))):
        with pytest.raises(TokenRefused):
            desk.answer(raw)
    for raw in (b"", answer[:4_000], SEAL.asked.close(b"\xc1"), SEAL.asked.close(b"\x80")):
        with pytest.raises(BadRequest):
            desk.answer(raw)


def test_answer_is_no_request_though_one_secret_seals_both() -> None:
    kind = snapshot_wire._ASKED
    posing = Sealing(SECRET, snapshot_wire._GIVEN._replace(mark=kind.mark))
    with pytest.raises(TokenRefused):
        SEAL.asked.open(posing.close(b"x"))


@settings(max_examples=100)
@given(raw=st.binary(max_size=100))
def test_whatever_the_desk_is_asked_it_answers_or_refuses(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = SnapshotDesk(Shelf(tmp_path_factory.getbasetemp()), SEAL)
    for question in (raw, SEAL.asked.close(raw)):
        with pytest.raises(DfsError):
            desk.answer(question)


@settings(max_examples=100)
@given(text=st.text(max_size=40))
def test_names_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_name(text)


@pytest.mark.parametrize("text", ["01-1-", "1-1-", "٣-1-"])
def test_name_is_written_in_one_way(text: str) -> None:
    name = f"{text}{'0' * 32}.sqlite"
    if text == "1-1-":
        assert str(read_name(name)) == name
    else:
        with pytest.raises(BadRequest):
            read_name(name)
