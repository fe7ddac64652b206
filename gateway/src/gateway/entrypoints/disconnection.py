"""Stops work whose client has left, or that something else made pointless."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work returns, or `None` if the client left first: then it is cancelled."""
    return await first_of(work, _disconnected(receive))


async def first_of(*works: Coroutine[Any, Any, T]) -> T:
    """Return what the first to finish returns; the others are cancelled."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in running:
                task.cancel()
    return next(task.result() for task in running if not task.cancelled())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
