"""DFS: a distributed file system that proves its data is intact."""

__version__ = "0.1.0"
