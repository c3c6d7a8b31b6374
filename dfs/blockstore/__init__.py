"""A DataNode's disk: block files that explain themselves, and a catalog that can be rebuilt."""
