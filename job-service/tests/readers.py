"""A reader of a job's events that insists on their rules."""

from contextlib import aclosing
from dataclasses import dataclass, field

from job_service.domain.job_events import AnswerDelta, Gap, JobEnded, LifecycleRecord, Snapshot


@dataclass
class Reader:
    """Follows one job, from wherever it was cut off."""

    cursor: str = ""
    seq: int = 0
    attempt: int = 0
    number: int = 0
    text: str = ""
    gaps: int = 0
    snapshots: int = 0
    gap_end: int | None = None
    was_behind_gap: bool = False
    types: list = field(default_factory=list)
    job: object = None

    async def read(self, watch, job_id, most=10**9, project_id="p1"):
        """Take so many events, or all there are."""
        async with aclosing(watch(project_id, job_id, self.cursor)) as events:
            async for told in events:
                self.take(told.event, str(told.cursor))
                most -= 1
                if most <= 0 and not self._has_to_go_on():
                    return

    def _has_to_go_on(self):
        """Tell whether this was cut off behind the same gap before: it would never get on."""
        is_behind_gap = self.gap_end is not None
        was_there, self.was_behind_gap = self.was_behind_gap, is_behind_gap
        return is_behind_gap and was_there

    async def read_to_the_end(self, watch, job_id, most=10**9):
        """Resume until the end, however often it is cut."""
        while self.job is None:
            await self.read(watch, job_id, most)

    def take(self, event, cursor):
        assert self.job is None, "an event after the end"
        assert cursor
        assert self.gap_end is None or isinstance(event, (Snapshot, Gap)), "a gap and no snapshot"
        assert cursor != self.cursor or isinstance(event, Gap)
        self.cursor = cursor
        getattr(self, f"_{type(event).__name__}")(event)

    def _LifecycleRecord(self, record: LifecycleRecord):
        assert record.seq == self.seq + 1, "a change was left out, or told twice"
        self.seq = record.seq
        self.types.append(record.type)
        if record.begun_attempt:
            self.attempt, self.number, self.text = record.begun_attempt, 0, ""

    def _AnswerDelta(self, delta: AnswerDelta):
        assert delta.attempt == self.attempt, "a delta of another attempt"
        assert delta.number == self.number + 1, "a delta was left out, or told twice"
        self.number = delta.number
        self.text += delta.text

    def _Gap(self, gap: Gap):
        assert self.number > 0, "who has seen nothing misses nothing"
        assert (gap.attempt, gap.first_missing) == (self.attempt, self.number + 1)
        assert gap.last_missing >= gap.first_missing
        self.gaps += 1
        self.gap_end = gap.last_missing

    def _Snapshot(self, snapshot: Snapshot):
        assert snapshot.attempt == self.attempt
        assert self.gap_end in (None, snapshot.number)
        assert self.number == 0 or self.gap_end is not None, "a snapshot without a gap"
        self.number, self.text, self.gap_end = snapshot.number, snapshot.text, None
        self.snapshots += 1

    def _JobEnded(self, ended: JobEnded):
        self.job = ended.job
