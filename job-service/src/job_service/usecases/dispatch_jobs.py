"""Claim queued jobs as places are free, and run them."""

from __future__ import annotations

from dataclasses import dataclass, field

from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.usecases.execute_attempt import ExecuteAttempt, StopSignal
from job_service.usecases.live_attempts import LiveAttempts
from job_service.usecases.ports import Background, Hints, UnitOfWorkFactory
from service_kit.clock import Clock
from service_kit.failpoints import failpoint

QUIET_SECONDS = 1.0
# The longest pause before one more is tried on a router that is full again and again.
MOST_QUIET_SECONDS = 30.0
# A larger share of a long queue is claimed in several rounds, one right after the other.
MOST_AT_ONCE = 100


@dataclass(slots=True)
class Places:
    """How many jobs to run at once: what the router can take, found by trying.

    Found no capacity: as many as run anyway. Each job that completes makes room for one more, up
    to `most`; for a second after a refusal it does not, so that a full router is asked little.

    Long jobs do not hold back what came free elsewhere, such as a worker that is back: where none
    completes, one more is tried after that second, too. Each refusal since the last completion
    doubles the pause.
    """

    most: int
    clock: Clock
    limit: int = field(init=False)
    taken: int = 0
    _quiet_until: float = 0.0
    _try_at: float = 0.0
    # Since the last completion; 0: nothing was refused.
    _pause: float = 0.0

    def __post_init__(self) -> None:
        self.limit = self.most

    @property
    def free(self) -> int:
        return max(0, self.limit - self.taken)

    def found_no_capacity(self) -> None:
        self.limit = max(1, min(self.limit, self.taken - 1))
        now = self.clock.monotonic()
        if now >= self._quiet_until:
            # Those of one round count once.
            self._pause = min(2 * self._pause, MOST_QUIET_SECONDS) if self._pause else QUIET_SECONDS
        self._quiet_until = now + QUIET_SECONDS
        self._try_at = now + max(self._pause, QUIET_SECONDS)

    def found_capacity(self) -> None:
        self._pause = 0.0
        now = self.clock.monotonic()
        self._try_at = min(self._try_at, now + QUIET_SECONDS)
        if now >= self._quiet_until:
            self.limit = min(self.most, self.limit + 1)

    def try_one_more(self) -> None:
        """Make room for one where all places are taken and nothing was refused for a while."""
        now = self.clock.monotonic()
        if self.free == 0 and self.limit < self.most and now >= self._try_at:
            self.limit += 1
            self._try_at = now + QUIET_SECONDS


@dataclass(slots=True)
class DispatchJobs:
    """One round: claim what fits, and start it.

    Projects take turns, and each replica remembers whose turn it is: where jobs are so short, or
    places so few, that nobody's are running by the time of the next claim, the same project would
    be first again and again.
    """

    unit_of_work: UnitOfWorkFactory
    execute: ExecuteAttempt
    background: Background
    live: LiveAttempts
    hints: Hints
    places: Places
    is_claiming: bool = True
    # Whose job was claimed last.
    _served: str = ""

    async def __call__(self) -> int:
        """Return how many jobs were started."""
        self.places.try_one_more()
        free = self.places.free
        if not self.is_claiming or free == 0:
            return 0
        async with self.unit_of_work() as work:
            claimed = await work.jobs.claim(min(free, MOST_AT_ONCE), after=self._served)
        if claimed:
            self._served = claimed[-1].project_id
            await failpoint("after_claim")
        for job in claimed:
            self.places.taken += 1
            self.background.start(self._run(job), request_id=job.origin_request_id)
        if len(claimed) == MOST_AT_ONCE:
            self.hints.place_freed()
        return len(claimed)

    def stop_claiming(self) -> None:
        """Take no further job; those that run go on."""
        self.is_claiming = False

    async def _run(self, job: Job) -> None:
        signal = StopSignal()
        has_capacity = True
        try:
            with self.live.holding(job.id, signal):
                has_capacity = self._learn(await self.execute(job, signal))
        finally:
            self.places.taken -= 1
            # Where there was no room, only the next poll asks again, or whoever finishes before.
            if self.is_claiming and has_capacity:
                self.hints.place_freed()

    def _learn(self, ended: Job | None) -> bool:
        """Take in whether the router had room."""
        if ended is None:
            return True
        if ended.found_full:
            self.places.found_no_capacity()
            return False
        if ended.state is JobState.PENDING:
            # It waits for something else, which says nothing about the room that is left.
            return False
        if ended.state is JobState.COMPLETED:
            self.places.found_capacity()
        return True
