"""Carry the answers of running queued jobs to whoever watches them, a batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from job_service.usecases.event_ports import DeltaBatch, DeltaStore, DeltaWrite
from service_kit.clock import Clock
from service_kit.errors import Unavailable

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 0.05
FLUSH_CHARACTERS: Final = 16 * 1024
# What one attempt may have waiting. Beyond it, the next write is a snapshot.
MOST_CHARACTERS: Final = 64 * 1024
QUIET_SECONDS: Final = 1.0
# What the end of an attempt waits for its last words to be written.
FINISH_SECONDS: Final = 0.2
KEEP_RUNNING_SECONDS: Final = 3600
KEEP_ENDED_SECONDS: Final = 300


@dataclass(slots=True)
class AttemptDeltas:
    """What one attempt says. Adding to it costs the attempt nothing.

    All text between two writes is one delta. It gets its number when it is first sent, and keeps
    number and text until Redis took it, so that it may be sent twice.
    """

    job_id: str
    attempt: int
    text_so_far: Callable[[], str]
    publisher: DeltaPublisher
    count: int = 0
    has_ended: bool = False
    _written: int = 0
    # Numbered and to be sent; what is numbered, but neither here nor written, was let go of.
    _sealed: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _characters: int = 0
    _is_superseded: bool = False

    def add(self, text: str) -> None:
        """Say a piece."""
        if not text or self._is_superseded:
            return
        self._open.append(text)
        self._characters += len(text)
        if self._characters > MOST_CHARACTERS:
            self._seal()
            self._let_go()
        self.publisher.announce(self, hurry=self._characters >= FLUSH_CHARACTERS)

    async def close(self) -> int:
        """Return how many deltas there were, after a try to write what is left."""
        self.has_ended = True
        if self.count > 0 or self._open:
            # Numbered before anybody may see it: the end tells how many there are.
            self._seal()
            await self.publisher.finish(self)
        return self.count

    def batch(self) -> DeltaBatch | None:
        """Return what is to be written; `None` where a later attempt writes for the job."""
        if self._is_superseded:
            return None
        self._seal()
        keep = KEEP_ENDED_SECONDS if self.has_ended else KEEP_RUNNING_SECONDS
        if self._written + len(self._sealed) == self.count:
            return DeltaBatch(self.job_id, self.attempt, self._written, tuple(self._sealed), keep)
        whole = (self.text_so_far(),)
        return DeltaBatch(self.job_id, self.attempt, self.count - 1, whole, keep, is_snapshot=True)

    def note(self, batch: DeltaBatch, outcome: DeltaWrite) -> None:
        """Take in what became of a batch."""
        match outcome:
            case DeltaWrite.WRITTEN:
                self._written = batch.last
                later = self.count - batch.last
                del self._sealed[: max(0, len(self._sealed) - later)]
                self._characters = sum(map(len, self._sealed)) + sum(map(len, self._open))
            case DeltaWrite.WIPED:
                self._written = 0
                self._let_go()
            case DeltaWrite.SUPERSEDED:
                self._is_superseded = True

    def _seal(self) -> None:
        if self._open:
            self.count += 1
            self._sealed.append("".join(self._open))
            self._open.clear()

    def _let_go(self) -> None:
        """Forget what waits: the whole answer is going to be written in its place."""
        self._sealed.clear()
        self._characters = sum(map(len, self._open))


class DeltaPublisher:
    """Writes what all attempts of this process say, in one round trip every `FLUSH_SECONDS`.

    It tells other replicas which jobs have something new, too. While Redis is away, nothing is
    written and nobody waits; a try each second finds out when it is back.

    Args:
        store: Where deltas go.
        clock: Tells when to try again.
    """

    def __init__(self, store: DeltaStore, clock: Clock) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._clock = clock
        self._waiting: dict[tuple[str, int], AttemptDeltas] = {}
        self._changed: set[str] = set()
        self._hurry = asyncio.Event()
        # Set when what waits now was written, or was let go of.
        self._settled = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._quiet_until = 0.0
        self._is_away = False

    def open(self, job_id: str, attempt: int, text_so_far: Callable[[], str]) -> AttemptDeltas:
        """Return where an attempt says its pieces.

        Args:
            job_id: The job.
            attempt: The attempt, which is ours.
            text_so_far: Gives the text of all pieces that were added.
        """
        return AttemptDeltas(job_id, attempt, text_so_far, self)

    def jobs_changed(self, job_ids: Collection[str]) -> None:
        """Say that jobs have new lifecycle events. Costs nothing, and may get lost."""
        self._changed.update(job_ids)
        self.wake.set()

    def announce(self, attempt: AttemptDeltas, *, hurry: bool) -> None:
        """Say that an attempt has something to write."""
        self._waiting[attempt.job_id, attempt.attempt] = attempt
        self.wake.set()
        if hurry:
            self._hurry.set()

    async def finish(self, attempt: AttemptDeltas) -> None:
        """Have the last of an attempt written with the next batch, and wait a little for that.

        Nobody waits while Redis is known to be away.
        """
        if self._is_quiet:
            self._waiting.pop((attempt.job_id, attempt.attempt), None)
            return
        self.announce(attempt, hurry=True)
        settled = self._settled
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await settled.wait()
        except TimeoutError:
            log.warning("deltas.late", job_id=attempt.job_id)

    async def __call__(self) -> None:
        """Write until nothing waits. A loop calls this when it is woken."""
        while self._waiting or self._changed:
            # The first word goes out at once; what comes meanwhile goes together.
            await self.flush()
            await self._pause()

    async def flush(self) -> None:
        """Write once what waits; what Redis did not take waits on."""
        async with self._one_at_a_time:
            attempts, self._waiting = list(self._waiting.values()), {}
            changed, self._changed = self._changed, set()
            settled, self._settled = self._settled, asyncio.Event()
            self._hurry.clear()
            try:
                if not await self._write(attempts, changed):
                    self._keep(attempts)
            finally:
                settled.set()

    def _keep(self, attempts: Sequence[AttemptDeltas]) -> None:
        """Have those wait on that Redis did not take, but for any that has ended meanwhile."""
        unwritten = {(each.job_id, each.attempt): each for each in attempts} | self._waiting
        self._waiting = {key: each for key, each in unwritten.items() if not each.has_ended}
        self._settled.set()
        self._settled = asyncio.Event()

    @property
    def _is_quiet(self) -> bool:
        return self._clock.monotonic() < self._quiet_until

    async def _pause(self) -> None:
        if self._is_quiet:
            await asyncio.sleep(self._quiet_until - self._clock.monotonic())
            return
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _write(self, attempts: Sequence[AttemptDeltas], changed: Collection[str]) -> bool:
        """Write a batch of each; where what was before is gone, the whole answer. Tell success."""
        if self._is_quiet:
            return False
        try:
            wiped = await self._write_once(attempts, changed)
            if wiped:
                log.warning("deltas.wiped", attempts=len(wiped))
                await self._write_once(wiped, ())
        except Unavailable:
            self._quiet_until = self._clock.monotonic() + QUIET_SECONDS
            if not self._is_away:
                log.warning("deltas.redis_away")
            self._is_away = True
            return False
        self._is_away = False
        return True

    async def _write_once(
        self, attempts: Sequence[AttemptDeltas], changed: Collection[str]
    ) -> list[AttemptDeltas]:
        """Return those whose earlier deltas are gone."""
        pairs = [(each, batch) for each in attempts if (batch := each.batch()) is not None]
        if not pairs and not changed:
            return []
        outcomes = await self._store.write([batch for _, batch in pairs], changed)
        for (attempt, batch), outcome in zip(pairs, outcomes, strict=True):
            attempt.note(batch, outcome)
        return [
            attempt
            for (attempt, _), outcome in zip(pairs, outcomes, strict=True)
            if outcome is DeltaWrite.WIPED
        ]
