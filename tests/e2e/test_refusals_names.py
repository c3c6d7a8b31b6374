"""Names of every kind, and targets that are missing, there already, or of the wrong kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_rig import running_cluster
from tests.e2e.refusal_rig import User, admin_of, content

pytestmark = pytest.mark.timeout(240)
KIB = 1024
STRANGE = [
    *("new\nline", "tab\there", "\u00fcn\u00ef", "\U0001f600", "%41%2e%2e", "with space", " lead"),
    *("trail ", "-dash", "--json", "*star?[a]", "back\\slash", "ctl\x01", "e\u0301", "x" * 255),
]


@pytest.fixture(scope="module")
def dfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    root = tmp_path_factory.mktemp("names")
    with running_cluster(root / "c", datanodes=1, block_size_bytes="512KiB") as cluster:
        user = admin_of(cluster, root / "here")
        user("put", "-", "/file", stdin="a file").done()
        user("mkdir", "/folder").done()
        yield user


def test_strange_names_go_in_and_come_back(dfs: User) -> None:
    tree = dfs.here / "tree"
    tree.mkdir()
    for name in STRANGE:
        (tree / name).write_text(name)
    dfs("put", "-r", "tree", "/").done()
    dfs("get", "-r", "/tree", "back").done()
    back = {each.name: each.read_text() for each in (dfs.here / "back").iterdir()}
    assert back == {name: name for name in STRANGE}
    assert len(dfs("ls", "/tree").done().out.splitlines()) == len(STRANGE), "a name is one line"


@pytest.mark.parametrize(
    ("path", "code"),
    [("", 2), ("/" + "y" * 256, 2), ("/" + "\u00e9" * 150, 2), ("/d" * 129, 2), ("-dash", 2)],
)
def test_path_that_cannot_be_is_refused(dfs: User, path: str, code: int) -> None:
    dfs("mkdir", path).refused(code, "hint:")


def test_empty_path_is_never_the_home_directory(dfs: User) -> None:
    """As when a script's variable is not set."""
    dfs("put", "-", "kept", stdin="k").done()
    dfs("rm", "-r", "").refused(2, "empty path")
    assert dfs("cat", "kept").done().out == "k"


def test_leading_dash_is_taken_after_two_dashes(dfs: User) -> None:
    dfs("mkdir", "--", "/folder/-dash").done()
    dfs("rm", "-r", "--", "/folder/-dash").done()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("ls", "/none"), 3, "no such file or directory: /none"),
        (("get", "/none", "x"), 3, "/none"),
        (("put", "none", "/x"), 3, "on this computer: none"),
        (("mv", "/file", "/none/x"), 3, "no such directory: /none"),
        (("put", "-", "/file"), 5, "already there: /file"),
        (("put", "-", "/file/below"), 5, "not a directory: /file"),
        (("mkdir", "/file"), 5, "already there: /file"),
        (("mkdir", "/folder"), 5, "already there: /folder"),
        (("mkdir", "-p", "/file/below"), 5, "not a directory: /file"),
        (("ls", "/file/below"), 5, "not a directory: /file"),
        (("cat", "/folder"), 5, "is a directory: /folder"),
        (("rm", "/folder"), 5, "folder"),
        (("cp", "/file", "/file"), 5, "same file"),
        (("mv", "/folder", "/folder/below"), 5, "below itself"),
    ],
)
def test_target_of_the_wrong_kind_is_refused(dfs: User, words, code: int, said: str) -> None:
    dfs(*words, stdin="new").refused(code, said)
    assert dfs("cat", "/file").done().out == "a file"


def test_get_replaces_nothing_unasked(dfs: User, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    dfs("get", "/file", str(tmp_path)).refused(5, "exists on this computer", "-f")
    dfs("get", "/file", str(tmp_path / "none" / "x")).refused(3, "no such directory")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("edge", [0, 256 * KIB, 512 * KIB, 1024 * KIB])
def test_sizes_around_chunk_and_block_edges_come_back(dfs: User, edge: int) -> None:
    sizes = [size for size in (edge - 1, edge, edge + 1) if size >= 0]
    folder = dfs.here / f"sizes{edge}"
    folder.mkdir()
    for size in sizes:
        (folder / str(size)).write_bytes(content(size))
    dfs("put", "-r", folder.name, "/").done()
    dfs("get", "-r", f"/{folder.name}", f"back{edge}").done()
    for size in sizes:
        assert (dfs.here / f"back{edge}" / str(size)).read_bytes() == content(size)
    whole = content(edge + 1)
    path = f"/{folder.name}/{edge + 1}"
    assert dfs("cat", path).done().raw == whole
    assert dfs("tail", "-c", "2", path).done().raw == whole[-2:]
    assert dfs("head", "-c", str(edge + 1), path).done().raw == whole
