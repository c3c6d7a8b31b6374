"""Nothing that was read is told by a NameNode that may not lead any more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from dfs.base.clock import ManualClock
from dfs.base.errors import DfsError, NotLeader
from dfs.observe.metrics import Metrics
from dfs.web import standby_app
from dfs.web.answers import Answer, Asking
from dfs.web.authn import Asked
from dfs.web.dispatch import Desk, Endpoint, RequestMetrics
from dfs.web.handlers import Call, Handler, View
from dfs.wire import routes
from dfs.wire.files_api import PathsRequest
from dfs.wire.http_link import STALE_HEADER
from dfs.wire.shapes import Done
from tests.metadata_rig import MetadataRig


class Everybody:
    """Lets all in."""

    def identify(self, _route: object, _authorization: str, address: str) -> Asked:
        return Asked(address)


class Quiet:
    def emit(self, _event: object, **_fields: object) -> None:
        """Nothing is logged."""

    def exception(self, _where: str, exc: BaseException) -> None:
        raise exc

    def record(self, **_facts: object) -> None:
        """Nothing is audited."""


class Lead:
    """Of this NameNode; lost while something is read."""

    def __init__(self) -> None:
        self.lost = False

    def lose(self, *_given: object) -> Done:
        self.lost = True
        return Done()

    def refusal(self) -> DfsError | None:
        return NotLeader("nn-2 leads") if self.lost else None


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MetadataRig]:
    made = MetadataRig(tmp_path)
    yield made
    made.close()


def ask(rig: MetadataRig, handler: Handler, lead: Lead, monkeypatch: pytest.MonkeyPatch) -> Answer:
    monkeypatch.setattr("dfs.web.dispatch.permit", lambda _route, _asked: None)
    desk = Desk(
        reader=rig.reader,
        writer=rig.writer,
        gate=Everybody(),  # type: ignore[arg-type]
        clock=ManualClock(),
        log=Quiet(),
        audit=Quiet(),
        metrics=RequestMetrics(Metrics()),
        items_max=9,
        refusal_of_reads=lead.refusal,
    )
    body = msgspec.json.encode(PathsRequest(paths=["/"]))
    return Endpoint(routes.STAT, handler, desk)(Asking("POST", "", "", "", "", body))


def _call(act: Callable[..., object]) -> Call:
    return Call(act, once=False)


@pytest.mark.parametrize("handler", [View, _call], ids=["a look", "a call"])
def test_what_was_read_before_the_lead_was_lost_is_not_told_after_it(
    handler: Callable[..., Handler], rig: MetadataRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(rig, handler(lambda *_given: Done()), Lead(), monkeypatch).status == 200
    lead = Lead()
    answer = ask(rig, handler(lead.lose), lead, monkeypatch)
    assert (answer.status, b"not_leader" in answer.body) == (503, True)


class Standby:
    """Two records behind, for who wants to know."""

    def __init__(self) -> None:
        self.refreshed = 0

    def not_here(self) -> DfsError:
        return NotLeader("nn-2 leads")

    def refresh(self) -> None:
        self.refreshed += 1

    def lag(self) -> tuple[int, float]:
        return 2, 0.25


@pytest.mark.parametrize("begun", [False, True], ids=["asked", "begun"])
def test_standby_tells_what_it_has_to_who_said_that_it_may_and_says_how_old_that_is(
    *, begun: bool
) -> None:
    standby = Standby()
    served = standby_app._stale(routes.STAT, lambda _asking: Answer(200, b"{}"), standby)  # type: ignore[arg-type]

    def answer(asking: Asking) -> Answer:
        given: list[Answer] = []
        if begun:
            served.begin(asking, given.append)
        return given[0] if begun else served.answer(asking)

    refused = answer(Asking("POST", "", "", "", "", b""))
    assert (refused.status, standby.refreshed) == (503, 0)
    told = answer(Asking("POST", "", "", "", "", b"", stale_ok=True))
    assert (told.status, told.headers) == (200, ((STALE_HEADER, "2 250"),))
    assert standby.refreshed == 1
