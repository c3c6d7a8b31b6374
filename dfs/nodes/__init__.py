"""DataNodes: the NameNode's register of them, and the side of a DataNode that reports to it."""
