"""Every environment variable that this service reads."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from service_kit.setting_secrets import SettingError
from service_kit.settings import Addresses, CommaSeparated, RedisUrl, ServiceSettings


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
    local_target_paid: bool = False
    """Treat local workers as a paid target, to test that path (only with ENVIRONMENT=test)."""

    @model_validator(mode="after")
    def _check_local_target(self) -> Self:
        if self.local_target_paid and self.environment != "test":
            raise SettingError("LOCAL_TARGET_PAID", "is refused unless ENVIRONMENT=test")
        return self
