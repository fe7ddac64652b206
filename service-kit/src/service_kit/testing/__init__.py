"""What tests of services need around them: certificates, tokens, clocks, a gRPC loopback."""
