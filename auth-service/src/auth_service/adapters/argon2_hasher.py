"""Passwords under argon2id, in a few threads of their own.

A hash takes 19 MiB and some tens of milliseconds of a core. As many threads
as cores keep the event loop answering; a queue with an end keeps a flood of
logins from becoming a wait without one (X-A15).
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from service_kit.errors import Unavailable

MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
# At about 30 ms each, the last in the queue waits two seconds.
WAITING_PER_THREAD = 64

T = TypeVar("T")


def available_cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0))


class Argon2Hasher:
    """See `ports.PasswordHasher`. Leaving the block ends the threads."""

    def __init__(
        self, threads: int | None = None, waiting_per_thread: int = WAITING_PER_THREAD
    ) -> None:
        threads = threads or available_cores()
        self._argon2 = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID
        )
        # Nobody knows the password of this hash: it stands in for users who don't exist.
        self._nobody = self._argon2.hash(secrets.token_urlsafe(16))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._limit = threads * (1 + waiting_per_thread)
        self._inside = 0

    async def hash(self, password: str) -> str:
        """Return the hash with its parameters and salt, as argon2 writes it.

        Raises:
            Unavailable: Too many wait already.
        """
        return await self._run(lambda: self._argon2.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether the password is the one that was hashed; see `ports.PasswordHasher`.

        Raises:
            Unavailable: Too many wait already.
        """
        matches = await self._run(lambda: self._matches(password_hash or self._nobody, password))
        return matches and password_hash is not None

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= self._limit:
            raise Unavailable("password check")
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)
        self._inside += 1
        # A caller that gives up leaves the queue; work that has begun still counts.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._inside -= 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
