"""The block service of a DataNode over gRPC: parse, check, call the disk, answer."""
