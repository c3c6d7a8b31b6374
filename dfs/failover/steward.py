"""What a leader does for its cluster's failover beside leading: roll, correspondents, voters.

the first transaction of a reign says who leads and where (the epoch's first record)
then, every second:
    voters of DataNodes that came, moved or went are written down
    every daemon is told who is where (`Correspondents`; DataNodes hear it with their beats)
    a voter is added, where `dfs.ha.voter_plan` finds that one should be
"""

from collections.abc import Callable, Mapping
from typing import Final

from dfs.base.entropy import new_secret
from dfs.failover import member_rows
from dfs.failover.member_host import MemberHost
from dfs.failover.place import Place
from dfs.failover.roll import MemberRecord, Roll, VoterRecord, voters_to_forget, voters_to_keep
from dfs.failover.voter_house import VoterHouse
from dfs.ha.effects import ReplaceVoter
from dfs.ha.leader import Leader
from dfs.ha.member import Member
from dfs.ha.voter_plan import Candidate, voter_to_add
from dfs.meta.session import Reader
from dfs.meta.txn import Txn
from dfs.meta.writer import Writer

HEARD_LATELY_S: Final = 10.0


class Steward:
    """See the module.

    Args:
        automatic: add voters as machines join.
    """

    def __init__(
        self, place: Place, host: MemberHost, house: VoterHouse, *, automatic: bool
    ) -> None:
        self._place = place
        self._host = host
        self._house = house
        self._automatic = automatic
        self._writer: Writer | None = None
        self._roll = Roll()

    @property
    def roll(self) -> Roll:
        """As it was read last."""
        return self._roll

    def take_up(self, writer: Writer) -> None:
        """Say who leads; everything else in this reign comes after it.

        Raises:
            DfsError: the lead was lost again.
        """
        self._writer = writer
        self._roll = writer.submit(self._write_leader)
        self._tell()

    def read(self, reader: Reader) -> Roll:
        """Take over what the journal says by now, and let the voter here know."""
        with reader.view() as connection:
            self.learn(member_rows.read_roll(connection))
        return self._roll

    def learn(self, roll: Roll) -> None:
        """Take over what was committed just now."""
        self._roll = roll
        self._tell()

    def run_once(
        self, reader: Reader, voters: Callable[[], Mapping[str, VoterRecord]]
    ) -> list[str]:
        """One look, by the leader; who was told to vote.

        Args:
            voters: those in DataNodes that live.
        """
        assert self._writer is not None
        roll = self.read(reader)
        in_force = self._host.look(lambda member, _now_s: member.ground.row.voters)
        kept = voters_to_keep(roll, in_force, voters())
        moved = {voter: each for voter, each in kept.items() if roll.voters.get(voter) != each}
        gone = voters_to_forget(roll, in_force, set(kept))
        if moved or gone:
            self._writer.submit(lambda txn: member_rows.change_voters(txn, moved, gone))
            roll = self.read(reader)
        return self._add_voter(roll, kept)

    def _add_voter(self, roll: Roll, alive: Mapping[str, VoterRecord]) -> list[str]:
        if not self._automatic:
            return []

        def plan(member: Member, now_s: float) -> str:
            role = member.role
            if not isinstance(role, Leader) or role.register.is_changing_voters:
                return ""
            heard = {
                name
                for name, peer in role.peers.known.items()
                if now_s - peer.heard_s < HEARD_LATELY_S
            }
            return voter_to_add(
                leader=self._place.voter,
                standbys=len(heard),
                voters=role.register.voters.voters,
                machines={voter: each.machine for voter, each in roll.voters.items()},
                candidates=self._candidates(roll, alive, heard | {self._place.name}),
            )

        fresh = self._host.look(plan)
        if fresh:
            self._host.tell(ReplaceVoter("", fresh))
        return [fresh] if fresh else []

    def _candidates(
        self, roll: Roll, alive: Mapping[str, VoterRecord], heard: set[str]
    ) -> dict[str, Candidate]:
        members = {
            record.voter: Candidate(record.machine, of_member=True)
            for name, record in roll.members.items()
            if name in heard
        }
        nodes = {voter: Candidate(each.machine, of_member=False) for voter, each in alive.items()}
        return nodes | members

    def _write_leader(self, txn: Txn) -> Roll:
        place = self._place
        roll = member_rows.read_roll(txn.connection)
        if not roll.secret:
            member_rows.make_secret(txn, new_secret())
        if not roll.members:
            txn.take(member_rows.SEQUENCE)  # ours is the first name
        before = roll.members.get(place.name)
        record = MemberRecord(
            before.uuid if before else place.voter, place.url, place.machine, place.voter
        )
        if record != before:
            member_rows.put_member(txn, place.name, record)
        return member_rows.read_roll(txn.connection)

    def _tell(self) -> None:
        if self._roll.secret:
            self._house.learn(self._roll.correspondents(self._place.times_s))
