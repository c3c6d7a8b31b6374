"""`dfs-local`: a whole cluster of real daemons on one machine, for trying and for tests."""
