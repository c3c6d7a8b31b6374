"""The floor: words and pure rules that every process shares.  Standard library and xxhash only."""
