"""Failover as the checks of health may find it: what makes each fire, and what does not."""

from msgspec.structs import replace

from dfs.settings.sections import Config, HaConfig
from dfs.upkeep.failover_facts import (
    FailoverFacts,
    LeaseFacts,
    LetterFacts,
    StandbyFacts,
    VoterFacts,
)
from dfs.wire.health_api import HealthStatus

_, WARNING, CRITICAL, _ = HealthStatus
USUAL = Config()
BLOCKS = replace(USUAL, ha=HaConfig(two_machines="block"))
BY_HAND = replace(USUAL, ha=HaConfig(voters="manual"))


def a_standby(number: int = 2, **more: object) -> StandbyFacts:
    """One that is in sync."""
    usual = {"name": f"nn-{number}", "machine": f"m{number}", "heard": True, "in_sync": True}
    return StandbyFacts(**(usual | {"version": "1.0"} | more))  # type: ignore[arg-type]


def voters_on(*machines: str, silent: int = 0) -> list[VoterFacts]:
    """A voter on each; the last so many are silent."""
    voters = [
        VoterFacts(f"{number}" * 32, f"dn-{number}", machine)
        for number, machine in enumerate(machines)
    ]
    for at in range(len(voters) - silent, len(voters)):
        one = voters[at]
        voters[at] = VoterFacts(one.voter, one.daemon, one.machine, 42.0)
    return voters


def some_failover(*standbys: StandbyFacts, **more: object) -> FailoverFacts:
    """Three machines, automatic failover, nothing wrong."""
    usual = {
        "mode": "automatic",
        "why": "3 voters",
        "standbys": standbys or (a_standby(2), a_standby(3)),
        "voters": voters_on("m1", "m2", "m3"),
        "voters_since_s": 3600.0,
        "machines": 3,
    }
    return FailoverFacts(**(usual | more))  # type: ignore[arg-type]


SILENT = a_standby(2, heard=False, silent_s=300.0)
BEHIND = a_standby(2, in_sync=False, behind_s=300.0, lag_records=1_200)
FAILOVER_FIRES: list[tuple[str, FailoverFacts, Config, HealthStatus, str]] = [
    (
        "standby_missing",
        some_failover(SILENT, a_standby(3)),
        USUAL,
        WARNING,
        "1 NameNode is silent",
    ),
    ("standby_missing", some_failover(SILENT), USUAL, WARNING, "degraded: no standby is in sync"),
    ("standby_missing", some_failover(SILENT), BLOCKS, CRITICAL, "changes wait for it"),
    ("standby_lagging", some_failover(BEHIND, a_standby(3)), USUAL, WARNING, "without loss"),
    ("standby_lagging", some_failover(BEHIND), USUAL, WARNING, "degraded: no standby is in sync"),
    (
        "standby_differs",
        some_failover(a_standby(mistrusted="inode differs at transaction 7")),
        USUAL,
        CRITICAL,
        "not known whose are right",
    ),
    (
        "namenode_version_skew",
        some_failover(a_standby(version="0.9")),
        USUAL,
        WARNING,
        "finish the upgrade",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m2", "m3", silent=1)),
        USUAL,
        WARNING,
        "2 of 3 voters answer and 2 are needed",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m2", "m3", "m4", "m5", silent=1), machines=5),
        USUAL,
        WARNING,
        "1 voter is silent",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m2", "m3", "m4", "m5", silent=2), machines=5),
        USUAL,
        WARNING,
        "3 of 5 voters answer and 3 are needed",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m1", "m1")),
        USUAL,
        WARNING,
        "3 of 3 voters run on m1",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m1", "m2")),
        USUAL,
        WARNING,
        "2 of 3 voters run on m1",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1", "m2")),
        BY_HAND,
        WARNING,
        "2 voters survive no more deaths than 1 would",
    ),
    (
        "voters_short",
        some_failover(voters=voters_on("m1"), machines=4),
        USUAL,
        WARNING,
        "1 of 3 voters that 4 machines allow",
    ),
    ("lossy", some_failover(lossy=True), USUAL, CRITICAL, "taken by force"),
    (
        "letters_refused",
        some_failover(letters=LetterFacts(3, 600.0)),
        USUAL,
        WARNING,
        "3 letters refused here within 10m",
    ),
    (
        "letters_refused",
        some_failover(letters=LetterFacts(0, 600.0, ("http://m2 answered 403: no",))),
        USUAL,
        WARNING,
        "1 machine is refusing letters",
    ),
    ("lease_slow", some_failover(lease=LeaseFacts(60, 20)), USUAL, WARNING, "in 20 of 60 looks"),
]

FAILOVER_QUIET: list[tuple[str, FailoverFacts, Config]] = [
    ("standby_missing", some_failover(a_standby(heard=False, silent_s=7.0)), USUAL),
    ("standby_missing", some_failover(BEHIND), USUAL),
    ("standby_missing", some_failover(), BLOCKS),
    ("standby_lagging", some_failover(a_standby(in_sync=False, behind_s=30.0)), USUAL),
    ("standby_lagging", some_failover(a_standby(in_sync=False, behind_s=99.0, heard=False)), USUAL),
    ("namenode_version_skew", some_failover(a_standby(version="")), USUAL),
    ("voters_short", some_failover(mode="manual", voters=voters_on("m1"), machines=2), USUAL),
    ("voters_short", some_failover(mode="manual", voters=(), machines=2), USUAL),
    ("voters_short", some_failover(voters=voters_on("m1"), machines=4, voters_since_s=5.0), USUAL),
    ("voters_short", some_failover(voters=voters_on("m1"), machines=4), BY_HAND),
    ("voters_short", some_failover(voters=voters_on("m1", "m2"), voters_since_s=5.0), USUAL),
    ("lease_slow", some_failover(lease=LeaseFacts(5, 5)), USUAL),
    ("lease_slow", some_failover(lease=LeaseFacts(60, 3)), USUAL),
    ("failover_mode", some_failover(mode="manual", why="1 voter"), USUAL),
]
