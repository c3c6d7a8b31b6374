"""Blocks and their replicas on the NameNode: where they go, where they are, the truth."""
