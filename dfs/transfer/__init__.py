"""The data plane: moving a block's bytes to and from DataNodes, every one of them verified."""
