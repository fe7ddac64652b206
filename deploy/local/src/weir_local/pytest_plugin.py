"""Fixtures: a real Postgres and a real Valkey, started when a test first asks for one.

`DATABASE_URL` and `REDIS_URL` name servers to use instead; `WEIR_TEST_BACKEND=containers` takes
containers where an engine answers. Tests of a service ask for

    migrated_database("job_service")   a fresh database, migrated, as the address of its login role
    redis_url                          an empty Redis

and tests that stop and restart servers ask for `postgres_server` or `redis_server`.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import structlog

from weir_local import databases
from weir_local.blocking import run_blocking
from weir_local.databases import ServiceRoles
from weir_local.migrations import MigrationFailed
from weir_local.throwaway import PostgresServer, RedisServer, as_role, at_database
from weir_local.throwaway import postgres_server as running_postgres
from weir_local.throwaway import redis_server as running_redis

# Its handlers crash the children that Postgres is started through while calls are under way.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def pytest_configure() -> None:
    """Show logged exceptions as Python does.

    structlog's own way for a terminal prints all local variables with rich: up to seconds each.
    """
    renderer = structlog.dev.ConsoleRenderer.get_active()
    renderer.exception_formatter = structlog.dev.plain_traceback


@dataclass
class MigratedDatabases:
    """Makes databases for a service's tests, as its migrations leave them.

    The migrations run once, into a template; each call copies it.
    """

    server: PostgresServer
    roles: dict[str, ServiceRoles] = field(default_factory=dict)
    audit_password: str = ""
    _templates: dict[str, str] = field(default_factory=dict)
    _made: list[str] = field(default_factory=list)

    def __call__(self, module: str) -> str:
        """Return the address of a new database for the service's own role."""
        name = self._create(module, template=self._template(module))
        return self._url(module, name)

    def owner_url(self, url: str) -> str:
        """Return the same database's address for the role that owns its tables."""
        module = url.partition("//")[2].partition(":")[0]
        roles = self.roles[module]
        return as_role(url, roles.owner, roles.owner_password)

    def superuser_url(self, url: str) -> str:
        """Return the same database's address for the superuser."""
        return at_database(self.server.superuser_url, url.rpartition("/")[2])

    def audit_url(self, url: str) -> str:
        """Return the same database's address for the role that may read everything."""
        return as_role(url, databases.AUDIT_ROLE, self.audit_password)

    def empty(self, module: str) -> str:
        """Return the address of a new database on which no migration has run."""
        self._prepare_roles()
        return self._url(module, self._create(module))

    def migrate(self, url: str) -> None:
        """Run the service's migrations on one of these databases, as its owner."""
        module = url.partition("//")[2].partition(":")[0]
        owner = self.owner_url(url)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.endswith(("DATABASE_URL", "REDIS_URL"))
        }
        environment |= {
            "ENVIRONMENT": "test",
            "DATABASE_URL": owner,
            "MIGRATION_DATABASE_URL": owner,
        }
        done = subprocess.run(
            [sys.executable, "-m", module, "migrate"],
            env=environment,
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise MigrationFailed(f"python -m {module} migrate:\n{done.stdout}{done.stderr}")

    def drop_all(self) -> None:
        """Delete every database made here."""
        for name in self._made:
            run_blocking(databases.drop_database(self.server.superuser_url, name))

    def _template(self, module: str) -> str:
        if module not in self._templates:
            url = self.empty(module)
            self.migrate(url)
            self._templates[module] = url.rpartition("/")[2]
        return self._templates[module]

    def _create(self, module: str, template: str | None = None) -> str:
        name = f"{module}_{secrets.token_hex(4)}"
        run_blocking(
            databases.prepare_database(
                self.server.superuser_url, self.roles[module], name, template
            )
        )
        self._made.append(name)
        return name

    def _url(self, module: str, database: str) -> str:
        url = at_database(self.server.superuser_url, database)
        return as_role(url, module, self.roles[module].login_password)

    def _prepare_roles(self) -> None:
        if self.roles:
            return
        self.audit_password = secrets.token_urlsafe(12)
        self.roles |= {
            module: ServiceRoles(module, secrets.token_urlsafe(12), secrets.token_urlsafe(12))
            for module in databases.SERVICES
        }
        run_blocking(
            databases.prepare_roles(self.server.superuser_url, self.roles, self.audit_password)
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running Postgres, for this session."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> Iterator[MigratedDatabases]:
    """A callable: module name -> address of a fresh, migrated database."""
    made = MigratedDatabases(postgres_server)
    yield made
    if os.environ.get("DATABASE_URL"):  # the server stays, so its databases must go
        made.drop_all()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A running Redis or Valkey, for this session."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis or Valkey."""
    redis_server.flush()
    return redis_server.url
