"""Who may call what: by certificate, for each RPC service."""

import grpc
import pytest
from weir.router.v1 import (
    execution_service_pb2,
    router_service_pb2,
    worker_registry_service_pb2,
)

from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.testing.pki import make_test_pki

CALLS = {
    "weir.router.v1.RouterService/ExplainRoute": router_service_pb2.ExplainRouteRequest(),
    "weir.router.v1.RouterService/ListTargets": router_service_pb2.ListTargetsRequest(),
    "weir.router.v1.WorkerRegistryService/RegisterWorker": (
        worker_registry_service_pb2.RegisterWorkerRequest()
    ),
    "weir.router.v1.WorkerRegistryService/DeregisterWorker": (
        worker_registry_service_pb2.DeregisterWorkerRequest()
    ),
    "weir.router.v1.ExecutionService/Execute": execution_service_pb2.ExecuteRequest(),
}
ALLOWED = {
    "RouterService": {"gateway", "job-service"},
    "WorkerRegistryService": {"gpu-worker/w1"},
    "ExecutionService": {"job-service"},
}
CALLERS = ["gateway", "auth-service", "job-service", "cost-service", "gpu-worker/w1"]


async def outcome_of(channel, method, request) -> ServiceError | None:
    async def one():
        yield request

    call = channel.stream_stream(
        f"/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=lambda raw: raw,
    )(one(), timeout=30)
    try:
        with rpc_errors():
            async for _ in call:
                pass
    except ServiceError as error:
        return error
    return None


@pytest.mark.parametrize("method", CALLS)
async def test_only_the_services_named_may_call(router, method):
    """Everybody else's certificate is known and refused."""
    service = method.partition("/")[0].rpartition(".")[2]
    let_in = set()

    for caller in CALLERS:
        async with router.channel_as(caller) as channel:
            error = await outcome_of(channel, method, CALLS[method])
        if error is None or error.reason != "CALLER_NOT_ALLOWED":
            let_in.add(caller)

    assert let_in == ALLOWED[service]


async def test_foreign_authority_is_refused(router, tmp_path):
    """A certificate that somebody else signed ends in the handshake."""
    foreign = make_test_pki(tmp_path, ["job-service"])["job-service"]
    async with open_channel(
        router.address, service="compute-router", tls=foreign, registry=new_registry("x")
    ) as channel:
        error = await outcome_of(
            channel,
            "weir.router.v1.RouterService/ListTargets",
            router_service_pb2.ListTargetsRequest(),
        )

    assert error.code is ErrorCode.UNAVAILABLE


async def test_plaintext_is_refused(router):
    """Without TLS there is no answer at all."""
    async with grpc.aio.insecure_channel(router.address) as channel:
        error = await outcome_of(
            channel,
            "weir.router.v1.RouterService/ListTargets",
            router_service_pb2.ListTargetsRequest(),
        )

    assert error.code is ErrorCode.UNAVAILABLE


async def test_impostor_gets_no_prompt(router, start_worker_process, execute, pki, eventually):
    """A process with a worker's name and another service's certificate can't serve."""
    # It listens with its own certificate, but says it is w1 to the router: refused there.
    impostor = await start_worker_process("w1", certificate="w2")

    await impostor.wait_for("worker.registration_failed")

    assert impostor.event("worker.registration_failed")["reason"] == "FOREIGN_WORKER_ID"
    with pytest.raises(ServiceError) as caught:
        await (await execute()).rest()
    assert caught.value.reason == "NO_CAPACITY"
