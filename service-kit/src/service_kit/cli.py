"""The command line of a service: `python -m job_service [serve|migrate] [--help]`.

Settings are checked before anything heavy is imported, so that a bad one is
reported at once. This is why the service is given as "module:function".
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any

import typer

from service_kit.lifecycle import load_settings
from service_kit.settings import MigrationSettings, ProcessSettings, ServiceSettings


def service_cli(
    name: str,
    settings_class: type[ServiceSettings],
    open_service: str,
    *,
    migrate: str | None = None,
) -> typer.Typer:
    """Return the commands of a service, to which it may add its own.

    Args:
        name: "job-service"
        settings_class: What it reads from the environment.
        open_service: "job_service.bootstrap:job_service", a function that takes
            the settings and returns the service as an async context manager.
        migrate: The module whose `adapters/migrations` to run: "job_service".
            That command reads MIGRATION_DATABASE_URL, else DATABASE_URL, and no
            other setting of the service.
    """
    app = typer.Typer(
        name=name, help=f"The {name} of Weir.", add_completion=False, pretty_exceptions_enable=False
    )

    @app.callback(invoke_without_command=True)
    def default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            serve()

    @app.command(help="Run the service until SIGTERM or SIGINT. This is the default.")
    def serve() -> None:
        settings = load_settings(settings_class)
        _configure_process(name, settings)
        from service_kit.lifecycle import run_service

        opener: Callable[[Any], AbstractAsyncContextManager[object]] = _load(open_service)
        raise typer.Exit(run_service(lambda: opener(settings)))

    if migrate is not None:
        module = migrate

        @app.command("migrate", help="Bring the database to the newest schema, then exit.")
        def run_migrate() -> None:
            settings = load_settings(MigrationSettings)
            _configure_process(name, settings)
            from service_kit.migrate import run_migrations

            asyncio.run(run_migrations(module, settings.url))

    return app


def service_main(
    name: str,
    settings_class: type[ServiceSettings],
    open_service: str,
    *,
    migrate: str | None = None,
) -> None:
    """Be the whole of a service's `__main__`. See `service_cli` for the arguments."""
    service_cli(name, settings_class, open_service, migrate=migrate)()


def _configure_process(name: str, settings: ProcessSettings) -> None:
    from service_kit import failpoints, logs

    logs.configure(name, settings.log_level)
    failpoints.configure(settings.failpoints)


def _load(place: str) -> Any:
    """Return what "module:function" names, kept out of the garbage collector's rounds.

    What imports make stays until the end. Looking for garbage in it takes a tenth of a start,
    and would take time from every full round afterwards.
    """
    module, _, name = place.partition(":")
    gc.disable()
    try:
        return getattr(import_module(module), name)
    finally:
        gc.freeze()
        gc.enable()
