"""Who may call what: certificates, callers, tokens (X-Z4)."""

import asyncio

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service_kit import request_context
from service_kit.errors import ErrorCode, ServiceError
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.metrics import new_registry
from service_kit.request_context import Caller
from service_kit.testing.pki import make_test_pki
from service_kit.testing.tokens import TestIssuer

SERVICE = "test.v1.EchoService"


async def refusal(call, channel, kind, **options):
    """Return the error. grpc.aio forgets it where it meets the request on its way: ask again."""
    for _ in range(5):
        with pytest.raises(ServiceError) as caught, rpc_errors():
            await call(channel, kind, **options)
        if kind != "both_streams" or caught.value.code is not ErrorCode.INTERNAL:
            break
    return caught.value


async def health(channel):
    with rpc_errors():
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest())).status


async def test_allowed_service_gets_in(channel, call, kind):
    """The handler of any kind knows which service calls."""
    request_context.begin_request("req-1")

    assert await call(channel, kind) == "req-1|gateway||"


async def test_other_service_is_refused(loopback, call, kind, counted, becomes, echo):
    """A good certificate of a service that is not on the list opens nothing, and is counted."""
    entered = []

    async def act(text):
        entered.append(text)
        return text

    echo.act = act
    async with loopback.channel_as("cost-service") as stranger:
        error = await refusal(call, stranger, kind)

    assert (error.code, error.reason) == (ErrorCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert entered == []
    assert await becomes(
        lambda: counted(loopback.registry, grpc_method=kind, grpc_code="PERMISSION_DENIED") == 1
    )


async def test_service_without_a_list_is_closed(serving_echo, call, kind):
    """An RPC service that nobody was named for refuses everybody."""
    async with (
        serving_echo(allowed_callers={"test.v1.OtherService": ["gateway"]}) as served,
        served.channel_as("gateway") as channel,
    ):
        error = await refusal(call, channel, kind)

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_worker_is_known_by_its_id(loopback, call):
    """A worker's certificate names the worker, not only that it is one."""
    async with loopback.channel_as("gpu-worker/w2") as worker:
        assert (await call(worker, "unary")).split("|")[1:3] == ["gpu-worker", "w2"]


@pytest.mark.parametrize(
    "name", ["gateway.evil", "xgateway", "Gateway", "gpu-worker/w1/w2", "gateway-2", "spiffe:"]
)
async def test_names_that_look_alike_are_others(loopback, call, authority, name):
    """A certificate is matched by its whole name."""
    lookalike = authority.issue("lookalike", [f"spiffe://weir/{name}"])
    async with channel_with(loopback, lookalike) as channel:
        error = await refusal(call, channel, "unary")

    assert error.reason == "CALLER_NOT_ALLOWED"


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://weir/gateway", "spiffe://weir/cost-service"],
        ["spiffe://other/gateway"],
        ["https://weir/gateway"],
    ],
)
async def test_odd_certificates_are_nobody(loopback, call, authority, uris):
    """A certificate of ours without exactly one name of ours is refused."""
    odd = authority.issue("odd", uris)
    async with channel_with(loopback, odd) as channel:
        error = await refusal(call, channel, "unary")

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_no_certificate_is_refused(loopback, call, kind, pki):
    """Without a certificate there is no handshake, and no byte reaches a handler."""
    credentials = grpc.ssl_channel_credentials(pki["gateway"].ca_file.read_bytes())
    async with grpc.aio.secure_channel(loopback.address, credentials) as channel:
        error = await refusal(call, channel, kind, timeout=5)

    assert error.code is ErrorCode.UNAVAILABLE


async def test_certificate_of_another_authority_is_refused(loopback, call, tmp_path, pki):
    """The right name signed by the wrong authority is no identity."""
    forged = make_test_pki(tmp_path, ["gateway"])["gateway"]
    files = type(forged)(pki["gateway"].ca_file, forged.cert_file, forged.key_file)
    async with channel_with(loopback, files) as channel:
        error = await refusal(call, channel, "unary", timeout=5)

    assert error.code is ErrorCode.UNAVAILABLE


async def test_plain_text_is_refused(loopback, call):
    """A client without TLS does not get in."""
    async with grpc.aio.insecure_channel(loopback.address) as channel:
        error = await refusal(call, channel, "unary", timeout=5)

    assert error.code is ErrorCode.UNAVAILABLE


async def test_client_checks_who_answers(loopback, call, pki):
    """A client that wants cost-service does not talk to job-service at its address."""
    async with open_channel(
        loopback.address, service="cost-service", tls=pki["gateway"], registry=new_registry("x")
    ) as channel:
        error = await refusal(call, channel, "unary", timeout=5)

    assert error.code is ErrorCode.UNAVAILABLE


