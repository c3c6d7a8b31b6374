"""What a gRPC call of a test was refused with."""

from collections.abc import Callable

import grpc
import pytest

from dfs.base.errors import DfsError
from dfs.wire.grpc_errors import from_rpc_error


def refusal(call: Callable[[], object]) -> DfsError:
    """The error as our client would raise it."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value, "dn")
