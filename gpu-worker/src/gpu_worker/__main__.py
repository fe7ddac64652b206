"""Run the GPU worker: `python -m gpu_worker [serve|migrate]`."""

import os

import typer

from gpu_worker.settings import Settings
from service_kit.cli import service_cli


def main() -> None:
    # Threads that spin while they wait ruin the throughput of a busy machine. OpenMP reads
    # this when it is loaded, so it has to be there before the engine is.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    app = service_cli("gpu-worker", Settings, "gpu_worker.bootstrap:gpu_worker")

    @app.command("migrate", help="Do nothing: this service has no database.")
    def migrate() -> None:
        typer.echo("gpu-worker has no database: nothing to migrate.")

    app()


if __name__ == "__main__":
    main()
