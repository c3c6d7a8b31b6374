"""The committed protobuf code is what the protos generate."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROTOS = sorted((ROOT / "proto").rglob("*.proto"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("grpc_tools", reason="generation needs grpcio-tools (extra: dev)")
    out = tmp_path_factory.mktemp("generated")
    plugins = Path(sys.executable).parent
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={ROOT / 'proto'}",
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--mypy_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out={out}",
            *[str(proto.relative_to(ROOT / "proto")) for proto in PROTOS],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return out


def test_protos_are_there() -> None:
    assert PROTOS


def test_generated_code_equals_the_protos(fresh: Path) -> None:
    made = _generated_under(fresh, fresh)
    committed = _generated_under(ROOT / "dfs", ROOT)
    committed = {path: text for path, text in committed.items() if "__pycache__" not in path.parts}
    assert made.keys() == committed.keys()
    assert [str(path) for path in made if made[path] != committed[path]] == []


def _generated_under(folder: Path, root: Path) -> dict[Path, str]:
    """Modules and stubs by path; what Python compiled beside them is nobody's source."""
    return {
        path.relative_to(root): path.read_text()
        for ending in ("py", "pyi")
        for path in folder.rglob(f"*_pb2*.{ending}")
    }
