"""The secrets of a composed stack, and which container gets which of them.

All of them are made once and kept in the vault, which the services never see. A bundle is what
one container finds in /run/weir: file names there, and where in the vault each comes from.
"""

from collections.abc import Mapping
from pathlib import Path

from weir_local.databases import AUDIT_ROLE, SERVICES
from weir_local.pki import Authority
from weir_local.secret_files import SecretFiles

POSTGRES = "postgres:5432"
REDIS = "redis:6379"
WORKER_IDS = {"gpu-worker-cpu": "cpu-0", "gpu-worker-gpu": "gpu-0"}
"""The worker that each container is, by its name; certificates name it."""

Bundle = Mapping[str, Path]


class Vault:
    """Makes what is missing in its directory, renews certificates, and sorts it into bundles."""

    def __init__(self, directory: Path) -> None:
        self._secrets = SecretFiles(directory / "secrets")
        self._authority = Authority(directory / "pki")

    def admin_password(self) -> str:
        """Return the password with which `admin` logs in at first."""
        return self._secrets.password("admin.password")

    def bundles(self) -> dict[str, Bundle]:
        """Return the bundle of every container that gets one, by its name."""
        redis_url = self._keep("redis.url", f"redis://:{self._password('redis')}@{REDIS}/0")
        redis = {"redis.url": redis_url}
        return {
            "gateway": self._identity("gateway") | redis,
            "auth-service": self._identity("auth-service")
            | self._database("auth_service")
            | self._signing_keys()
            | self._passwords("admin.password", "refresh-token.secret"),
            "job-service": self._identity("job-service")
            | self._database("job_service")
            | redis
            | {"receipt-signing.pem": self._secrets.signing_key("receipt-signing.pem")},
            "cost-service": self._identity("cost-service") | self._database("cost_service"),
            "compute-router": self._identity("compute-router") | redis,
            **{
                container: self._identity(f"gpu-worker/{worker_id}")
                for container, worker_id in WORKER_IDS.items()
            },
            "postgres": self._passwords("postgres.password"),
            "redis": self._redis_server(),
            "databases": self._roles(),
            "migrations": self._owner_urls(),
            "audit": self._audit_urls(),
            "grafana": self._passwords("grafana.password"),
        }

    def _identity(self, identity: str) -> dict[str, Path]:
        files = self._authority.issue(identity)
        return {"ca.pem": files.authority, "tls.pem": files.certificate, "tls.key": files.key}

    def _signing_keys(self) -> dict[str, Path]:
        self._secrets.ensure_signing_key()
        keys = sorted(self._secrets.signing_keys.glob("*.pem"))
        return {f"signing-keys/{key.name}": key for key in keys}

    def _redis_server(self) -> dict[str, Path]:
        password = self._password("redis")
        configuration = self._keep("redis-password.conf", f"requirepass {password}\n")
        return {"password.conf": configuration, **self._passwords("redis.password")}

    def _roles(self) -> dict[str, Path]:
        """Everything with which roles and databases are made, for that one container."""
        password = self._password("postgres")
        url = self._keep("postgres.url", f"postgresql://postgres:{password}@{POSTGRES}/postgres")
        roles = [role for module in SERVICES for role in (module, f"{module}_owner")]
        files = self._passwords(*(f"{role}.password" for role in (*roles, AUDIT_ROLE)))
        return {"postgres.url": url, **files}

    def _owner_urls(self) -> dict[str, Path]:
        return {
            f"{module}.url": self._url(f"{module}_owner", module, f"{module}_owner.url")
            for module in SERVICES
        }

    def _audit_urls(self) -> dict[str, Path]:
        return {
            f"{module}.url": self._url(AUDIT_ROLE, module, f"audit_{module}.url")
            for module in ("cost_service", "job_service")
        }

    def _database(self, module: str) -> dict[str, Path]:
        return {"database.url": self._url(module, module, f"{module}.url")}

    def _url(self, role: str, database: str, name: str) -> Path:
        url = f"postgresql://{role}:{self._password(role)}@{POSTGRES}/{database}"
        return self._keep(name, url)

    def _passwords(self, *names: str) -> dict[str, Path]:
        for name in names:
            self._secrets.password(name)
        return {name: self._secrets.path(name) for name in names}

    def _password(self, role: str) -> str:
        return self._secrets.password(f"{role}.password")

    def _keep(self, name: str, value: str) -> Path:
        return self._secrets.keep(name, value)
