"""The edge: HTTP in, gRPC out."""
