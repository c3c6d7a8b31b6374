"""Pure: what can be configured.  One frozen struct a section; relations are checked at birth.

The suffix of a key is its unit: `_s` takes a duration (`3s`, `24h`), `_bytes` a size (`128MiB`).
The reference with a comment for each key is `config.ini`; a test holds the two together.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from dfs.base.errors import BadConfig
from dfs.base.units import GiB, KiB, MiB

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
PORT_MAX: Final = 65_535
PACK_BYTES_MAX: Final = 128 * MiB  # a client assembles packs in memory, some at once
_BASE_URL: Final = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]@?#]+)(:\d{1,5})?/?")


def _need(holds: bool, rule: str) -> None:  # noqa: FBT001 - the condition is the sentence
    if not holds:
        raise BadConfig(rule)


def _need_positive(section: str, **values: float) -> None:
    for key, value in values.items():
        _need(value > 0, f"[{section}] needs {key} > 0")


def _need_port(section: str, **values: int) -> None:
    for key, value in values.items():
        _need(0 <= value <= PORT_MAX, f"[{section}] needs {key} between 0 and {PORT_MAX}")


def is_base_url(text: str) -> bool:
    """Whether a daemon could be asked there: a scheme, a host, perhaps a port, and no path."""
    return bool(_BASE_URL.fullmatch(text))


def check_namenodes(urls: Sequence[str]) -> None:
    """Refuse a list that no request could be sent to.

    Raises:
        BadConfig: it is empty, or one is no base URL.
    """
    _need(bool(urls), "no NameNode is named: [cluster] namenodes is empty")
    for url in urls:
        if not is_base_url(url):
            raise BadConfig(
                f"not the address of a NameNode: {url!r}",
                hint="write it like http://host:9870 ([cluster] namenodes, DFS_NAMENODE, "
                "--namenode); several are separated by commas",
            )


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[cluster]: what every process must agree on."""

    namenodes: tuple[str, ...] = ("http://127.0.0.1:9870",)

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        check_namenodes(self.namenodes)


class NamenodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[namenode]: the NameNode process."""

    host: str = "127.0.0.1"
    port: int = 9870
    data: str = "/var/lib/dfs/namenode"
    threads: int = 16
    batch_requests_max: int = 256
    batch_wait_s: float = 0.0
    checkpoint_bytes: int = 16 * MiB
    journal_keep_s: float = DAY_S
    journal_records_max: int = 1_000_000
    retry_cache_keep_s: float = 900.0
    block_tokens: bool = True
    block_token_life_s: float = 600.0
    block_key_life_s: float = 10 * HOUR_S
    lease_soft_s: float = 60.0
    lease_hard_s: float = 1200.0
    trash_keep_s: float = DAY_S
    purge_interval_s: float = 60.0
    purge_rows_max: int = 2_000
    gc_interval_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need_port("namenode", port=self.port)
        _need(self.threads >= 1, "[namenode] needs threads >= 1")
        _need_positive(
            "namenode",
            checkpoint_bytes=self.checkpoint_bytes,
            block_token_life_s=self.block_token_life_s,
            lease_soft_s=self.lease_soft_s,
            purge_interval_s=self.purge_interval_s,
            purge_rows_max=self.purge_rows_max,
        )
        _need(self.batch_requests_max >= 1, "[namenode] needs batch_requests_max >= 1")
        _need(
            self.lease_soft_s <= self.lease_hard_s, "[namenode] needs lease_soft_s <= lease_hard_s"
        )
        _need(
            self.block_token_life_s < self.block_key_life_s,
            "[namenode] needs block_token_life_s < block_key_life_s",
        )


class HaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[ha]: several NameNodes, of which one leads.  The times are those of `dfs.ha.timers`."""

    role: str = "auto"
    peers: tuple[str, ...] = ()
    advertise: str = ""
    machine: str = ""
    two_machines: str = "shrink"
    preferred: str = ""
    reads: str = "lease"
    voters: str = "auto"
    verify_interval_s: float = DAY_S
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

    def __post_init__(self) -> None:
        """Refuse words that mean nothing; how the times relate is checked where they are used."""
        for key, value, words in (
            ("role", self.role, ("auto", "primary", "standby")),
            ("two_machines", self.two_machines, ("shrink", "block")),
            ("reads", self.reads, ("lease", "strict")),
            ("voters", self.voters, ("auto", "manual")),
        ):
            _need(value in words, f"[ha] needs {key} = {' or '.join(words)}")
        for url in (*self.peers, *filter(None, (self.advertise,))):
            _need(is_base_url(url), f"[ha] {url!r} is no base URL of a NameNode")
        _need(self.role != "standby" or bool(self.peers), "[ha] role = standby needs peers")
        times_s = {key: getattr(self, key) for key in self.__struct_fields__ if key.endswith("_s")}
        _need_positive("ha", **times_s)


class DatanodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[datanode]: the DataNode process."""

    host: str = "127.0.0.1"
    advertise_host: str = ""
    port: int = 9866
    http_port: int = 9864
    data: tuple[str, ...] = ()
    rack: str = "/default"
    transfers_max: int = 64
    reserve_bytes: int = 1 * GiB
    reserve_percent: float = 1.0
    sync: bool = True
    purge_keep_s: float = HOUR_S
    part_idle_s: float = HOUR_S
    stock_delta_s: float = 1.0
    stock_full_s: float = 6 * HOUR_S
    stock_page_max: int = 10_000
    drain_s: float = 20.0
    stall_s: float = 30.0
    local_socket: bool = True
    local_folder: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(self.transfers_max >= 1, "[datanode] needs transfers_max >= 1")
        _need_port("datanode", port=self.port, http_port=self.http_port)
        _need_positive(
            "datanode",
            stall_s=self.stall_s,
            purge_keep_s=self.purge_keep_s,
            stock_delta_s=self.stock_delta_s,
            stock_full_s=self.stock_full_s,
            stock_page_max=self.stock_page_max,
        )
        _need(0 <= self.reserve_percent < 100, "[datanode] needs 0 <= reserve_percent < 100")
        _need(self.rack.startswith("/"), "[datanode] needs a rack that begins with '/'")
        _need(
            not self.local_folder or self.local_folder.startswith("/"),
            "[datanode] needs a local_folder that begins with '/', or none",
        )


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[client]: the library and the commands."""

    credentials: str = ""
    block_size_bytes: int = 128 * MiB
    local_transfers: bool = True
    streams: bool = True
    blocks_in_flight: int = 3
    chunks_in_flight: int = 8
    write_mode: str = "pipeline"
    jobs: int = 4
    pack_file_bytes_max: int = 1 * MiB
    pack_bytes: int = 16 * MiB
    give_up_s: float = 30.0
    transfer_give_up_s: float = 600.0
    retry_first_s: float = 0.5
    retry_cap_s: float = 5.0
    timeout_s: float = 30.0
    stall_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(
            self.write_mode in ("pipeline", "fan-out"),
            "[client] needs write_mode = pipeline or fan-out",
        )
        _need(self.block_size_bytes >= 64 * KiB, "[client] needs block_size_bytes >= 64KiB")
        _need(self.jobs >= 1, "[client] needs jobs >= 1")
        _need(self.blocks_in_flight >= 1, "[client] needs blocks_in_flight >= 1")
        _need(self.chunks_in_flight >= 1, "[client] needs chunks_in_flight >= 1")
        _need(
            0 <= self.pack_file_bytes_max <= self.pack_bytes <= PACK_BYTES_MAX,
            "[client] needs 0 <= pack_file_bytes_max <= pack_bytes <= 128MiB",
        )
        _need_positive(
            "client", timeout_s=self.timeout_s, stall_s=self.stall_s, pack_bytes=self.pack_bytes
        )
        _need(
            0 < self.retry_first_s <= self.retry_cap_s,
            "[client] needs 0 < retry_first_s <= retry_cap_s",
        )
        _need(
            self.give_up_s <= self.transfer_give_up_s,
            "[client] needs give_up_s <= transfer_give_up_s",
        )


class LivenessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[liveness]: when a DataNode counts as stale and as dead."""

    heartbeat_interval_s: float = 3.0
    stale_after_s: float = 30.0
    dead_after_s: float = 630.0
    clean_stop_s: float = 1800.0
    sweep_interval_s: float = 60.0
    sweep_timeout_s: float = 5.0
    sweep_reports_keep: int = 100

    def __post_init__(self) -> None:
        """Refuse an order of limits that makes no sense."""
        _need(
            0 < self.heartbeat_interval_s < self.stale_after_s < self.dead_after_s,
            "[liveness] needs 0 < heartbeat_interval_s < stale_after_s < dead_after_s",
        )
        _need_positive(
            "liveness",
            sweep_interval_s=self.sweep_interval_s,
            sweep_timeout_s=self.sweep_timeout_s,
            sweep_reports_keep=self.sweep_reports_keep,
        )


class ReplicationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[replication]: how many copies."""

    default: int = 2
    maximum: int = 16
    min_acks: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(
            1 <= self.min_acks <= self.default <= self.maximum,
            "[replication] needs 1 <= min_acks <= default <= maximum",
        )


class ScrubConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[scrub]: how a DataNode proves that what it holds is intact."""

    slo_s: float = 14 * DAY_S
    rate_min_bytes: int = 1 * MiB
    rate_max_bytes: int = 20 * MiB
    files_per_second_max: int = 50
    new_after_s: float = HOUR_S
    quick_interval_s: float = DAY_S
    transient_again_s: float = HOUR_S
    pause_max_s: float = 7 * DAY_S
    doubt_blocks: int = 50
    doubt_percent: float = 1.0
    canary_interval_s: float = 7 * DAY_S

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need_positive("scrub", **msgspec.structs.asdict(self))
        _need(
            self.rate_min_bytes <= self.rate_max_bytes,
            "[scrub] needs rate_min_bytes <= rate_max_bytes",
        )


class RepairConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[repair]: how lost copies come back, and what is never deleted in haste."""

    interval_s: float = 3.0
    urgent_after_s: float = 60.0
    in_flight_per_node: int = 2
    copies_at_once: int = 16
    timeout_s: float = 300.0
    attempts_max: int = 3
    last_copy_bytes: int = 0
    few_copies_bytes: int = 200 * MiB
    under_bytes: int = 50 * MiB
    misplaced_bytes: int = 20 * MiB
    storm_percent: float = 25.0
    storm_nodes_min: int = 2
    quarantine_keep_s: float = 7 * DAY_S
    stray_keep_s: float = DAY_S
    safe_mode_percent: float = 99.9
    safe_mode_wait_s: float = 30.0
    forced_delete_wait_s: float = HOUR_S
    history_keep_s: float = 90 * DAY_S

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need_positive(
            "repair",
            interval_s=self.interval_s,
            in_flight_per_node=self.in_flight_per_node,
            copies_at_once=self.copies_at_once,
            timeout_s=self.timeout_s,
            attempts_max=self.attempts_max,
            storm_nodes_min=self.storm_nodes_min,
        )
        _need(0 <= self.safe_mode_percent <= 100, "[repair] needs 0 <= safe_mode_percent <= 100")
        _need(0 < self.storm_percent <= 100, "[repair] needs 0 < storm_percent <= 100")


class BalanceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[balance]: how far nodes and disks may differ, and how fast blocks may move."""

    threshold_percent: float = 10.0
    bandwidth_bytes: int = 50 * MiB
    moves_at_once: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(0 < self.threshold_percent <= 100, "[balance] needs 0 < threshold_percent <= 100")
        _need_positive(
            "balance", bandwidth_bytes=self.bandwidth_bytes, moves_at_once=self.moves_at_once
        )


class CompactConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[compact]: when small files are gathered into packs, and packs with holes rewritten."""

    enabled: bool = True
    interval_s: float = HOUR_S
    dead_percent: float = 50.0
    small_file_bytes_max: int = 1 * MiB
    age_s: float = HOUR_S
    pack_bytes: int = 16 * MiB
    bandwidth_bytes: int = 20 * MiB

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(1 <= self.dead_percent <= 100, "[compact] needs 1 <= dead_percent <= 100")
        _need_positive(
            "compact",
            interval_s=self.interval_s,
            small_file_bytes_max=self.small_file_bytes_max,
            pack_bytes=self.pack_bytes,
            bandwidth_bytes=self.bandwidth_bytes,
        )
        _need(self.age_s >= 0, "[compact] needs age_s >= 0")
        _need(
            2 * self.small_file_bytes_max <= self.pack_bytes,
            "[compact] needs small_file_bytes_max of at most half of pack_bytes",
        )
        _need(self.pack_bytes <= 64 * MiB, "[compact] needs pack_bytes <= 64MiB")


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[health]: when `dfs-admin health` warns."""

    interval_s: float = 60.0
    keep_s: float = 30 * DAY_S
    disk_warning_percent: float = 85.0
    disk_critical_percent: float = 95.0
    discrepancy_percent: float = 10.0
    clock_skew_s: float = 5.0
    scrub_stalled_s: float = DAY_S
    canary_late_s: float = 8 * DAY_S
    backup_late_s: float = 2 * DAY_S

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need_positive("health", **msgspec.structs.asdict(self))
        _need(
            self.disk_warning_percent <= self.disk_critical_percent <= 100,
            "[health] needs disk_warning_percent <= disk_critical_percent <= 100",
        )


class AccountsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[accounts]: who may come in."""

    registration: str = "open"
    password_length_min: int = 12
    session_life_s: float = 12 * HOUR_S
    session_idle_s: float = 12 * HOUR_S
    bind_address: bool = False
    login_failures_free: int = 5
    login_delay_cap_s: float = 900.0
    hashes_at_once: int = 2
    join_token_life_s: float = HOUR_S

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _need(
            self.registration in ("open", "closed"),
            "[accounts] needs registration = open or closed",
        )
        _need(self.password_length_min >= 8, "[accounts] needs password_length_min >= 8")
        _need_positive(
            "accounts",
            session_life_s=self.session_life_s,
            session_idle_s=self.session_idle_s,
            hashes_at_once=self.hashes_at_once,
            join_token_life_s=self.join_token_life_s,
        )


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[limits]: where each thing ends."""

    body_bytes_max: int = 16 * MiB
    header_bytes_max: int = 32 * KiB
    connections_max: int = 4_000
    queue_requests_max: int = 4_096
    batch_items_max: int = 10_000
    page_entries_max: int = 5_000
    directory_entries_max: int = 1_000_000
    blocks_per_file_max: int = 10_000
    block_size_bytes_max: int = 4 * GiB
    locate_extents_max: int = 20_000

    def __post_init__(self) -> None:
        """Refuse limits that would let nothing through."""
        _need_positive("limits", **msgspec.structs.asdict(self))


class LoggingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """[logging]: what is written down."""

    level: str = "info"
    file: str = ""
    audit_file: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown level."""
        _need(
            self.level in ("debug", "info", "warning", "error"),
            "[logging] needs level = debug, info, warning or error",
        )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All sections."""

    cluster: ClusterConfig = msgspec.field(default_factory=ClusterConfig)
    namenode: NamenodeConfig = msgspec.field(default_factory=NamenodeConfig)
    ha: HaConfig = msgspec.field(default_factory=HaConfig)
    datanode: DatanodeConfig = msgspec.field(default_factory=DatanodeConfig)
    client: ClientConfig = msgspec.field(default_factory=ClientConfig)
    liveness: LivenessConfig = msgspec.field(default_factory=LivenessConfig)
    replication: ReplicationConfig = msgspec.field(default_factory=ReplicationConfig)
    scrub: ScrubConfig = msgspec.field(default_factory=ScrubConfig)
    repair: RepairConfig = msgspec.field(default_factory=RepairConfig)
    balance: BalanceConfig = msgspec.field(default_factory=BalanceConfig)
    compact: CompactConfig = msgspec.field(default_factory=CompactConfig)
    health: HealthConfig = msgspec.field(default_factory=HealthConfig)
    accounts: AccountsConfig = msgspec.field(default_factory=AccountsConfig)
    limits: LimitsConfig = msgspec.field(default_factory=LimitsConfig)
    logging: LoggingConfig = msgspec.field(default_factory=LoggingConfig)
