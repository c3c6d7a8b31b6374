"""Pure: the times of failover, each derived from what it must be shorter or longer than.

What is acknowledged stays acknowledged whatever the clocks do: no rule on writes reads a clock.
Times decide two things only: how soon a leader is replaced, and that a leader which reads from its
own database is the only one.  For the second, clocks of two machines may differ in *rate* by
`drift_max`; what they show does not matter.
"""

import msgspec

TICKS_PER_BEAT = 2


class Timers(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, in seconds of a clock that goes on through suspend.

    Attributes:
        beat_s: between two beats of a leader.
        stickiness_s: so long a voter that heard a leader votes for nobody else.
        lease_s: so long a leader may believe that it leads, from when a beat was *sent* that a
            majority of voters answered.
        election_min_s, election_max_s: a follower that heard no leader for a time drawn from here
            asks to be elected.
        ack_s: a standby that has not acknowledged a record for so long leaves the sync set.
        handover_s: a switchover that is not done by then is called off.
        gate_s: so long the next record waits for a standby that has nearly caught up.
        gate_rest_s: and so long the gate stays open after it was closed in vain.
        hint_s: a voter writes down at least so often how far the leader had come.
        settled_s: a preferred leader has to be well for so long before it is handed the lead.
        drift_max: how much faster or slower than true time a clock may run.
    """

    beat_s: float = 0.5
    stickiness_s: float = 5.0
    lease_s: float = 4.0
    election_min_s: float = 6.0
    election_max_s: float = 10.0
    ack_s: float = 2.0
    handover_s: float = 2.0
    gate_s: float = 0.5
    gate_rest_s: float = 5.0
    hint_s: float = 1.0
    settled_s: float = 600.0
    drift_max: float = 0.05

    def __post_init__(self) -> None:
        """Refuse times that contradict each other.

        Raises:
            ValueError: names the relation that does not hold.
        """
        reason = why_inconsistent(self)
        if reason:
            raise ValueError(reason)

    @property
    def tick_s(self) -> float:
        """How often the shell passes the time in, at least."""
        return self.beat_s / TICKS_PER_BEAT

    @property
    def times_s(self) -> dict[str, float]:
        """All but the drift, by name: what the NameNodes of a cluster have to agree on."""
        return {name: getattr(self, name) for name in DURATIONS}

    def scaled(self, factor: float) -> "Timers":
        """The same relations, `factor` times as long; for tests, and for networks that are slow."""
        values = {name: each_s * factor for name, each_s in self.times_s.items()}
        return Timers(**values, drift_max=self.drift_max)


DURATIONS = tuple(n for n in Timers.__struct_fields__ if n.endswith("_s"))


def why_inconsistent(timers: Timers) -> str:
    """Which relation between them does not hold; empty when all do."""
    slow, fast = 1 - timers.drift_max, 1 + timers.drift_max
    if not 0 <= timers.drift_max < 1 or any(getattr(timers, n) <= 0 for n in DURATIONS):
        return "times are above zero, and drift_max is from 0 to below 1"
    # The leader's clock may be the slowest and the voter's the fastest of all.
    if timers.lease_s * fast >= timers.stickiness_s * slow:
        return "lease_s has to end before stickiness_s does, with clocks as wrong as drift_max"
    if timers.beat_s * 3 > timers.lease_s:
        return "lease_s has to last for three beats: one that is lost may not end it"
    if timers.election_min_s * slow <= timers.stickiness_s * fast:
        return "election_min_s has to be above stickiness_s: voters would still say no"
    if timers.election_max_s < timers.election_min_s * 1.25:
        return "election_max_s has to be well above election_min_s: candidates would collide"
    if not 2 * timers.beat_s <= timers.ack_s < timers.lease_s:
        return "ack_s has to be from two beats to below lease_s"
    if timers.handover_s < 2 * timers.beat_s:
        return "handover_s has to last for two beats"
    if timers.gate_s > timers.ack_s:
        return "gate_s may not be above ack_s"
    return ""
