"""What processes say to each other: REST shapes and routes, gRPC messages, their links."""
