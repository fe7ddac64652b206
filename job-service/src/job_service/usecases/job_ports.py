"""Jobs and their attempts, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from job_service.domain.attempt import AttemptEnd
from job_service.domain.execution import Progress
from job_service.domain.job import Job
from job_service.domain.job_state import JobState


@dataclass(frozen=True, slots=True)
class JobPosition:
    """A place in a project's list of jobs, newest first."""

    created_at: datetime
    job_id: str


@dataclass(frozen=True, slots=True)
class Depths:
    """How much waits, for metrics."""

    by_state: dict[str, int]
    unsent_settlements: int
    dead_letters: int


class JobRepository(Protocol):
    """Jobs. Every time is the database's."""

    async def add(self, job: Job) -> Job:
        """Store a new job with a fresh lease, and return it with its times."""
        ...

    async def save(self, was: Job, now: Job) -> Job | None:
        """Store what differs between `was` and `now`, and return `now` with its times.

        Return `None`, and change nothing, where the stored job's state, admission or lease token
        (without one, its attempt) is no longer that of `was`. A new lease token gets a fresh
        lease. What a renewal or a cancel request wrote in between stays.
        """
        ...

    async def find(self, project_id: str, job_id: str) -> Job | None:
        """Return a project's job without its messages and vectors."""
        ...

    async def find_anywhere(self, job_id: str) -> Job | None:
        """Return a job of any project without its messages; for our own duties only."""
        ...

    async def find_several(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Return those of the jobs that there are, each as `find_anywhere`."""
        ...

    async def find_embeddings(self, job_id: str) -> bytes | None:
        """Return the vectors that a job of any project came to, one after the other."""
        ...

    async def lock(self, job_id: str) -> Job | None:
        """Return a job of any project, and keep others from changing it meanwhile.

        It is whole but for its vectors.
        """
        ...

    async def list_page(
        self, project_id: str, state: JobState | None, limit: int, after: JobPosition | None
    ) -> Sequence[Job]:
        """Return a project's jobs, newest first, without messages and results."""
        ...

    async def claim(self, limit: int, after: str = "") -> Sequence[Job]:
        """Lease up to `limit` queued jobs that are due, and return them.

        Each comes from the project that has the fewest running by then; among those with equally
        many, projects follow each other in the order of their ids, the next one to `after` first.
        Within a project: highest priority, then oldest.
        """
        ...

    async def renew(self, job: Job, progress: Progress) -> bool | None:
        """Prolong a lease and store how far the attempt is.

        Return whether cancellation was asked for, or `None` where the lease is no longer ours.
        """
        ...

    async def lock_lapsed(self, limit: int) -> Sequence[Job]:
        """Return jobs whose lease is over, locked; those that others have locked are left out."""
        ...

    async def lapsed_count(self) -> int:
        """Return how many leases are over, without waiting for anybody."""
        ...

    async def depths(self) -> Depths:
        """Count what is unfinished, and what waits for a person."""
        ...


class AttemptRepository(Protocol):
    async def open(self, job: Job) -> None:
        """Note that a job's current attempt began."""
        ...

    async def note_dispatch(self, job: Job) -> None:
        """Note that the current attempt was dispatched to a paid target, or released by it."""
        ...

    async def close(self, end: AttemptEnd) -> None: ...
