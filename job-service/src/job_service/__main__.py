"""Run the job service: `python -m job_service [serve|migrate|verify-receipt]`."""

from __future__ import annotations

from typing import Annotated

import typer

from job_service.settings import Settings
from service_kit.cli import service_cli

app = service_cli(
    "job-service", Settings, "job_service.bootstrap:job_service", migrate="job_service"
)


@app.command(
    help="Verify a receipt offline: exit 0 and say what it proves, or 1 and say what is wrong."
)
def verify_receipt(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The receipt as JSON; - for standard input.")
    ],
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="KEYS.json",
            help="Published keys to believe, in place of those inside of the receipt.",
        ),
    ] = None,
) -> None:
    from job_service.entrypoints.verify_receipt import run

    raise typer.Exit(run(file, keys))


if __name__ == "__main__":
    app()
