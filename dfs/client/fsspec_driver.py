"""`dfs://` for fsspec, and through it for pandas, dask, pyarrow and the rest.

    import fsspec
    with fsspec.open("dfs://127.0.0.1:9870/user/ada/data.csv", token="dfs_...") as source: ...

Host and port are a NameNode's; without them the configured ones are asked.  fsspec's own vocabulary
of errors is Python's, so refusals become `FileNotFoundError`, `FileExistsError` and so on, each
with the DfsError as its cause.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from fsspec.spec import AbstractFileSystem

from dfs.base.errors import DfsError, ErrorKind, IsADirectory, NotADirectory, PathNotFound
from dfs.base.records import FileStatus
from dfs.client.api import DfsClient, connect
from dfs.client.file import DfsFile
from dfs.client.names import is_directory

_CODES: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.BAD_INPUT: errno.EINVAL,
    ErrorKind.UNAUTHENTICATED: errno.EACCES,
    ErrorKind.DENIED: errno.EACCES,
    ErrorKind.NOT_FOUND: errno.ENOENT,
    ErrorKind.CONFLICT: errno.EEXIST,
    ErrorKind.FENCED: errno.EAGAIN,
    ErrorKind.UNAVAILABLE: errno.EAGAIN,
    ErrorKind.CORRUPT: errno.EIO,
}
Detail = dict[str, object]


class DfsFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """See the module.

    Args:
        namenodes: base URLs, with commas between them.
        token: session token.
        environment: where settings and the kept login are looked up, as in `dfs.client.connect`;
            None takes the process's, for fsspec makes this from a URL alone.
        client: use that client instead of connecting.
    """

    protocol: ClassVar[str] = "dfs"
    root_marker: ClassVar[str] = "/"

    def __init__(
        self,
        namenodes: str | None = None,
        token: str | None = None,
        environment: Mapping[str, str] | None = None,
        client: DfsClient | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        found = os.environ if environment is None else environment
        self.client = client or connect(namenodes, token=token, environment=found)

    @classmethod
    def _strip_protocol(cls, path: str | list[str]) -> str | list[str]:
        if isinstance(path, list):
            return [str(cls._strip_protocol(each)) for each in path]
        if path.startswith("dfs://"):
            rest = path.removeprefix("dfs://")
            path = rest if rest.startswith("/") else f"/{rest.partition('/')[2]}"
        return path.rstrip("/") or "/"

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        host = urlsplit(path).netloc if path.startswith("dfs://") else ""
        return {"namenodes": f"http://{host}"} if host else {}

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's signature
        """The entries of a directory, or the file itself."""
        path = self._bare(path)
        with _as_os_errors(path):
            status = self.client.stat(path)
            found = self.client.listdir(path) if is_directory(status) else iter([status])
            return [_detail(each) if detail else each.path for each in found]

    def info(self, path: str, **_options: Any) -> Detail:
        """One file or directory."""
        path = self._bare(path)
        with _as_os_errors(path):
            return _detail(self.client.stat(path))

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Make a directory; there must be none yet."""
        path = self._bare(path)
        with _as_os_errors(path):
            if create_parents and self.client.exists(path):
                raise FileExistsError(errno.EEXIST, "exists", path)
            self.client.mkdir(path, parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Make a directory and those above it."""
        path = self._bare(path)
        with _as_os_errors(path):
            if not exist_ok and self.client.exists(path):
                raise FileExistsError(errno.EEXIST, "exists", path)
            self.client.mkdir(path, parents=True)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self._remove(path, recursive=False)

    def rm_file(self, path: str) -> None:
        """Remove a file, into the trash."""
        self._remove(path, recursive=False)

    def rm(
        self,
        path: str | list[str],
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        maxdepth: int | None = None,
    ) -> None:
        """Remove files and trees, into the trash."""
        if maxdepth is not None:
            raise NotImplementedError("dfs removes a tree whole or not at all")
        for each in [path] if isinstance(path, str) else path:
            self._remove(each, recursive=recursive)

    def mv(self, path1: str, path2: str, **_options: Any) -> None:
        """Rename: one step, whatever is below."""
        with _as_os_errors(path1):
            self.client.move(self._bare(path1), self._bare(path2), overwrite=True)

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        """Copy a file on the server: no bytes move."""
        with _as_os_errors(path1):
            if is_directory(self.client.stat(self._bare(path1))):
                self.client.mkdir(self._bare(path2), parents=True)
            else:
                self.client.copy(self._bare(path1), self._bare(path2), overwrite=True)

    def created(self, path: str) -> datetime:
        """When it was last changed: the time of creation is not kept."""
        return self.modified(path)

    def modified(self, path: str) -> datetime:
        """When its content was last changed."""
        path = self._bare(path)
        with _as_os_errors(path):
            return datetime.fromtimestamp(self.client.stat(path).modified_ms / 1000, UTC)

    def checksum(self, path: str) -> str:
        """The file's checksum, in hex."""
        path = self._bare(path)
        with _as_os_errors(path):
            return self.client.stat(path).checksum.hex()

    def touch(self, path: str, truncate: bool = True, **_options: Any) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """An empty file; or, not truncating, one with the time of now."""
        path = self._bare(path)
        with _as_os_errors(path):
            if truncate or not self.client.exists(path):
                self.client.write_bytes(path, b"")
            else:
                self.client.touch(path, self.client.clock.now_ms())

    def cat(
        self,
        path: str | list[str],
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        on_error: str = "raise",
        **options: Any,
    ) -> Any:
        """The content of a file; of several, a mapping from path to content, read together."""
        paths = self.expand_path(path, recursive=recursive)
        alone = isinstance(path, str) and len(paths) == 1 and paths[0] == self._bare(path)
        if alone or options:
            return super().cat(path, recursive=recursive, on_error=on_error, **options)
        found: dict[str, bytes | Exception] = {}
        for name, content in self.client.read_many(paths):
            try:
                with _as_os_errors(name):
                    found[name] = _content(content)
            except OSError as exc:
                if on_error == "raise":
                    raise
                if on_error == "return":
                    found[name] = exc
        return found

    def _open(self, path: str, mode: Literal["rb", "wb", "xb"] = "rb", **_options: Any) -> DfsFile:
        if mode not in ("rb", "wb", "xb"):
            raise NotImplementedError(f"dfs files open with rb, wb or xb, not {mode}")
        path = self._bare(path)
        with _as_os_errors(path):
            return self.client.open(path, mode)

    def _remove(self, path: str, *, recursive: bool) -> None:
        path = self._bare(path)
        with _as_os_errors(path):
            self.client.remove(path, recursive=recursive)
        self.invalidate_cache()

    def _bare(self, path: str) -> str:
        return str(self._strip_protocol(path))


def _content(found: bytes | DfsError) -> bytes:
    if isinstance(found, DfsError):
        raise found
    return found


def _detail(status: FileStatus) -> Detail:
    return {
        "name": status.path,
        "size": status.size_bytes,
        "type": status.kind.value,
        "owner": status.owner,
        "group": status.group,
        "mode": status.mode,
        "mtime": status.modified_ms / 1000,
        "checksum": status.checksum.hex(),
    }


@contextlib.contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    """Refusals as the errors that fsspec and its callers expect."""
    try:
        yield
    except PathNotFound as exc:
        raise FileNotFoundError(errno.ENOENT, exc.message, path) from exc
    except IsADirectory as exc:
        raise IsADirectoryError(errno.EISDIR, exc.message, path) from exc
    except NotADirectory as exc:
        raise NotADirectoryError(errno.ENOTDIR, exc.message, path) from exc
    except DfsError as exc:
        raise OSError(_CODES[exc.kind], exc.message, path) from exc
