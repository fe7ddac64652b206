"""Postgres and Valkey of a stack, with the databases and roles of its services."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from weir_local import databases, revisions
from weir_local.blocking import run_blocking
from weir_local.databases import ServiceRoles
from weir_local.files import private_directory
from weir_local.migrations import migrate
from weir_local.postgres import Postgres
from weir_local.progress import Progress, step
from weir_local.secret_files import SecretFiles
from weir_local.state import State
from weir_local.valkey import Valkey
from weir_local.warden import Warden


class Storage:
    """Starts and stops the two servers, and prepares what services keep in them."""

    def __init__(
        self, home: Path, secrets: SecretFiles, state: State, warden: Warden | None
    ) -> None:
        self._home = home
        self._secrets = secrets
        self._state = state
        self._warden = warden

    @cached_property
    def postgres(self) -> Postgres:
        """The database server."""
        return Postgres(
            self._home / "postgres",
            self._secrets.password("postgres.password"),
            port=self._state.ports.get("postgres"),
            log=private_directory(self._home / "logs") / "postgres.log",
            warden=self._warden,
        )

    @cached_property
    def valkey(self) -> Valkey:
        """The Redis server."""
        return Valkey(
            self._home / "valkey",
            self._secrets.password("redis.password"),
            port=self._state.ports.get("valkey"),
            log=private_directory(self._home / "logs") / "valkey.log",
            warden=self._warden,
        )

    @cached_property
    def roles(self) -> Mapping[str, ServiceRoles]:
        """The roles of each service by its module."""
        return {
            module: ServiceRoles(
                module,
                self._secrets.password(f"{module}.password"),
                self._secrets.password(f"{module}_owner.password"),
            )
            for module in databases.SERVICES
        }

    def start(self, progress: Progress, undo: ExitStack) -> None:
        """Start what does not run; what was started now is stopped again by `undo`."""
        servers: dict[str, Postgres | Valkey] = {"postgres": self.postgres, "valkey": self.valkey}
        for name, server in servers.items():
            process = server.find_process()
            if process is None:
                undo.callback(server.stop)
                with step(progress, name):
                    process = server.start()
            self._state.servers[name] = process.pid
        self._tell_addresses()

    def stop(self) -> None:
        """Stop both servers; the data stays."""
        self.valkey.stop()
        self.postgres.stop()
        self._state.servers.clear()

    def prepare(self, progress: Progress, environment: Mapping[str, str]) -> None:
        """Make databases and roles where they are missing, and run the migrations they lack."""
        with step(progress, "databases"):
            run_blocking(self._prepare_databases())
        behind = run_blocking(self._databases_behind())
        if behind:
            with step(progress, "migrations"):
                urls = {module: self._secrets.path(f"{module}_owner.url") for module in behind}
                migrate(urls, self._home / "logs", environment)

    def audit_urls(self) -> dict[str, str]:
        """Return the settings with which the ledger checker reads the databases."""
        password = self._secrets.password("weir_audit.password")
        return {
            f"AUDIT_{module.partition('_')[0].upper()}_DATABASE_URL": self.postgres.url(
                module, databases.AUDIT_ROLE, password
            )
            for module in databases.SERVICES
        }

    async def _prepare_databases(self) -> None:
        audit_password = self._secrets.password("weir_audit.password")
        superuser_url = self.postgres.superuser_url
        await databases.prepare_roles(superuser_url, self.roles, audit_password)
        for module, roles in self.roles.items():
            await databases.prepare_database(superuser_url, roles, module)

    async def _databases_behind(self) -> list[str]:
        """Return the services whose database is not what their code wants."""
        return [
            module
            for module, roles in self.roles.items()
            if await revisions.present(self.postgres.url(module, module, roles.login_password))
            != revisions.wanted(module)
        ]

    def _tell_addresses(self) -> None:
        """Put the addresses where services and tools find them."""
        assert self.postgres.port is not None
        assert self.valkey.port is not None
        self._state.ports |= {"postgres": self.postgres.port, "valkey": self.valkey.port}
        self._state.postgres_url = self.postgres.superuser_url
        self._state.redis_url = self.valkey.url
        self._secrets.keep("redis.url", self.valkey.url)
        for module, roles in self.roles.items():
            login = self.postgres.url(module, roles.login, roles.login_password)
            owner = self.postgres.url(module, roles.owner, roles.owner_password)
            self._secrets.keep(f"{module}.url", login)
            self._secrets.keep(f"{module}_owner.url", owner)
        for variable, url in self.audit_urls().items():
            self._secrets.keep(f"{variable.lower()}", url)


def prepare_home(home: Path) -> None:
    """Make the stack's directory; as root it lets `nobody`, who runs Postgres, pass."""
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711 if os.getuid() == 0 else 0o700)
    private_directory(home / "logs")
