"""Tasks of the service that outlive the request they came with."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import structlog

from service_kit import request_context

log = structlog.get_logger(__name__)


class BackgroundTasks:
    """The port `Background` over a task group, which waits for them at shutdown."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def start(self, work: Coroutine[Any, Any, None], *, request_id: str) -> None:
        context = contextvars.copy_context()
        # The request's deadline and caller end with the request; its id goes on.
        context.run(request_context.begin_request, request_id or None)
        self._tasks.create_task(_logged(work), context=context)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """Run it. A job whose attempt fails here has a lease, and the reaper finds it."""
    try:
        await work
    except Exception as error:
        log.error("background.failed", exc_info=error)
