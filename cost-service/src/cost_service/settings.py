"""Every environment variable that this service reads."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service_kit.setting_secrets import SecretFiles
from service_kit.settings import Addresses, DatabaseUrl, ServiceSettings

NANOUSD_PER_USD: Final = 10**9

Usd = Annotated[Decimal, Field(ge=0, le=9_000_000_000, decimal_places=9, allow_inf_nan=False)]
"""US dollars, exact to the nano-dollar."""


class Settings(ServiceSettings):
    """What serving needs."""

    database_url: DatabaseUrl
    """This service's database, as its login role."""
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    """The most database connections of one replica."""
    auth_service_addresses: Addresses
    """Where auth-service answers, host:port, comma-separated."""
    auth_issuer: str = "weir"
    """The issuer that tokens must name."""
    default_allowance_usd: Usd = Decimal(100)
    """What a user may allocate to budgets for each month, until an administrator says otherwise."""
    default_project_cap_usd: Usd = Decimal(10)
    """The monthly cap that a default project gets at its first hold, out of the allowance."""

    default_team_cap_usd: Usd = Decimal(100)
    """What the projects of a team may spend together in each month, where it has no cap."""

    @property
    def default_allowance_nanousd(self) -> int:
        return int(self.default_allowance_usd * NANOUSD_PER_USD)

    @property
    def default_project_cap_nanousd(self) -> int:
        return int(self.default_project_cap_usd * NANOUSD_PER_USD)

    @property
    def default_team_cap_nanousd(self) -> int:
        return int(self.default_team_cap_usd * NANOUSD_PER_USD)


class AuditSettings(BaseSettings):
    """What `check-ledger` needs: both databases, as a role that may only read (`weir_audit`)."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, use_attribute_docstrings=True
    )

    audit_cost_database_url: DatabaseUrl
    """cost-service's database."""
    audit_job_database_url: DatabaseUrl
    """job-service's database."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, SecretFiles(settings_cls), env_settings
