"""Run the gateway: `python -m gateway [serve|migrate|openapi]`."""

from __future__ import annotations

import json

import typer

from gateway.settings import Settings
from service_kit.cli import service_cli

app = service_cli("gateway", Settings, "gateway.bootstrap:gateway")


@app.command(help="Say that there is no database here.")
def migrate() -> None:
    typer.echo("The gateway has no database: nothing to migrate.")


@app.command(help="Print the OpenAPI document.")
def openapi() -> None:
    from gateway.entrypoints.http_app import routes

    typer.echo(json.dumps(routes().openapi(), indent=2, ensure_ascii=False, sort_keys=True))


if __name__ == "__main__":
    app()
