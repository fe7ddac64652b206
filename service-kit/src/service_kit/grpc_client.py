"""Channels to other services: mutual TLS, replicas, a deadline on every call.

The channel wraps calls itself. grpc.aio's client interceptors would do the
same at the price of one more task per call.
"""

from __future__ import annotations

import ipaddress
import json
import math
from types import TracebackType
from typing import Any, Final, Self

import grpc
from prometheus_client import CollectorRegistry

from service_kit import request_context
from service_kit.grpc_call import ObservedCall, Outcome
from service_kit.grpc_server import MAX_MESSAGE_BYTES
from service_kit.metrics import GrpcMetrics, kit_metrics
from service_kit.tls import TlsFiles

# Passed as `timeout=`: for the few streams that have no end.
NO_DEADLINE: Final = math.inf

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
    }
)


def open_channel(
    addresses: str,
    *,
    service: str,
    tls: TlsFiles,
    registry: CollectorRegistry,
    default_deadline_seconds: float = 5.0,
    forward_token: bool = False,
    small_windows: bool = False,
) -> grpc.aio.Channel:
    """Return a channel to the replicas of a service. Close it, or use it as `async with`.

    A call gets the default deadline, or what the current request has left if
    that is less, unless it passes its own `timeout=` (`NO_DEADLINE` for none).
    Wrap calls in `rpc_errors()` to get `ServiceError` from them.

    Args:
        addresses: "host:port,host:port". Several must be IP addresses (or
            `localhost`); a single one may be a name, of which every address is used.
        service: Who must answer; the server's certificate has to carry this name.
        tls: Our own certificate.
        registry: Where the metrics go.
        default_deadline_seconds: For calls that name no timeout.
        forward_token: Send the current caller's token along.
        small_windows: Hold 64 KB at most of what a stream sends and nobody has read yet,
            for channels with many streams of slow readers. Otherwise gRPC makes windows
            larger, to several MB for each stream.

    Raises:
        ValueError: The addresses are not such a list.
    """
    options = (
        ("grpc.ssl_target_name_override", service),
        ("grpc.default_authority", service),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        # A frozen server keeps its connections: unanswered pings say that it is away, within 10 s.
        # The timeout of pings for other ends (60 s) would hold up those of keepalive.
        ("grpc.keepalive_time_ms", 5_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Two channels to the same place must not share a connection's fate or identity.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.http2.bdp_probe", int(not small_windows)),
    )
    return _Channel(
        grpc.aio.secure_channel(target_of(addresses), tls.channel_credentials(), options),
        kit_metrics(registry).client,
        default_deadline_seconds,
        forward_token,
    )


def target_of(addresses: str) -> str:
    """Return gRPC's name for a list of addresses."""
    found = [_split(part.strip()) for part in addresses.split(",") if part.strip()]
    if not found:
        raise ValueError("no address given")
    if len(found) == 1 and not _is_ip(found[0][0]):
        return f"dns:///{found[0][0]}:{found[0][1]}"
    hosts = [("127.0.0.1" if host == "localhost" else host, port) for host, port in found]
    if not all(_is_ip(host) for host, _ in hosts):
        raise ValueError("several addresses must be IP addresses; or give one name for all")
    versions = {ipaddress.ip_address(host).version for host, _ in hosts}
    if len(versions) > 1:
        raise ValueError("addresses must be all IPv4 or all IPv6")
    if versions == {6}:
        return "ipv6:" + ",".join(f"[{host}]:{port}" for host, port in hosts)
    return "ipv4:" + ",".join(f"{host}:{port}" for host, port in hosts)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("an address is host:port")
    return host.strip("[]"), int(port)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Channel(grpc.aio.Channel):
    """A channel whose calls carry a deadline, the request id and, if asked, the token."""

    def __init__(
        self,
        inner: grpc.aio.Channel,
        metrics: GrpcMetrics,
        default_deadline_seconds: float,
        forward_token: bool,
    ) -> None:
        self._inner = inner
        self._metrics = metrics
        self._default_deadline_seconds = default_deadline_seconds
        self._forward_token = forward_token

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Callable(self, method, self._inner.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Callable(self, method, self._inner.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Callable(self, method, self._inner.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Callable(self, method, self._inner.stream_stream(method, *args, **kwargs))

    def timeout_for(self, asked: float | None) -> float | None:
        if asked is not None:
            return None if asked == NO_DEADLINE else asked
        left = request_context.remaining_seconds()
        if left is None:
            return self._default_deadline_seconds
        return min(left, self._default_deadline_seconds)

    def metadata_for(self, given: Any) -> tuple[tuple[str, str | bytes], ...]:
        added = []
        if request_id := request_context.request_id():
            added.append(("x-request-id", request_id))
        if self._forward_token:
            caller = request_context.find_caller()
            if caller is not None and caller.token:
                added.append(("authorization", f"Bearer {caller.token}"))
        kept = tuple(given or ())
        names = {name for name, _ in kept}
        return kept + tuple(item for item in added if item[0] not in names)

    def outcome_of(self, method: str) -> Outcome:
        return Outcome(self._metrics, method)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(exc_type, exc_val, exc_tb)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()


class _Callable:
    """One RPC of a channel, of any of the four kinds."""

    def __init__(self, channel: _Channel, method: str, inner: Any) -> None:
        self._channel = channel
        self._method = method
        self._inner = inner

    def __call__(
        self,
        *request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        **kwargs: Any,
    ) -> Any:
        call = self._inner(
            *request,
            timeout=self._channel.timeout_for(timeout),
            metadata=self._channel.metadata_for(metadata),
            **kwargs,
        )
        return ObservedCall(call, self._channel.outcome_of(self._method))
