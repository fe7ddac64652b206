"""Run the compute router: `python -m compute_router [serve|migrate]`."""

import typer

from compute_router.settings import Settings
from service_kit.cli import service_cli


def main() -> None:
    app = service_cli("compute-router", Settings, "compute_router.bootstrap:compute_router")

    @app.command("migrate", help="Do nothing: this service has no database.")
    def migrate() -> None:
        typer.echo("compute-router has no database: nothing to migrate.")

    app()


if __name__ == "__main__":
    main()
