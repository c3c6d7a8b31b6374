"""By which name, and with which vote, a NameNode takes part in its cluster: settled before it runs.

    the folder has                 then it is
    a member's row                 what the row says, whatever the settings say
    a database, and no row         a NameNode alone, `nn-1`: the rows are made from the database
    neither                        a newcomer: `namenode_joining.py` asks the cluster, or, where no
                                   peers are named, a cluster is made

A row that is lost where the journal knows of other NameNodes is not made anew: it held promises.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dfs.base.clock import Clock
from dfs.base.errors import BadConfig, MetadataCorrupt
from dfs.base.events import Emitter
from dfs.daemons.namenode_folder import NamenodeFolder
from dfs.daemons.whereabouts import machine_of, named_host
from dfs.failover.place import Place
from dfs.failover.roll import Roll, member_name
from dfs.failover.row_file import RowFile
from dfs.failover.voter_house import VoterHouse
from dfs.ha.rows import MemberRow, first_rows
from dfs.ha.timers import DURATIONS, Timers
from dfs.settings.sections import Config, HaConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A member's row, as it is on the disk, and what goes with it."""

    folder: NamenodeFolder
    member: RowFile[MemberRow]
    row: MemberRow
    timers: Timers

    @property
    def name(self) -> str:
        """The member's."""
        return self.row.member

    def open_house(
        self, *, clock: Clock, emit: Emitter, on_failure: Callable[[str], None]
    ) -> VoterHouse:
        """The voter of this process.

        Raises:
            ForeignFolder, MetadataCorrupt, LocalIoError: see `VoterHouse`.
        """
        return VoterHouse(
            self.folder.root,
            cluster=self.row.cluster,
            clock=clock,
            on_failure=on_failure,
            emit=emit,
        )

    def place(self, config: Config, *, port: int, voter: str) -> Place:
        """Who and where this NameNode is."""
        return Place(
            name=self.name,
            cluster=self.row.cluster,
            url=own_url(config, port=port),
            machine=machine_of(config.ha),
            voter=voter,
            preferred=config.ha.preferred,
            times_s=self.timers.times_s,
        )


def timers_of(ha: HaConfig) -> Timers:
    """The times of failover.

    Raises:
        BadConfig: they contradict each other.
    """
    try:
        return Timers(**{name: getattr(ha, name) for name in DURATIONS})
    except ValueError as exc:
        raise BadConfig(f"[ha] {exc}") from None


def own_url(config: Config, *, port: int) -> str:
    """By which others reach this NameNode."""
    if config.ha.advertise:
        return config.ha.advertise.rstrip("/")
    named = named_host(config.namenode.host)
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


@contextlib.contextmanager
def copies_remembered(folder: NamenodeFolder, row: MemberRow) -> Iterator[None]:
    """Whose database is damaged is told of the copies that other NameNodes have.

    The row has to stay: who promised something goes on to keep it.

    Raises:
        MetadataCorrupt: it is damaged.
    """
    try:
        yield
    except MetadataCorrupt as exc:
        if not row.voters.voters:
            raise
        raise MetadataCorrupt(
            exc.message,
            hint=f"if another NameNode leads (dfs-admin ha status), move {folder.database}* away, "
            "and nothing else, and start this one: it gets a copy; else: docs/recover.md",
        ) from exc


def found_ballot(folder: NamenodeFolder, config: Config) -> Ballot | None:
    """What the folder says of its member; None where it says nothing.

    Raises:
        MetadataCorrupt, SchemaMismatch, LocalIoError: it cannot be read.
    """
    file = RowFile(folder.member_row, MemberRow)
    row = file.load()
    if row is None:
        return None
    return Ballot(folder=folder, member=file, row=row, timers=timers_of(config.ha))


def ballot_alone(
    folder: NamenodeFolder, config: Config, *, cluster: str, epoch: int, roll: Roll
) -> Ballot:
    """Make the row of a database that no other NameNode has.

    Raises:
        MetadataCorrupt: others have it, so promises were lost with the row.
    """
    if len(roll.members) > 1:
        raise MetadataCorrupt(
            f"{folder.member_row} is gone, and this cluster has other NameNodes",
            hint="it held promises that must not be forgotten: dfs-admin ha remove NAME, empty the "
            "folder, and let this NameNode join anew (--role standby --peers URL)",
        )
    name = next(iter(roll.members), member_name(1))
    row, _ = first_rows(cluster=cluster, member=name, voters=(), epoch=epoch)
    file = RowFile(folder.member_row, MemberRow)
    file.keep(row)
    return Ballot(folder=folder, member=file, row=row, timers=timers_of(config.ha))


def wants_to_join(config: Config) -> bool:
    """Whether a first start asks others to let it in."""
    return config.ha.role == "standby" or (config.ha.role == "auto" and bool(config.ha.peers))