async def test_health_is_open_to_our_own(loopback):
    """Any service of ours may ask whether we are well."""
    async with loopback.channel_as("cost-service") as channel:
        assert await health(channel) == health_pb2.HealthCheckResponse.SERVING


async def test_metadata_gives_no_identity(loopback, call):
    """X-Z5: what a caller writes about itself changes nothing."""
    async with loopback.channel_as("cost-service") as channel:
        error = await refusal(
            call,
            channel,
            "unary",
            metadata=(
                ("x-caller", "gateway"),
                ("x-forwarded-client-cert", "spiffe://weir/gateway"),
            ),
        )

    assert error.reason == "CALLER_NOT_ALLOWED"


@pytest.fixture
def issuer():
    return TestIssuer()


@pytest.fixture
async def guarded(serving_echo, issuer):
    """The echo service, asking for a user's token in all RPCs but `client_stream`."""
    async with serving_echo(
        authenticate={SERVICE: await issuer.verifier()},
        unauthenticated_methods=[f"/{SERVICE}/client_stream"],
    ) as served:
        yield served


async def test_token_makes_the_caller(guarded, call, issuer, kind):
    """Handlers of any kind, generators too, see whose token came with the call."""
    request_context.begin_request("req-1")
    token = issuer.person_token("user-7")
    request_context.current_caller.set(Caller("user-7", "person", "user", token=token))
    async with guarded.channel_as("gateway", forward_token=True) as channel:
        expected = "" if kind == "client_stream" else "user-7"

        assert await call(channel, kind) == f"req-1|gateway||{expected}"


async def test_token_is_forwarded_only_where_asked(guarded, call, issuer):
    """A channel to a service that needs no token does not carry one."""
    request_context.begin_request()
    request_context.current_caller.set(
        Caller("user-7", "person", "user", token=issuer.person_token("user-7"))
    )
    async with guarded.channel_as("gateway") as channel:
        error = await refusal(call, channel, "unary")

    assert error.reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "TOKEN_MISSING"),
        ("", "TOKEN_MISSING"),
        ("Basic dXNlcjpwYXNz", "TOKEN_INVALID"),
        ("Bearer", "TOKEN_INVALID"),
        ("Bearer garbage", "TOKEN_INVALID"),
    ],
)
async def test_bad_token_is_refused_by_name(
    guarded, call, kind, authorization, reason, counted, becomes, echo
):
    """A missing or wrong token ends the call before the handler, and is counted."""
    if kind == "client_stream":
        return
    echo.act = None
    metadata = () if authorization is None else (("authorization", authorization),)
    async with guarded.channel_as("gateway") as channel:
        error = await refusal(call, channel, kind, metadata=metadata)

    assert (error.code, error.reason) == (ErrorCode.UNAUTHENTICATED, reason)
    assert await becomes(
        lambda: counted(guarded.registry, grpc_method=kind, grpc_code="UNAUTHENTICATED") == 1
    )


async def test_two_tokens_are_none(guarded, call, issuer):
    """A call with two authorizations is not given the choice."""
    metadata = tuple(
        ("authorization", f"Bearer {issuer.person_token(user)}") for user in ("u1", "u2")
    )
    async with guarded.channel_as("gateway") as channel:
        error = await refusal(call, channel, "unary", metadata=metadata)

    assert error.reason == "TOKEN_MISSING"


async def test_caller_comes_before_token(guarded, call, issuer):
    """A user's token does not help a service that may not call."""
    metadata = (("authorization", f"Bearer {issuer.person_token()}"),)
    async with guarded.channel_as("cost-service") as channel:
        error = await refusal(call, channel, "unary", metadata=metadata)

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_callers_do_not_mix(guarded, issuer):
    """A hundred calls at once on one connection each see their own caller."""

    async def one(channel, number):
        token = issuer.person_token(f"user-{number}")
        stub = channel.unary_unary(
            f"/{SERVICE}/unary",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )
        metadata = (("authorization", f"Bearer {token}"), ("x-request-id", f"r{number}"))
        return (await stub(StringValue(), metadata=metadata)).value

    async with guarded.channel_as("gateway") as channel:
        found = await asyncio.gather(*[one(channel, number) for number in range(100)])

    assert found == [f"r{number}|gateway||user-{number}" for number in range(100)]


def channel_with(loopback, files):
    return open_channel(
        loopback.address, service=loopback.service, tls=files, registry=new_registry("x")
    )
