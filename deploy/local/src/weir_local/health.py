"""Asks a service over gRPC, with mutual TLS, whether it serves."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from weir_local.pki import Identity

SERVING = "SERVING"


def ask(address: str, service: str, identity: Identity, seconds: float = 3.0) -> str:
    """Return SERVING, NOT_SERVING, or why no answer came.

    Args:
        address: host:port
        service: Who must answer; its certificate has to carry this name.
        identity: The certificate to show.
        seconds: How long to wait.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.authority.read_bytes(),
        private_key=identity.key.read_bytes(),
        certificate_chain=identity.certificate.read_bytes(),
    )
    options = (("grpc.ssl_target_name_override", service), ("grpc.enable_http_proxy", 0))
    with grpc.secure_channel(address, credentials, options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
