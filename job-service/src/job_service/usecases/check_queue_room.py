"""Refuse work of a project that has too much waiting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from job_service.domain.errors import QueueFull
from job_service.usecases.ports import UnitOfWork
from service_kit.clock import Clock

# So close to the cap every submit is counted: so many jobs, or a tenth of the cap if that is more.
NEAR_JOBS: Final = 1000
NEAR_SHARE: Final = 10
# Farther away, a count is good for so long.
KEEP_SECONDS: Final = 1.0
MOST_KEPT: Final = 10_000


@dataclass(slots=True)
class CheckQueueRoom:
    """Lets no project have more than `cap` queued jobs that wait.

    Near the cap, submits of one project go one at a time and the cap is exact, whoever submits
    and to whichever replica. Farther away nobody waits for anybody: only a project that gets
    more than `NEAR_JOBS` (or a tenth of the cap) new jobs within a second may pass the cap, by
    what came in that second.

    Args:
        cap: The most jobs of a project that wait: for a hold, a place, a retry or a budget.
        clock: Tells how old a count is.
    """

    cap: int
    clock: Clock
    # By project: how many waited, and when that was.
    _counts: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def __call__(self, work: UnitOfWork, project_id: str) -> None:
        """Return if one more job of the project may wait, from the same transaction on.

        Raises:
            QueueFull: It may not.
        """
        near = self.cap - max(NEAR_JOBS, self.cap // NEAR_SHARE)
        if near > 0 and await self._lately(work, project_id, near) < near:
            return
        # Before the lock: whoever floods a full queue keeps nobody waiting, nor connections busy.
        await self._demand_room(work, project_id)
        await work.queue.lock(project_id)
        await self._demand_room(work, project_id)

    async def _demand_room(self, work: UnitOfWork, project_id: str) -> None:
        if await work.queue.count(project_id, self.cap) >= self.cap:
            raise QueueFull(project_id, self.cap)

    async def _lately(self, work: UnitOfWork, project_id: str, at_most: int) -> int:
        now = self.clock.monotonic()
        waiting, counted_at = self._counts.get(project_id, (0, -KEEP_SECONDS))
        if now - counted_at < KEEP_SECONDS:
            return waiting
        waiting = await work.queue.count(project_id, at_most)
        if len(self._counts) >= MOST_KEPT:
            self._counts.clear()
        self._counts[project_id] = waiting, now
        return waiting
