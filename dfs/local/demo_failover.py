"""The third act of the demo: the NameNode that leads dies, and another leads in its place.

Writers are at work the whole time.  What is claimed is what they were told: nothing that was
acknowledged is missing, and how long any of them waited.
"""

import contextlib
from typing import Final

from dfs.base.units import format_duration
from dfs.client import connect
from dfs.local.admin_session import AdminSession
from dfs.local.demo_stage import Progress, Stage
from dfs.local.demo_writers import Writers
from dfs.local.failover import LEADER, Standing, leader_of, standings
from dfs.local.roster import NAMENODE
from dfs.wire import routes
from dfs.wire.ha_api import HaOrderRequest, HaStatus

LEADS_WITHIN_S: Final = 30.0
SYNC_WITHIN_S: Final = 30.0
WRITES_AFTER: Final = 40  # so many begin and are acknowledged after a change of leaders
MACHINES_MIN: Final = 3


class Succession:
    """The steps, in the order they are told.

    Args:
        target: the directory in DFS with everything.
    """

    def __init__(self, stage: Stage, *, target: str) -> None:
        self._stage = stage
        self._screen = stage.screen
        self._cluster = stage.cluster
        self._folder = f"{target}/written-meanwhile"

    def tell(self) -> None:
        """All of it."""
        self._screen.step("Add two NameNodes to the cluster that runs: one leads, all may.")
        with self._screen.timed("both have everything"):
            for _ in range(MACHINES_MIN - 1):
                self._cluster.add_namenode()
        self._stage.environment.update(self._cluster.variables())
        with contextlib.closing(self._cluster.session()) as session:
            session.open()
            self._show_failover(session)
            client = connect(config=self._cluster.config(), environment=self._stage.environment)
            with client, Writers(client, self._folder, clock=self._stage.clock) as writers:
                old, new = self._kill_leader(session, writers)
                self._bring_back(session, old, new)
                self._hand_back(session, writers, old)
                writers.stop()
                self._account(writers, "the switchover")
            self._compare(session)

    def _show_failover(self, session: AdminSession) -> None:
        status = self._leader(session)
        assert status is not None, "the cluster said so a moment ago"
        voters = len(status.voters)
        in_sync = sum(each.in_sync for each in status.members)
        self._screen.say(f"{status.name} leads; changes wait for all {in_sync}; {voters} vote.")
        self._screen.say("Each process plays a machine of its own here.")
        deaths = [each for each in status.outlook if each.verdict == "stops"]
        self._screen.prove(
            "any machine may die and the cluster serves on, as it says itself",
            f"{len(status.outlook)} machines",
            held=not deaths and in_sync == MACHINES_MIN,
        )

    def _kill_leader(self, session: AdminSession, writers: Writers) -> tuple[str, str]:
        """Who led, and who leads now."""
        self._screen.step("Kill the NameNode that leads, while files are written.")
        begun_s = self._now_s()
        self._await_writes(writers, begun_s, "write")
        old = self._name_of(self._leader(session))
        killed_s = self._now_s()
        pid = self._cluster.kill(old)
        self._screen.alarm(f"kill -9 {pid}: {old}, which led, is gone")

        def look() -> Progress:
            new = self._name_of(self._leader(session))
            over = new not in ("", old)
            return Progress(float(over), f"{new} leads" if over else "nobody leads", over)

        with self._screen.timed("another leads"):
            done = self._stage.follow("election", look, within_s=LEADS_WITHIN_S)
        new = self._name_of(self._leader(session))
        self._await_writes(writers, self._now_s(), "write on")
        waited_s = writers.longest_wait_s(killed_s)
        self._stage.command("dfs-admin", "ha status")
        self._screen.prove(
            f"{new} leads in the place of {old}, without a person",
            f"writers waited {format_duration(waited_s)}, none was refused",
            held=done and not writers.refused,
        )
        self._account(writers, f"the death of {old}")
        return old, new

    def _bring_back(self, session: AdminSession, old: str, new: str) -> None:
        self._screen.step(f"Start {old} again: it follows {new}, and takes over what it missed.")
        with self._screen.timed(f"{old} has everything again"):
            self._cluster.start(old)
            done = self._await_sync(session)
        own = self._standings(session)[old]
        self._screen.prove(
            "the NameNode that was killed is back as a standby",
            f"{old}: {own.role}, {'in sync' if own.in_sync else 'not in sync'}",
            held=done and own.role != LEADER,
        )

    def _hand_back(self, session: AdminSession, writers: Writers, old: str) -> None:
        self._screen.step(f"Hand the lead back to {old}, as before a reboot; writers go on.")
        handed_s = self._now_s()
        self._stage.command("dfs-admin", f"ha switchover --to {old}")
        self._await_writes(writers, self._now_s(), "write on")
        leader = self._name_of(self._leader(session))
        self._screen.prove(
            f"{old} leads again, by a switchover",
            f"no write took longer than {format_duration(writers.longest_wait_s(handed_s))}",
            held=leader == old and not writers.refused,
        )

    def _account(self, writers: Writers, after: str) -> None:
        """What was acknowledged by now is there."""
        count, wrong = writers.missing()
        self._screen.differences([*writers.refused, *wrong])
        self._screen.prove(
            f"every file that was acknowledged is there after {after}",
            f"{count:,} files, {len(wrong)} missing or different",
            held=not wrong and count > 0,
        )

    def _compare(self, session: AdminSession) -> None:
        """The tables of all of them, as of one transaction."""
        self._await_sync(session)
        leader = self._leader(session)
        assert leader is not None, "it was handed the lead a moment ago"
        reply = session.link.ask_one(
            leader.leader_url, routes.HA_ORDER, HaOrderRequest(order="verify")
        )
        for line in reply.said:
            self._screen.say(line)
        self._screen.prove(
            "all NameNodes hold the same metadata",
            f"every table of {len(reply.said) + 1}, by digest",
            held=reply.done and len(reply.said) == MACHINES_MIN - 1,
        )

    # ---- what is looked at

    def _await_writes(self, writers: Writers, since_s: float, label: str) -> bool:
        def look() -> Progress:
            done = writers.since(since_s)
            return Progress(min(1.0, done / WRITES_AFTER), f"{done} files", done >= WRITES_AFTER)

        return self._stage.follow(label, look, within_s=SYNC_WITHIN_S)

    def _await_sync(self, session: AdminSession) -> bool:
        def look() -> Progress:
            lacking = [name for name, own in self._standings(session).items() if not own.in_sync]
            words = f"{', '.join(lacking)} not in sync" if lacking else "all in sync"
            return Progress(0.0 if lacking else 1.0, words, not lacking)

        return self._stage.follow("take over", look, within_s=SYNC_WITHIN_S)

    def _standings(self, session: AdminSession) -> dict[str, Standing]:
        return standings(session, self._cluster.folder.load().of(NAMENODE))

    def _leader(self, session: AdminSession) -> HaStatus | None:
        namenodes = self._cluster.folder.load().of(NAMENODE)
        return leader_of(tuple(session.ha_status(member.http) for member in namenodes))

    def _name_of(self, status: HaStatus | None) -> str:
        return status.name if status is not None else ""

    def _now_s(self) -> float:
        return self._stage.clock.monotonic_s()
