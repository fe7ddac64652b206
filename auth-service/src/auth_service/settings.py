"""Every environment variable that this service reads."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Self

from pydantic import DirectoryPath, Field, model_validator

from service_kit.setting_secrets import SettingError
from service_kit.settings import DatabaseUrl, Secret, ServiceSettings

REFRESH_TOKEN_SECRET_MIN_CHARACTERS = 32


class Settings(ServiceSettings):
    """The settings of auth-service."""

    database_url: DatabaseUrl
    """This service's own database, as its login role."""
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    """The most connections to it."""
    signing_keys_dir: DirectoryPath
    """Ed25519 private keys, one PEM file each, mode 0600, stem = key id; the newest file signs."""
    auth_issuer: Annotated[str, Field(min_length=1, max_length=200)] = "weir"
    """The `iss` of our tokens."""
    access_token_expire_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """How long an access token lives."""
    refresh_token_expire_days: Annotated[int, Field(ge=1, le=365)] = 7
    """How long a session lives after its latest refresh."""
    refresh_token_secret: Secret
    """What refresh tokens are derived from: 32 random characters or more, outside the database."""
    allow_registration: bool | None = None
    """Whether strangers may register. Unset: yes, but not where ENVIRONMENT=production."""
    password_min_length: Annotated[int, Field(ge=8, le=128)] = 8
    """The fewest characters of a password."""
    bootstrap_admin_password: Secret | None = None
    """The password of `admin`, made at the first start where no administrator exists."""

    expire_sessions_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """How often sessions that are over are removed."""
    recount_sessions_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """How often everybody's sessions are counted."""
    archive_logs_at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "02:00"
    """When old audit entries are archived, each day, in UTC."""
    audit_retention_days: Annotated[int, Field(ge=1, le=36500)] = 90
    """How many days audit entries stay in the log before they go to its archive."""

    @property
    def registration_allowed(self) -> bool:
        """Whether strangers may register."""
        if self.allow_registration is None:
            return self.environment != "production"
        return self.allow_registration

    @property
    def access_token_life(self) -> timedelta:
        return timedelta(minutes=self.access_token_expire_minutes)

    @property
    def session_life(self) -> timedelta:
        return timedelta(days=self.refresh_token_expire_days)

    @property
    def expire_sessions_every(self) -> timedelta:
        return timedelta(seconds=self.expire_sessions_seconds)

    @property
    def recount_sessions_every(self) -> timedelta:
        return timedelta(seconds=self.recount_sessions_seconds)

    @property
    def archive_time(self) -> time:
        return time.fromisoformat(self.archive_logs_at)

    @property
    def audit_retention(self) -> timedelta:
        return timedelta(days=self.audit_retention_days)

    @model_validator(mode="after")
    def _check_refresh_token_secret(self) -> Self:
        secret = self.refresh_token_secret.get_secret_value()
        if len(secret) < REFRESH_TOKEN_SECRET_MIN_CHARACTERS:
            raise SettingError(
                "REFRESH_TOKEN_SECRET",
                f"is too short; use at least {REFRESH_TOKEN_SECRET_MIN_CHARACTERS} characters",
            )
        return self
