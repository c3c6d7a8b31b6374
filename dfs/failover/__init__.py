"""Failover's shell: the rows on a disk, letters on the wire, and the threads that own a core."""
