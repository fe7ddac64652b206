"""Run the cost service: `python -m cost_service [serve|migrate|check-ledger]`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cost_service.settings import AuditSettings, Settings
from service_kit.cli import service_cli
from service_kit.lifecycle import load_settings
from service_kit.settings import MigrationSettings

app = service_cli("cost-service", Settings, "cost_service.bootstrap:cost_service")


@app.command(help="Bring the database to the newest schema, set who may do what, then exit.")
def migrate() -> None:
    settings = load_settings(MigrationSettings)
    from cost_service.bootstrap import migrated
    from service_kit import logs

    logs.configure("cost-service", settings.log_level)
    asyncio.run(migrated(settings))


@app.command(
    help="Compare jobs, holds, outbox, ledger and budgets; exit 1 and name each drift, if any."
)
def check_ledger(
    max_age: Annotated[
        float, typer.Option(min=0, help="Seconds after which an unsent settlement is drift.")
    ] = 60.0,
) -> None:
    settings = load_settings(AuditSettings)
    from cost_service.bootstrap import ledger_checker
    from cost_service.entrypoints.check_report import print_report

    checked = asyncio.run(ledger_checker(settings)(max_age))
    print_report(checked)
    raise typer.Exit(1 if checked.findings.drifts else 0)


if __name__ == "__main__":
    app()
