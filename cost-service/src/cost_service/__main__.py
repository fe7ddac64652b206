"""Run the cost service: `python -m cost_service [serve|migrate|load-prices|...]`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cost_service.settings import AuditSettings, Settings
from service_kit.cli import service_cli
from service_kit.lifecycle import load_settings
from service_kit.settings import MigrationSettings

app = service_cli("cost-service", Settings, "cost_service.bootstrap:cost_service")


@app.command(
    help="Bring the database to the newest schema, load the price book, set who may do what."
)
def migrate() -> None:
    settings = load_settings(MigrationSettings)
    from cost_service.bootstrap import migrated
    from service_kit import logs

    logs.configure("cost-service", settings.log_level)
    asyncio.run(migrated(settings))


@app.command(
    help="Add the versions of a price file that are not stored yet, and show what they change."
)
def load_prices(
    file: Annotated[
        Path | None, typer.Argument(help="The file of this release, where none is named.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show; change nothing.")] = False,
) -> None:
    settings = load_settings(MigrationSettings)
    from cost_service.adapters.yaml_price_file import PriceFileInvalid
    from cost_service.bootstrap import prices_loaded, shipped_prices
    from cost_service.entrypoints.price_reports import loaded_lines
    from service_kit.errors import ServiceError

    try:
        written = file.read_text(encoding="utf-8") if file else shipped_prices()
        loaded = asyncio.run(prices_loaded(settings, written, dry_run=dry_run))
    except (OSError, UnicodeDecodeError, PriceFileInvalid) as error:
        typer.echo(f"{file or 'price_book.yaml'}: {error}", err=True)
        raise typer.Exit(2) from error
    except ServiceError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from error
    for line in loaded_lines(loaded, dry_run=dry_run):
        typer.echo(line)
    raise typer.Exit(1 if any(one.refused for one in loaded) else 0)


@app.command(
    help="Write a price file with what the genai-prices package knows, for people to review. "
    "Touches no database."
)
def import_prices(
    provider: Annotated[str, typer.Option(help="As genai-prices names it, such as `openai`.")],
    price_version: Annotated[str, typer.Option(help="The name of the new version.")],
    target: Annotated[str, typer.Option(help="Our name of the target, where it is another.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model; may be given several times.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to write; must not exist. Else to stdout.")
    ] = None,
) -> None:
    from cost_service.adapters.genai_catalog import PACKAGE, NotInCatalog
    from cost_service.bootstrap import imported_prices
    from service_kit.errors import ServiceError

    try:
        written = imported_prices(
            provider, target or provider, price_version, model or (), datetime.now(UTC)
        )
        if output is not None:
            with output.open("x", encoding="utf-8") as file:
                file.write(written)
        else:
            typer.echo(written, nl=False)
    except ModuleNotFoundError as error:
        typer.echo(f"this needs the package {PACKAGE} (requirements/dev.txt)", err=True)
        raise typer.Exit(2) from error
    except (OSError, NotInCatalog, ServiceError) as error:
        typer.echo(f"import-prices: {error}", err=True)
        raise typer.Exit(2) from error


@app.command(
    help="Compare jobs, attempts, holds, outbox, ledger and budgets; exit 1 and name each drift."
)
def check_ledger(
    max_age: Annotated[
        float, typer.Option(min=0, help="Seconds after which an unsent settlement is drift.")
    ] = 60.0,
    require_settled: Annotated[
        bool,
        typer.Option(
            "--require-settled", help="Open jobs, unsent settlements and open holds are drift, too."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
) -> None:
    settings = load_settings(AuditSettings)
    from cost_service.bootstrap import ledger_checker
    from cost_service.entrypoints.check_report import json_report, print_report

    checked = asyncio.run(ledger_checker(settings)(max_age, require_settled=require_settled))
    if as_json:
        typer.echo(json_report(checked, require_settled=require_settled))
    else:
        print_report(checked, require_settled=require_settled)
    raise typer.Exit(1 if checked.findings.drifts else 0)


if __name__ == "__main__":
    app()
