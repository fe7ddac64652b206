"""Every environment variable that the gateway reads."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from service_kit.setting_secrets import SettingError
from service_kit.settings import (
    Addresses,
    CommaSeparated,
    RedisUrl,
    ServiceSettings,
)


def _check_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            raise ValueError("must be IP addresses or networks such as 10.0.0.0/8") from error
    return values


class Settings(ServiceSettings):
    """What the gateway reads besides what every service reads."""

    api_host: str = "127.0.0.1"
    """Where the public HTTP interface listens."""
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port of the public HTTP interface; 0 takes a free one."""

    auth_service_addresses: Addresses
    """host:port of every auth-service replica."""
    job_service_addresses: Addresses
    """host:port of every job-service replica."""
    cost_service_addresses: Addresses
    """host:port of every cost-service replica."""
    compute_router_addresses: Addresses
    """host:port of every compute-router replica."""
    redis_url: RedisUrl
    """Redis, for rate counters only; without it each replica counts for itself."""

    auth_issuer: str = "weir"
    """The `iss` of tokens to accept."""
    completion_seconds: Annotated[float, Field(gt=0, le=3600)] = 600.0
    """How long one answer under /v1 may take, from request to end."""
    keep_alive_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """How long a stream may be silent before a comment, or a ping, says that it lives."""

    events_per_caller: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Event streams (SSE and WebSocket) that one caller may have open in this process."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=3 * 1024 * 1024)] = 1024 * 1024
    """The largest request body; larger ones get 413 before they are read."""
    header_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """How long a client may take to send the head of a request."""
    body_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """How long a client may take to send the body of a request."""
    slow_reader_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """How long a client may leave a stream unread before it counts as gone."""
    idle_seconds: Annotated[int, Field(ge=1, le=600)] = 30
    """How long a connection may stay open between requests."""

    rate_limit_per_minute: Annotated[int, Field(ge=1)] = 600
    """Requests of one API key or person in any minute."""
    auth_rate_limit_per_minute: Annotated[int, Field(ge=1)] = 60
    """Requests of one client address to the routes that need no credential, in any minute."""
    trusted_proxies: Annotated[CommaSeparated, AfterValidator(_check_networks)] = ()
    """Addresses or networks of proxies whose X-Forwarded-For is believed; none by default."""

    cors_origins: CommaSeparated = ()
    """Origins whose pages may call, such as https://console.example.org; `*` for any."""
    cors_methods: CommaSeparated = ("GET", "POST", "PUT", "DELETE")
    """Methods that browsers may use from those origins."""
    cors_credentials: bool = False
    """Whether browsers may send cookies along; refused together with CORS_ORIGINS=*."""
    allowed_hosts: CommaSeparated = ("*",)
    """Host names by which clients may call, such as weir.example.org or *.example.org."""

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        if "*" in self.cors_origins and self.cors_credentials:
            raise SettingError("CORS_ORIGINS", "must not be * while CORS_CREDENTIALS is true")
        return self
