"""`DfsClient`: everything a program or the command line can ask of a cluster, in one object.

It holds the link to the NameNodes and the login, and composes what transfers work with; the verbs
live in modules of their own.  Those that move bytes are imported when first used: gRPC takes
longer to load than most commands take to run.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Self

from dfs.base.clock import Clock, SystemClock
from dfs.base.entropy import Random, SystemRandom
from dfs.base.errors import BadRequest, DfsError, LocalIoError
from dfs.base.records import FileStatus
from dfs.client.cluster_link import ClusterLink
from dfs.client.credentials import (
    Credential,
    CredentialsFile,
    default_file,
    default_state_folder,
)
from dfs.client.namenode_link import NamenodeLink
from dfs.client.names import NamespaceCalls
from dfs.client.options import (
    GetOptions,
    Progress,
    PutOptions,
    ReplicaVerdict,
    SilentProgress,
    TransferReport,
)
from dfs.client.stale_answer import StaleAnswer
from dfs.settings.read import read_config
from dfs.settings.sections import Config
from dfs.wire import accounts_api as a
from dfs.wire import routes
from dfs.wire.shapes import Nothing

if TYPE_CHECKING:
    from dfs.client.file import DfsFile

Notice = Callable[[str], None]
FileMode = Literal["rb", "wb", "xb"]


class DfsClient(NamespaceCalls):
    """A user's view of one cluster.  A context manager; safe to share between threads.

    Every method raises `DfsError` and nothing else that is not a bug.

    Args:
        credentials: where logins are kept; None keeps them in this object alone.
        state_folder: where interrupted puts are remembered; None remembers none.
    """

    def __init__(
        self,
        link: NamenodeLink,
        *,
        config: Config,
        clock: Clock | None = None,
        rng: Random | None = None,
        credentials: CredentialsFile | None = None,
        state_folder: Path | None = None,
    ) -> None:
        super().__init__(link)
        self.config = config
        self.state_folder = state_folder
        self.clock: Clock = clock or SystemClock()
        self.cluster = ClusterLink(
            NamespaceCalls(link), config=config, clock=self.clock, rng=rng or SystemRandom()
        )
        self._credentials = credentials
        self._knew = link.by_lead

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Stop background work and close every connection.  Open files must be closed before.

        What was learnt of the cluster's NameNodes is kept with the session, for later clients.
        """
        self.cluster.drop_plane()
        self.link.close()
        learnt = self.link.by_lead
        if self._credentials is not None and self.link.token and learnt != self._knew:
            self._knew = learnt
            with contextlib.suppress(LocalIoError):  # the next one learns it again
                self._credentials.remember(self.link.token, learnt)

    # --- accounts -------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """Whose session this is; asks the NameNode."""
        return self.whoami().user

    def register(self, name: str, password: str) -> None:
        """Make an account.  Does not log in."""
        self.link.call(routes.REGISTER, a.RegisterRequest(name=name, password=password))

    def login(self, name: str, password: str, *, bind_address: bool = False) -> a.LoginReply:
        """Log in; this client uses the session from now on, and keeps it for later ones."""
        body = a.LoginRequest(name=name, password=password, bind_address=bind_address)
        reply = self.link.call(routes.LOGIN, body)
        self.link.token = reply.token
        if self._credentials is not None:
            self.link.learn(afresh=True)
            self._knew = self.link.by_lead
            kept = Credential(reply.user, reply.token, reply.expires_ms, self._knew)
            self._credentials.keep(self._knew, kept)
        return reply

    def logout(self, *, everywhere: bool = False) -> None:
        """End this session, or every session of the user; the kept credential goes either way."""
        try:
            self.link.call(routes.LOGOUT, a.LogoutRequest(everywhere=everywhere))
        finally:
            self.link.token = ""
            if self._credentials is not None:
                self._credentials.forget(self.link.namenodes)

    def whoami(self) -> a.WhoamiReply:
        """Who the session belongs to."""
        return self.link.call(routes.WHOAMI, Nothing())

    def passwd(self, new: str, *, old: str = "", name: str = "") -> int:
        """Change a password; how many other sessions ended."""
        body = a.PasswordRequest(new=new, old=old, name=name)
        return self.link.call(routes.PASSWORD, body).sessions_ended

    # --- bytes ----------------------------------------------------------------------------------

    def open(
        self,
        path: str,
        mode: FileMode = "rb",
        *,
        replication: int | None = None,
        block_size_bytes: int | None = None,
        permissions: int = 0o644,
    ) -> "DfsFile":
        """Open a file: `rb` to read, `wb` to write or replace, `xb` to write what is not there.

        What is written appears when the file is closed, all of it at once; leaving a `with` block
        by an exception abandons it.
        """
        from dfs.client import file  # noqa: PLC0415 - start-up time

        if mode == "rb":
            return file.open_reader(self.cluster, path)
        options = PutOptions(
            overwrite=mode == "wb", replication=replication, block_size_bytes=block_size_bytes
        )
        return file.open_writer(self.cluster, path, options=options, permissions=permissions)

    def read_bytes(self, path: str) -> bytes:
        """A whole file in memory."""
        with self.open(path) as source:
            return source.readall()

    def write_bytes(self, path: str, data: bytes, *, overwrite: bool = True) -> FileStatus:
        """Write a whole file from memory."""
        with self.open(path, "wb" if overwrite else "xb") as out:
            out.write(data)
        return out.completed.status

    def read_many(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes | DfsError]]:
        """The content of many files, in the order asked: each path with its bytes, or why not.

        Small files are fetched many at a time, some of them ahead of need (at most 64 MiB); a
        large one is read by itself when its turn comes, and is then in memory whole.

        Raises:
            BadRequest: one path, not several: its letters would be taken for paths.
        """
        if isinstance(paths, str):
            raise BadRequest(f"not a list of paths: {paths!r}", hint=f"write [{paths!r}]")
        from dfs.client.bulk_files import read_many  # noqa: PLC0415 - start-up time

        return read_many(self.cluster, paths)

    def put(
        self,
        sources: Sequence[Path | str],
        target: str,
        *,
        options: PutOptions | None = None,
        progress: Progress | None = None,
    ) -> TransferReport:
        """Copy local files and directories in.  Failures of single files are in the report."""
        from dfs.client.put import put  # noqa: PLC0415 - start-up time

        return put(
            self.cluster,
            sources,
            target,
            options or PutOptions(),
            progress or SilentProgress(),
            state_folder=self.state_folder,
        )

    def put_stream(
        self,
        stream: BinaryIO,
        target: str,
        *,
        options: PutOptions | None = None,
        progress: Progress | None = None,
    ) -> TransferReport:
        """Write a file from a stream of unknown length (standard input)."""
        from dfs.client.put import put_stream  # noqa: PLC0415 - start-up time

        settled = options or PutOptions()
        return put_stream(self.cluster, stream, target, settled, progress or SilentProgress())

    def get(
        self,
        sources: Sequence[str],
        target: Path,
        *,
        options: GetOptions | None = None,
        progress: Progress | None = None,
    ) -> TransferReport:
        """Copy files and directories out.  Failures of single files are in the report."""
        from dfs.client.get import get  # noqa: PLC0415 - start-up time

        settled = options or GetOptions()
        return get(self.cluster, sources, target, settled, progress or SilentProgress())

    def get_stream(
        self,
        path: str,
        out: BinaryIO,
        *,
        offset: int = 0,
        length: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write a file's bytes, or a range of them, to `out` in order; how many there were."""
        from dfs.client.get import get_stream  # noqa: PLC0415 - start-up time

        return get_stream(
            self.cluster,
            path,
            out,
            offset=offset,
            length=length,
            progress=progress or SilentProgress(),
        )

    def get_streams(self, paths: Sequence[str], out: BinaryIO) -> Iterator[DfsError | None]:
        """Write files to `out` one after the other, small ones fetched many at a time.

        Tells after each path what went wrong with it, if anything; bytes written are right.
        """
        from dfs.client.bulk_files import get_streams  # noqa: PLC0415 - start-up time

        return get_streams(self.cluster, paths, out)

    def verify(self, path: str) -> Iterator[ReplicaVerdict]:
        """Have every holder of each block of a file, or of all below a directory, read it again."""
        from dfs.client.verify import verify  # noqa: PLC0415 - start-up time

        return verify(self.cluster, path)


def connect(
    namenodes: str | Sequence[str] | None = None,
    *,
    config: Config | None = None,
    token: str | None = None,
    environment: Mapping[str, str] | None = None,
    notice: Notice | None = None,
    stale_ok: bool = False,
) -> DfsClient:
    """A client of the cluster.

    Without `config`, settings come from `environment` and the usual files, and without `token`
    the session is `DFS_TOKEN` or what `dfs login` kept; pass `os.environ` for what the commands
    would use.  No request is made before the first call.

    Args:
        namenodes: one base URL, or several in order of preference; None takes the configured.
        environment: where `DFS_*`, `HOME` and the XDG folders are looked up; None looks up none,
            and then logins and interrupted puts are kept nowhere unless `config` says where.
        notice: told, in words for a person, when a call has to wait and be repeated, and of the
            first answer that is stale.
        stale_ok: questions may be answered by a NameNode that follows, from what it has; while
            none leads this is the only answer.  Changes are made by who leads alone.

    Raises:
        BadConfig: the settings are wrong.
        LocalIoError: the credentials file cannot be read.
    """
    found = environment or {}
    settings = config or read_config(file=None, environment=found)
    urls = _urls(namenodes) or settings.cluster.namenodes
    credentials = _credentials(settings, found)
    given = found.get("DFS_TOKEN") or None if token is None else token
    kept = credentials.find(urls) if credentials is not None and given is None else None
    if kept is not None:
        given = kept.token
    clock, rng = SystemClock(), SystemRandom()
    link = NamenodeLink(
        urls, config=settings.client, clock=clock, rng=rng, token=given or "", notice=notice
    )
    if kept is not None:
        link.remember(kept.namenodes)
    if stale_ok:
        link.welcome_stale(_said_once(notice))
    return DfsClient(
        link,
        config=settings,
        clock=clock,
        rng=rng,
        credentials=credentials,
        state_folder=default_state_folder(found) if "HOME" in found else None,
    )


def _urls(namenodes: str | Sequence[str] | None) -> tuple[str, ...]:
    if namenodes is None:
        return ()
    named = namenodes.split(",") if isinstance(namenodes, str) else namenodes
    return tuple(url.strip() for url in named if url.strip())


def _credentials(config: Config, environment: Mapping[str, str]) -> CredentialsFile | None:
    if config.client.credentials:
        return CredentialsFile(Path(config.client.credentials))
    return CredentialsFile(default_file(environment)) if "HOME" in environment else None


def _said_once(notice: Notice | None) -> Callable[[StaleAnswer], None]:
    said: list[StaleAnswer] = []

    def hear(answer: StaleAnswer) -> None:
        if notice is not None and not said:
            said.append(answer)
            notice(answer.words())

    return hear
