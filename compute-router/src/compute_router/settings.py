"""Every environment variable that this service reads."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from compute_router.domain.operation import Operation
from service_kit.setting_secrets import SecretSetting, SettingError, refuse_unreadable
from service_kit.settings import Addresses, CommaSeparated, RedisUrl, ServiceSettings


def _check_base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be a URL like https://host:port")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold neither a password nor a query; the key has its own setting")
    base = value.rstrip("/")
    if base.endswith("/v1"):
        raise ValueError("must be given without /v1")
    return base


def _check_operations(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or not set(names) <= set(Operation):
        raise ValueError(f"must list some of {', '.join(Operation)}")
    return names


def _check_provider_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("must be one word of plain ASCII, as a header can carry it")
    return value


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


ProviderKey = Annotated[
    SecretStr,
    SecretSetting(),
    AfterValidator(_check_provider_key),
    BeforeValidator(refuse_unreadable),
]
"""A secret that a stranger chose: how long it is, and what it looks like, is theirs to say."""
BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
OperationNames = Annotated[CommaSeparated, AfterValidator(_check_operations)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(ServiceSettings):
    redis_url: RedisUrl
    """Where the registry of workers is shared, redis://:password@host:port/0."""
    cost_service_addresses: Addresses | None = None
    """Where prices are asked for, host:port[,host:port]; without it estimates are 0."""
    complexity_threshold: Annotated[int, Field(ge=0)] = 100
    """A prompt that scores less goes to local workers, others to Yotta."""
    complexity_keywords: CommaSeparated = ("detailed", "complex", "advanced")
    """Words that add 20 to the score, each once."""
    worker_lease_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How long a worker's registration holds; it renews at a third of that."""
    registry_read_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often the shared registry is read."""
    price_refresh_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """How often the price book is fetched."""
    go_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long the caller may take to confirm a dispatch to a paid target."""
    worker_connect_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long a connection to a worker may take."""
    worker_silence_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """A worker that says nothing for so long, even while it reads a prompt, is lost."""
    worker_aside_seconds: Annotated[float, Field(ge=0, le=300)] = 2.0
    """How long a worker that could not be reached gets no new work."""
    workers_tried: Annotated[int, Field(ge=1, le=20)] = 3
    """How many workers are asked for one prompt while nothing ran."""
    yotta_url: BaseUrl | None = None
    """Base URL of the provider Yotta, without /v1; without it there is no target `yotta`."""
    yotta_api_key: ProviderKey | None = None
    """Its key, sent as a bearer token."""
    yotta_driver: Literal["openai"] = "openai"
    """How it is spoken to: OpenAI's API."""
    yotta_models: CommaSeparated = ()
    """Its models, the first being what `auto` takes; without them it is asked for its list."""
    yotta_context_tokens: Annotated[int, Field(ge=1)] = 8192
    """The context of its models: prompt and answer together."""
    yotta_default_max_tokens: Annotated[int, Field(ge=1)] = 256
    """How long its answers may be where a request says nothing."""
    yotta_operations: OperationNames = ("chat", "completion", "embedding")
    """What it is used for."""
    yotta_slots: Annotated[int, Field(ge=1, le=10_000)] = 64
    """How many prompts each router may have running there."""
    yotta_connect_seconds: Seconds = 5.0
    """How long a connection to it may take, TLS included."""
    yotta_first_byte_seconds: Seconds = 60.0
    """How long its answer may take to begin."""
    yotta_idle_seconds: Seconds = 30.0
    """How long it may be silent in the middle of an answer."""
    yotta_total_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    """How long an answer may take as a whole."""
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    """So many failures of a provider within the window open its breaker."""
    breaker_window_seconds: Seconds = 60.0
    """How long a failure counts."""
    breaker_open_seconds: Seconds = 60.0
    """How long a provider is left alone before one call may try it again."""
    local_target_paid: bool = False
    """Treat local workers as a paid target, to test that path (only with ENVIRONMENT=test)."""

    @model_validator(mode="after")
    def _check_local_target(self) -> Self:
        if self.local_target_paid and self.environment != "test":
            raise SettingError("LOCAL_TARGET_PAID", "is refused unless ENVIRONMENT=test")
        return self

    @model_validator(mode="after")
    def _check_key_is_not_overheard(self) -> Self:
        url, key = self.yotta_url, self.yotta_api_key
        if self.environment != "production" or url is None or key is None:
            return self
        if urlsplit(url).scheme == "http" and not _is_loopback(url):
            raise SettingError(
                "YOTTA_URL", "would send YOTTA_API_KEY for everybody to read: use https://"
            )
        return self
