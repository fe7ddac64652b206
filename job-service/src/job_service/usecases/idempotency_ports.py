"""Keys that make a request one, however often it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    project_id: str
    route: str
    key: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """The job that a key belongs to, and a digest of the request that made it.

    `job_id` is empty where the request is about many jobs. The store tells since when it is so.
    """

    job_id: str
    body_hash: str
    taken_at: datetime | None = field(default=None, compare=False)


class IdempotencyRepository(Protocol):
    async def find(self, key: IdempotencyKey) -> Reservation | None: ...

    async def reserve(self, key: IdempotencyKey, wanted: Reservation) -> Reservation:
        """Take the key, and return who has it now: us, or whoever was first."""
        ...

    async def jobs_under(self, key: IdempotencyKey) -> Sequence[str]:
        """Return the jobs that have a key made of this one and their id, first taken first."""
        ...

    async def release(self, job_id: str) -> None:
        """Let a job's key go, so that it can be used again."""
        ...
