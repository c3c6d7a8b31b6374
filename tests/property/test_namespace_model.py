"""The namespace against an in-memory file system, through thousands of random operations.

Names come from a small alphabet so that operations meet; every refusal must be one that the model
agrees with, and after every step the database's own invariants hold.  The journal, replayed at the
end into empty tables, must give the same tables.
"""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dfs.base.checksum import block_hash, file_checksum
from dfs.base.errors import DfsError
from dfs.settings.sections import NamenodeConfig
from tests.metadata_checks import check_metadata, check_replay
from tests.namespace_rig import NamespaceRig

NAMES = st.sampled_from(["a", "b", "c", "d%", "e\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
CONTENTS = st.binary(min_size=0, max_size=8)
KEEP_MS = int(NamenodeConfig().trash_keep_s * 1000)

Tree = dict[str, bytes | None]  # path -> content, or None for a directory


class Model:
    """What a file system should do, in as few words as possible."""

    def __init__(self) -> None:
        self.tree: Tree = {"/": None}
        self.trash: list[tuple[str, Tree, int]] = []  # path, what was there, when; newest last

    def is_directory(self, path: str) -> bool:
        return path in self.tree and self.tree[path] is None

    def below(self, path: str) -> Tree:
        inside = path.rstrip("/") + "/"
        return {p: c for p, c in self.tree.items() if p == path or p.startswith(inside)}

    def may_add(self, path: str) -> bool:
        return path not in self.tree and self.is_directory(parent(path))

    def into(self, source: str, target: str) -> str:
        inside = f"{target.rstrip('/')}/{source.rsplit('/', 1)[1]}"
        return inside if self.is_directory(target) else target

    def cut(self, path: str) -> Tree:
        gone = self.below(path)
        for each in gone:
            del self.tree[each]
        return {each[len(path) :]: content for each, content in gone.items()}

    def paste(self, path: str, tree: Tree) -> None:
        self.tree.update({path + suffix: content for suffix, content in tree.items()})

    def throw_away(self, path: str, now_ms: int) -> None:
        self.trash.append((path, self.cut(path), now_ms))

    def forget_before(self, limit_ms: int) -> None:
        self.trash = [each for each in self.trash if each[2] > limit_ms]

    def movable(self, source: str, target: str, *, overwrite: bool) -> bool:
        if source not in self.tree:
            return False
        if self.is_directory(target) and target == source:
            return False
        target = self.into(source, target)
        if target == source:
            return True
        if self.is_directory(source) and (target + "/").startswith(source + "/"):
            return False
        if target not in self.tree:
            return self.is_directory(parent(target))
        return overwrite and not self.is_directory(source) and not self.is_directory(target)


def parent(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


class NamespaceMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="dfs-model-")
        self.rig = NamespaceRig(Path(self.folder.name))
        self.model = Model()
        self.model.tree |= {"/tmp": None, "/user": None, "/user/admin": None}

    def teardown(self) -> None:
        self.rig.look(lambda c: check_replay(c, Path(self.folder.name)))
        self.rig.close()
        self.folder.cleanup()

    def attempt(self, do, *, allowed: bool) -> bool:
        refused = ""
        try:
            do()
        except DfsError as exc:
            refused = f"{exc.code}: {exc}"
        assert bool(refused) != allowed, refused or "done, though the model refuses it"
        return allowed

    @initialize()
    def begin(self) -> None:
        self.rig.mkdir("/a")
        self.model.tree["/a"] = None

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        if self.attempt(lambda: self.rig.mkdir(path), allowed=self.model.may_add(path)):
            self.model.tree[path] = None

    @rule(path=PATHS)
    def mkdir_parents(self, path: str) -> None:
        names = path.split("/")[1:]
        above = ["/" + "/".join(names[:n]) for n in range(1, len(names) + 1)]
        allowed = all(self.model.tree.get(p) is None for p in above)
        if self.attempt(lambda: self.rig.mkdir(path, parents=True), allowed=allowed):
            self.model.tree |= dict.fromkeys(above)

    @rule(path=PATHS, content=CONTENTS, overwrite=st.booleans())
    def put(self, path: str, content: bytes, *, overwrite: bool) -> None:
        there = self.model.tree.get(path)
        allowed = self.model.may_add(path) or (overwrite and isinstance(there, bytes))
        done = self.attempt(
            lambda: self.rig.put(path, content, overwrite=overwrite), allowed=allowed
        )
        if done:
            if path in self.model.tree:
                self.model.throw_away(path, self.rig.clock.now_ms())
            self.model.tree[path] = content

    @rule(path=PATHS, content=CONTENTS)
    def give_up_a_write(self, path: str, content: bytes) -> None:
        self.attempt(
            lambda: self.rig.create(path, size_bytes=len(content)),
            allowed=self.model.may_add(path),
        )
        self.rig.advance(self.rig.config.namenode.lease_hard_s + 1)
        self.rig.expire_leases()
        self.model.forget_before(self.rig.clock.now_ms() - KEEP_MS)

    @rule(source=PATHS, to=PATHS, overwrite=st.booleans())
    def move(self, source: str, to: str, *, overwrite: bool) -> None:
        target = to
        allowed = self.model.movable(source, target, overwrite=overwrite)
        if self.attempt(
            lambda: self.rig.move(source, target, overwrite=overwrite), allowed=allowed
        ):
            target = self.model.into(source, target)
            if target != source:
                moved = self.model.cut(source)
                if target in self.model.tree:
                    self.model.throw_away(target, self.rig.clock.now_ms())
                self.model.paste(target, moved)

    @rule(source=PATHS, to=PATHS)
    def copy(self, source: str, to: str) -> None:
        target = to
        allowed = self.model.movable(source, target, overwrite=False)
        allowed = allowed and self.model.into(source, target) != source
        if self.attempt(lambda: self.rig.copy(source, target, recursive=True), allowed=allowed):
            target = self.model.into(source, target)
            copied = {p[len(source) :]: c for p, c in self.model.below(source).items()}
            self.model.paste(target, copied)

    @rule(path=PATHS, recursive=st.booleans())
    def remove(self, path: str, *, recursive: bool) -> None:
        allowed = path in self.model.tree and (recursive or not self.model.is_directory(path))
        if self.attempt(lambda: self.rig.remove(path, recursive=recursive), allowed=allowed):
            self.model.throw_away(path, self.rig.clock.now_ms())

    @precondition(lambda self: self.model.trash)
    @rule(data=st.data())
    def undelete(self, data) -> None:
        path = data.draw(st.sampled_from(sorted({each[0] for each in self.model.trash})))
        if not self.model.is_directory(parent(path)) or path in self.model.tree:
            self.attempt(lambda: self.rig.undelete(path), allowed=False)

    @precondition(lambda self: self.model.trash)
    @rule()
    def undelete_newest(self) -> None:
        path, tree, _ = self.model.trash[-1]
        if self.model.may_add(path):
            self.rig.undelete(path)
            self.model.trash.pop()
            self.model.paste(path, tree)

    @rule()
    def restart(self) -> None:
        self.rig.restart()

    @rule()
    def purge_everything_expired(self) -> None:
        self.rig.advance(self.rig.config.namenode.trash_keep_s + 1)
        while self.rig.purge().more:
            pass
        self.model.trash.clear()

    @invariant()
    def same_tree(self) -> None:
        seen: Tree = {"/": None}
        waiting = ["/"]
        while waiting:
            at = waiting.pop()
            for name in self.rig.names(at):
                path = f"{at.rstrip('/')}/{name}"
                status = self.rig.stat(path)
                if status.kind == "directory":
                    seen[path] = None
                    waiting.append(path)
                else:
                    content = self.model.tree.get(path) or b""
                    assert status.checksum == file_checksum([(len(content), block_hash(content))])
                    seen[path] = content
        assert seen == self.model.tree

    @invariant()
    def invariants_hold(self) -> None:
        self.rig.look(check_metadata)


TestNamespaceModel = NamespaceMachine.TestCase
TestNamespaceModel.settings = settings(
    max_examples=12,
    stateful_step_count=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
