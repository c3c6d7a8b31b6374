"""The calls of `dataNode.proto` at both ends, with the data streams as frames.

In place of what protoc generates for the service; the messages on the wire are the same.
"""

from collections.abc import Iterator
from typing import Any, Final, Protocol

import grpc

from dfs.wire import dataNode_pb2 as pb
from dfs.wire.dataNode_pb2_grpc import DataNodeStub
from dfs.wire.frames import Frame, read_frame, write_frame

SERVICE: Final = pb.DESCRIPTOR.services_by_name["DataNode"].full_name
_UPLOAD, _DOWNLOAD = f"/{SERVICE}/UploadBlock", f"/{SERVICE}/DownloadBlock"


class DataCalls:
    """The calls that a channel makes."""

    UploadBlock: "grpc.StreamUnaryMultiCallable[Frame, pb.BlockReceipt]"
    DownloadBlock: "grpc.UnaryStreamMultiCallable[pb.BlockRange, Frame]"

    def __init__(self, channel: grpc.Channel) -> None:
        stub = DataNodeStub(channel)
        self.CopyBlock = stub.CopyBlock
        self.DeleteBlock = stub.DeleteBlock
        self.ProbeBlock = stub.ProbeBlock
        self.UploadBlock = channel.stream_unary(
            _UPLOAD,
            request_serializer=write_frame,
            response_deserializer=pb.BlockReceipt.FromString,
        )
        self.DownloadBlock = channel.unary_stream(
            _DOWNLOAD,
            request_serializer=pb.BlockRange.SerializeToString,
            response_deserializer=read_frame,
        )


class DataService(Protocol):
    """Who answers them.  Method names are those of the proto."""

    def UploadBlock(  # noqa: N802
        self, request_iterator: Iterator[Frame], context: grpc.ServicerContext
    ) -> pb.BlockReceipt:
        """See the proto."""
        ...

    def DownloadBlock(  # noqa: N802
        self, request: pb.BlockRange, context: grpc.ServicerContext
    ) -> Iterator[Frame]:
        """See the proto."""
        ...

    def CopyBlock(  # noqa: N802
        self, request: pb.CopyRequest, context: grpc.ServicerContext
    ) -> pb.BlockReceipt:
        """See the proto."""
        ...

    def DeleteBlock(  # noqa: N802
        self, request: pb.DeleteRequest, context: grpc.ServicerContext
    ) -> pb.DeleteReply:
        """See the proto."""
        ...

    def ProbeBlock(  # noqa: N802
        self, request: pb.ProbeRequest, context: grpc.ServicerContext
    ) -> pb.ProbeReply:
        """See the proto."""
        ...


def serve_data_calls(service: DataService, server: grpc.Server) -> None:
    """Have the server hand its calls to `service`."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "UploadBlock": grpc.stream_unary_rpc_method_handler(
            service.UploadBlock, read_frame, pb.BlockReceipt.SerializeToString
        ),
        "DownloadBlock": grpc.unary_stream_rpc_method_handler(
            service.DownloadBlock, pb.BlockRange.FromString, write_frame
        ),
        "CopyBlock": grpc.unary_unary_rpc_method_handler(
            service.CopyBlock, pb.CopyRequest.FromString, pb.BlockReceipt.SerializeToString
        ),
        "DeleteBlock": grpc.unary_unary_rpc_method_handler(
            service.DeleteBlock, pb.DeleteRequest.FromString, pb.DeleteReply.SerializeToString
        ),
        "ProbeBlock": grpc.unary_unary_rpc_method_handler(
            service.ProbeBlock, pb.ProbeRequest.FromString, pb.ProbeReply.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
