"""Every environment variable that this service reads."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, FilePath, model_validator

from service_kit.setting_secrets import SettingError
from service_kit.settings import Addresses, DatabaseUrl, RedisUrl, ServiceSettings
from service_kit.signatures import SigningKey, SigningKeyUnusable

Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(ServiceSettings):
    database_url: DatabaseUrl
    """Jobs, attempts, idempotency keys, settlements, events."""
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 10
    """The most connections to the database."""
    redis_url: RedisUrl
    """Carries wake-up hints between replicas, and answers to readers; may be away."""
    auth_service_addresses: Addresses
    """Replicas of auth-service, host:port[,host:port]."""
    cost_service_addresses: Addresses
    """Replicas of cost-service."""
    compute_router_addresses: Addresses
    """Replicas of compute-router."""
    receipt_signing_key_file: FilePath
    """PEM file with the Ed25519 key that signs receipts, the same for all replicas; mode 0600."""
    auth_issuer: str = "weir"
    """The `iss` of tokens to accept."""
    lease_seconds: Seconds = 10.0
    """How long a job stays with a replica that is not heard of."""
    lease_renew_seconds: Seconds = 3.0
    """How often a lease is renewed; at most half of it."""
    poll_seconds: Seconds = 1.0
    """How often each loop looks for work that nobody hinted at."""
    retry_backoff_seconds: Annotated[float, Field(gt=0, le=86400)] = 60.0
    """The pause before the first retry of a failed execution, doubled for each further one."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 3
    """Retries of a job whose request names no number."""
    max_lost_leases: Annotated[int, Field(ge=1, le=100)] = 5
    """So many executions that were lost with their replica or worker make a dead letter."""
    no_capacity_wait_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """The pause of queued work that nothing could take; it grows where certain targets are away."""
    dispatch_concurrency: Annotated[int, Field(ge=1, le=1000)] = 32
    """Queued jobs that one replica runs at once."""
    max_queued_jobs_per_project: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """So many jobs of a project may wait: for a hold, a place, a retry or a budget."""
    blocked_max_seconds: Annotated[float, Field(ge=1, le=31_536_000)] = 604_800.0
    """After so long a job that its budget blocks is given up."""
    execution_timeout_seconds: Annotated[float, Field(gt=0, le=86400)] = 600.0
    """How long one attempt may take."""
    price_keep_seconds: Seconds = 60.0
    """How old the price book may get before it is fetched again."""
    target_refresh_seconds: Seconds = 2.0
    """How often the router's targets are listed."""
    reconcile_after_seconds: Annotated[float, Field(ge=1, le=86400)] = 60.0
    """Holds that are open for longer are compared with jobs, twice in that time."""

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.lease_renew_seconds > self.lease_seconds / 2:
            raise SettingError("LEASE_RENEW_SECONDS", "must be at most half of LEASE_SECONDS")
        return self

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        try:
            SigningKey.load(self.receipt_signing_key_file)
        except SigningKeyUnusable as error:
            raise SettingError("RECEIPT_SIGNING_KEY_FILE", str(error)) from error
        return self
