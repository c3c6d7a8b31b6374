"""A cluster of one NameNode gets a standby and loses it again; its clients do not notice."""

from pathlib import Path

import pytest

from tests.ha_load import at_work
from tests.ha_rig import running_rig
from tests.histories import Answer

PATIENT_S = 60.0


@pytest.mark.timeout(300)
def test_a_standby_comes_and_goes_without_a_failed_operation(tmp_path: Path) -> None:
    with running_rig(tmp_path / "cluster", namenodes=1) as rig:
        with at_work(rig, "/growing", give_up_s=PATIENT_S) as load:
            rig.start("nn-2")
            assert rig.await_sync(["nn-1", "nn-2"]) == "nn-1"
            load.await_more(50)
            removed = rig.order("nn-1", "remove", member="nn-2")
            assert removed.done, removed.said
            load.await_more(100)  # it runs on, and is not let in again
            status = rig.status("nn-1")
            assert status is not None
            assert [line.name for line in status.members] == ["nn-1"]
            assert "nn-2" not in {line.daemon for line in status.voters}
            rig.kill("nn-2")
        assert rig.leader() == "nn-1"
        unanswered = [str(each) for each in load.history() if each.answer is Answer.UNKNOWN]
        assert unanswered == []
