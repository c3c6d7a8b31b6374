"""Pure: the checks of failover: the NameNodes that stand by, the voters, what they say.

A NameNode alone has nobody to miss: all of them are well then.
"""

from collections import Counter
from typing import Final

from dfs.base.units import format_duration
from dfs.ha.voter_plan import voters_wanted
from dfs.upkeep.failover_facts import FailoverFacts, StandbyFacts, VoterFacts
from dfs.upkeep.health_facts import Found, HealthFacts, critical, many, warning, well

STATUS: Final = "dfs-admin ha status"
MISSING_S: Final = 10.0  # a NameNode that is restarted is back by then
LAGGING_S: Final = 60.0
UNSETTLED_S: Final = 60.0  # voters are added one after the other, as machines join
LOOKS_MIN: Final = 10
LOW_SHARE: Final = 0.2  # of the looks; one late answer is nothing
DEGRADED: Final = "; degraded: no standby is in sync, so the leader's disk alone has every change"


def standby_missing(facts: HealthFacts) -> Found:
    """NameNodes of the cluster that the leader does not hear."""
    failover = facts.failover
    if not failover.standbys:
        return well("one NameNode; none is expected to stand by")
    missing = [each for each in failover.standbys if _is_missing(each)]
    if not missing:
        heard = sum(each.heard for each in failover.standbys)
        return well(f"the leader hears {heard} of {len(failover.standbys)} others")
    waits = facts.config.ha.two_machines == "block" and any(each.in_sync for each in missing)
    say, ending = warning, "" if failover.has_heir else DEGRADED
    if waits:
        say, ending = critical, "; changes wait for it ([ha] two_machines = block)"
    return say(
        f"{many(len(missing), 'NameNode')} silent: start it again on its machine, or, when the"
        f" machine will not come back, take it away (dfs-admin ha remove NAME){ending}",
        [f"{_at(each)}: silent for {format_duration(each.silent_s)}" for each in missing],
        then=STATUS,
    )


def standby_lagging(facts: HealthFacts) -> Found:
    """Standbys that are heard, and have not been in sync for long."""
    failover = facts.failover
    late = [each for each in failover.standbys if each.heard and _is_late(each)]
    if not late:
        return well("every standby that is heard is in sync, or was not for a moment only")
    return warning(
        f"{many(len(late), 'standby', 'standbys')} not in sync: too slow a disk or network, or it"
        " is still fetching a snapshot; it cannot take over without loss"
        f"{'' if failover.has_heir else DEGRADED}",
        [_lag_words(each) for each in late],
        then=STATUS,
    )


def standby_differs(facts: HealthFacts) -> Found:
    """Standbys whose tables are not the leader's, from equal journals."""
    odd = [each for each in facts.failover.standbys if each.mistrusted]
    if not odd:
        return well("no standby is known to have other tables than the leader")
    return critical(
        f"{many(len(odd), 'standby', 'standbys')} not handed the lead: its tables differ from the"
        " leader's, and it is not known whose are right; test memory and disk of both machines",
        [f"{_at(each)}: {each.mistrusted}" for each in odd],
        then="dfs-admin ha verify",
    )


def namenode_version_skew(facts: HealthFacts) -> Found:
    """NameNodes that run another version than the leader."""
    other = [each for each in facts.failover.standbys if each.version not in ("", facts.version)]
    if not other:
        return well(f"no NameNode is known to run another version than {facts.version}")
    return warning(
        f"{many(len(other), 'NameNode')} of another version than the leader's {facts.version}:"
        " finish the upgrade, the leader last",
        [f"{_at(each)}: {each.version}" for each in other],
        then=STATUS,
    )


def _is_missing(standby: StandbyFacts) -> bool:
    return not standby.heard and standby.silent_s >= MISSING_S


def _is_late(standby: StandbyFacts) -> bool:
    return not standby.in_sync and standby.behind_s >= LAGGING_S


def _lag_words(standby: StandbyFacts) -> str:
    behind = f"{standby.lag_records:,} records behind" if standby.lag_records >= 0 else "behind"
    return f"{_at(standby)}: {behind}, not in sync for {format_duration(standby.behind_s)}"


def _at(standby: StandbyFacts) -> str:
    return f"{standby.name} ({standby.machine})"


# ---- voters


