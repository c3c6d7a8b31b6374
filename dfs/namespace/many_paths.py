"""Pure: thousands of paths into few directories: what is above the last name is parsed once."""

from dfs.base import paths

Names = tuple[str, ...]


class ManyPaths:
    """Parses the paths of one request as `dfs.base.paths.parse` does."""

    def __init__(self) -> None:
        self._above: dict[str, Names] = {}

    def parse(self, path: str) -> tuple[Names, str]:
        """The names above the last one, and that; the root has the name "".

        Raises:
            BadPath, LimitExceeded: not a path.
        """
        above, slash, name = path.rpartition("/")
        known = self._above.get(above)
        if known is None or not name or not slash:
            names = paths.parse(path)
            if not names:
                return (), ""
            if name:
                self._above[above] = names[:-1]
            return names[:-1], names[-1]
        paths.check_name(name, path)
        if len(path) * 4 > paths.PATH_BYTES_MAX:  # it may be too long: only then is it counted
            paths.parse(path)
        return known, name
