"""Runs a service until it is told to stop, then lets it finish its work.

`load_settings` comes first in a process and must be quick, so heavy imports
wait until the settings are known to be good.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, TypeVar

import structlog
import uvloop
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from service_kit.setting_secrets import SettingError

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=BaseSettings)


def load_settings(settings_class: type[S]) -> S:
    """Read the settings from the environment, or tell what to correct and exit with 2.

    One line on stderr for each variable that can't be used, never with its value.
    """
    try:
        return settings_class()
    except ValidationError as error:
        _exit_naming([_complaint(item) for item in error.errors(include_input=False)])
    except SettingsError as error:
        _exit_naming([str(error)])


def _complaint(item: object) -> str:
    assert isinstance(item, dict)
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, SettingError):
        return f"{cause.variable}: {cause.message}"
    variable = str(item["loc"][0]).upper() if item["loc"] else "settings"
    if item["type"] == "missing":
        return f"{variable}: is not set"
    if isinstance(cause, ValueError):
        return f"{variable}: {cause}"
    return f"{variable}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def _exit_naming(complaints: list[str]) -> NoReturn:
    for complaint in complaints:
        print(complaint, file=sys.stderr)  # noqa: T201 -- for the person who starts the process
    raise SystemExit(2)


async def run_until_stopped(service: AbstractAsyncContextManager[object]) -> None:
    """Enter the service, wait for SIGTERM or SIGINT, then leave it.

    A background task that fails inside the service (see `loop.running`) ends
    the wait; its exception comes out of here once the service is left.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with service:
        log.info("service.started")
        await stop.wait()
        log.info("service.stopping")


def run_service(open_service: Callable[[], AbstractAsyncContextManager[object]]) -> int:
    """Run a service on uvloop and return the exit code of its process.

    It is 0 after SIGTERM or SIGINT, 1 if the service could not start or a task
    of it failed; what failed is logged.
    """

    async def main() -> None:
        await run_until_stopped(open_service())

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except Exception as error:
        log.critical("service.failed", error=_first(error), exc_info=error)
        return 1
    log.info("service.stopped")
    return 0


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
