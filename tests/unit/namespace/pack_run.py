"""A process that writes one pack of files into a namespace, for tests that kill it on the way."""

import os
import sys
from pathlib import Path

from dfs.base import crashpoint
from tests.namespace_rig import NamespaceRig
from tests.pack_rig import put_pack

FILES = {f"/tmp/x{n % 3}/f{n}": b"%03d" % n for n in range(30)}

if __name__ == "__main__":
    rig = NamespaceRig(Path(sys.argv[1]))
    crashpoint.arm(os.environ)
    assert put_pack(rig, FILES, parents=True, overwrite=True).refused == []
    rig.close()
