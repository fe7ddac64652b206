"""Makes the roles and databases of the services in the Postgres of the stack."""

from pathlib import Path

from weir_local.databases import (
    AUDIT_ROLE,
    SERVICES,
    ServiceRoles,
    prepare_database,
    prepare_roles,
)


async def prepare(secrets: Path) -> None:
    """Make what is missing, and set passwords, limits and rights again; may be repeated.

    Args:
        secrets: The directory with the bundle "databases".
    """

    def read(name: str) -> str:
        return (secrets / name).read_text().strip()

    roles = {
        module: ServiceRoles(module, read(f"{module}.password"), read(f"{module}_owner.password"))
        for module in SERVICES
    }
    superuser_url = read("postgres.url")
    await prepare_roles(superuser_url, roles, read(f"{AUDIT_ROLE}.password"))
    for module, each in roles.items():
        await prepare_database(superuser_url, each, module)
        print(f"database {module} is ready")
