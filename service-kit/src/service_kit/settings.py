"""Settings from the environment, read once; secrets also from files.

A secret `NAME` may be given as `NAME` or as a path in `NAME_FILE`. Nothing
here has a default that is a secret, and no message repeats a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, FilePath, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from service_kit.failpoints import parse as parse_failpoints
from service_kit.setting_secrets import (
    MIN_SECRET_LENGTH,
    SecretFiles,
    SecretSetting,
    SettingError,
    is_placeholder,
    is_weak,
    refuse_unreadable,
    secret_marker,
)

if TYPE_CHECKING:
    from service_kit.tls import TlsFiles


def _check_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if is_placeholder(text):
        raise ValueError("is a placeholder; put one of your own there")
    if is_weak(text):
        raise ValueError(f"is too weak; use at least {MIN_SECRET_LENGTH} random characters")
    return value


def _check_url(schemes: tuple[str, ...]) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(value.get_secret_value())
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"must be a URL like {schemes[0]}://user:password@host:port/name")
        return value

    return AfterValidator(check)


def _check_address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be host:port")
    return value


def _check_addresses(value: str) -> str:
    for part in value.split(","):
        _check_address(part.strip())
    return value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Secret = Annotated[
    SecretStr, SecretSetting(), AfterValidator(_check_secret), BeforeValidator(refuse_unreadable)
]
"""A secret of at least 16 characters that is no placeholder."""

DatabaseUrl = Annotated[
    SecretStr,
    SecretSetting("url"),
    _check_url(("postgresql", "postgres")),
    BeforeValidator(refuse_unreadable),
]
"""postgresql://role:password@host:port/database"""

RedisUrl = Annotated[
    SecretStr,
    SecretSetting("url"),
    _check_url(("redis", "rediss")),
    BeforeValidator(refuse_unreadable),
]
"""redis://:password@host:port/0"""

Address = Annotated[str, AfterValidator(_check_address)]
"""One host:port."""

Addresses = Annotated[str, AfterValidator(_check_addresses)]
"""A comma-separated list of host:port, for `grpc_client.open_channel`."""

CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Words separated by commas."""


class ProcessSettings(BaseSettings):
    """What every process of a service reads, whichever command it runs.

    A docstring below a field becomes the variable's documentation.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, use_attribute_docstrings=True
    )

    environment: Literal["development", "test", "production"] = "development"
    """Where this runs. `production` refuses placeholder passwords, `test` allows failpoints."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least important log events to write."""
    failpoints: str = ""
    """Places to kill or delay the process, in tests only (see service_kit.failpoints)."""

    @model_validator(mode="after")
    def _check_environment(self) -> Self:
        if self.failpoints:
            if self.environment != "test":
                raise SettingError("FAILPOINTS", "is refused unless ENVIRONMENT=test")
            try:
                parse_failpoints(self.failpoints)
            except ValueError as error:
                raise SettingError("FAILPOINTS", str(error)) from error
        if self.environment == "production":
            self._refuse_placeholder_passwords()
        return self

    def _refuse_placeholder_passwords(self) -> None:
        for name, field in type(self).model_fields.items():
            marker, value = secret_marker(field), getattr(self, name)
            if marker is None or marker.kind != "url" or not isinstance(value, SecretStr):
                continue
            password = unquote(urlsplit(value.get_secret_value()).password or "")
            if not password or is_placeholder(password):
                raise SettingError(name.upper(), "holds no password, or a placeholder for one")

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


class MigrationSettings(ProcessSettings):
    """What `migrate` reads. It needs no certificate and no address of another service."""

    database_url: DatabaseUrl | None = None
    """The database, as a role that may change its tables."""
    migration_database_url: DatabaseUrl | None = None
    """The same, where DATABASE_URL is that of a role with lesser rights."""

    @property
    def url(self) -> SecretStr:
        """The address to migrate."""
        url = self.migration_database_url or self.database_url
        assert url is not None  # checked below
        return url

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if self.migration_database_url is None and self.database_url is None:
            raise SettingError("DATABASE_URL", "is not set")
        return self


class ServiceSettings(ProcessSettings):
    """What every service reads to serve. A service adds its own variables below."""

    grpc_address: Address = "127.0.0.1:0"
    """Where gRPC listens, host:port."""
    http_address: Address = "127.0.0.1:0"
    """Where health and metrics listen, host:port."""
    tls_ca_file: FilePath
    """PEM file with the authority that signs every service's certificate."""
    tls_cert_file: FilePath
    """PEM file with this service's certificate."""
    tls_key_file: FilePath
    """PEM file with the certificate's private key."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    """How long running calls may take to finish after SIGTERM."""

    @property
    def tls(self) -> TlsFiles:
        """The certificate as the kit's servers and channels take it."""
        from service_kit.tls import TlsFiles

        return TlsFiles(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable that a service reads."""

    name: str
    required: bool
    default: str | None
    secret: bool
    description: str


def environment_variables(settings_class: type[BaseSettings]) -> list[Variable]:
    """Return the variables of a settings class, in the order of its fields.

    A secret `NAME` can also be given as `NAME_FILE`, which is not listed.
    """
    return [
        Variable(
            name=name.upper(),
            required=field.is_required(),
            default=None if field.is_required() else _shown(field.default),
            secret=secret_marker(field) is not None,
            description=" ".join((field.description or "").split()),
        )
        for name, field in settings_class.model_fields.items()
    ]


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (tuple, list)):
        return ",".join(str(item) for item in default)
    return str(default)