def voters_short(facts: HealthFacts) -> Found:
    """Voters that are silent, too few, even in number, or where they die together."""
    failover = facts.failover
    voters = failover.voters
    if not voters:
        return well(failover.why)
    automatic = facts.config.ha.voters == "auto"
    silent = [each for each in voters if each.silent_s >= MISSING_S]
    why = _why_short(failover, silent, automatic=automatic)
    if why:
        items = [f"{_voter(each)}: silent for {format_duration(each.silent_s)}" for each in silent]
        return warning(why, items, count=max(1, len(silent)), then=STATUS)
    return well(f"{len(voters)} voter{'s' * (len(voters) > 1)} answer{'s' * (len(voters) == 1)}")


def _why_short(failover: FailoverFacts, silent: list[VoterFacts], *, automatic: bool) -> str:
    """The worst of it; empty when all is well."""
    voters = failover.voters
    total, majority = len(voters), len(voters) // 2 + 1
    answering = total - len(silent)
    if silent and answering <= majority:
        return (
            f"{answering} of {total} voters answer and {majority} are needed: when one more falls"
            " silent, nobody leads; start the daemons of the others, or replace those voters"
            " (dfs-admin ha voter replace OLD NEW)"
        )
    if silent:
        return (
            f"{many(len(silent), 'voter')} silent: start its daemon, or replace it"
            " (dfs-admin ha voter replace OLD NEW)"
        )
    machine, together = Counter(each.machine for each in voters).most_common(1)[0]
    if total > 1 and together >= majority:
        return (
            f"{together} of {total} voters run on {machine}: when it dies, nobody can be elected;"
            " have voters on other machines (dfs-admin ha voter replace OLD NEW)"
        )
    if failover.voters_since_s < UNSETTLED_S:
        return ""
    if total % 2 == 0:
        return (
            f"{total} voters survive no more deaths than {total - 1} would: add one or remove one"
            " (dfs-admin ha voter add NEW, dfs-admin ha voter remove OLD)"
        )
    wanted = voters_wanted(failover.machines)
    if automatic and total < wanted:
        return (
            f"{total} of {wanted} voters that {failover.machines} machines allow: no more of them"
            " could be added; look at the daemons there"
        )
    return ""


def _voter(voter: VoterFacts) -> str:
    return f"{voter.voter[:8]} of {voter.daemon} ({voter.machine})"


# ---- what was lost, and what is about to be


def lossy(facts: HealthFacts) -> Found:
    """The lead was taken by force, and nobody has said yet that the loss is dealt with."""
    if not facts.failover.lossy:
        return well("no record that was acknowledged is known to be lost")
    return critical(
        "the lead was taken by force: records that were acknowledged may be lost; look what users"
        " miss, and keep the disk that has them; when it is dealt with, say so",
        count=1,
        then="dfs-admin ha acknowledge-loss",
    )


def letters_refused(facts: HealthFacts) -> Found:
    """Machines whose letters of failover do not fit ours."""
    letters = facts.failover.letters
    if not (letters.refused or letters.errors):
        return well("no letter of failover was refused lately")
    plural = "s" * (letters.refused != 1)
    lately = format_duration(letters.within_s)
    here = f"{letters.refused:,} letter{plural} refused here within {lately}"
    there = f"{many(len(letters.errors), 'machine')} refusing letters from here"
    said = " and ".join(
        words for words, count in ((here, letters.refused), (there, len(letters.errors))) if count
    )
    return warning(
        f"{said}: another secret, another version of DFS, or somebody who does not belong here",
        letters.errors,
        count=letters.refused + len(letters.errors),
        then=STATUS,
    )


def lease_slow(facts: HealthFacts) -> Found:
    """Voters that answer so late that the leader's lease is about to end again and again."""
    lease = facts.failover.lease
    if lease.looks < LOOKS_MIN or lease.low < LOW_SHARE * lease.looks:
        return well("the leader's lease is renewed in time, or it needs none")
    return warning(
        f"less than half of the lease was left in {lease.low} of {lease.looks} looks: voters answer"
        " late, and when it ends nothing is served for a moment; look at the load, disks and"
        " network of the leader and of the voters",
        count=lease.low,
        then=STATUS,
    )


def failover_mode(facts: HealthFacts) -> Found:
    """For information: whether another takes over, and by whose word."""
    return well(f"{_MODES.get(facts.failover.mode, facts.failover.mode)}: {facts.failover.why}")


_MODES: Final = {
    "single": "no failover",
    "manual": "failover by hand",
    "automatic": "automatic failover",
}
