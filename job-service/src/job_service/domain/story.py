"""Everything there is to tell about a job, for readers who are at different places in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from job_service.domain.answer import Answer, Entry
from job_service.domain.job import Job
from job_service.domain.job_events import Cursor, JobEnded, LifecycleRecord, Snapshot, Told

WINDOW_RECORDS: Final = 256


@dataclass(slots=True)
class Story:
    """The latest changes of a job, the answer of the attempt that runs, and the end.

    A reader has a cursor and nothing else, so many readers cost no more memory than one.
    """

    records: list[LifecycleRecord] = field(default_factory=list)
    answer: Answer = field(default_factory=Answer)
    # The last change, where it is a final one; the answer may still be incomplete.
    final: LifecycleRecord | None = None
    # The job as it ended; from then on nothing is added. A retried job is told anew.
    ended: Job | None = None
    most_records: int = WINDOW_RECORDS

    @property
    def is_loaded(self) -> bool:
        return bool(self.records)

    @property
    def last_seq(self) -> int:
        return self.records[-1].seq if self.records else 0

    @property
    def runs(self) -> bool:
        """Whether there is an answer to read."""
        return self.answer.attempt > 0 and self.ended is None

    def take_records(self, records: Iterable[LifecycleRecord]) -> bool:
        """Take in changes, in their order; tell whether there was a new one."""
        is_new = False
        for record in records:
            if record.seq > self.last_seq:
                self._take_record(record)
                is_new = True
        del self.records[: -self.most_records]
        return is_new

    def _take_record(self, record: LifecycleRecord) -> None:
        if self.final is not None:
            # It was not the last after all: somebody retried the job.
            self.final = None
            self._follow(0)
        if record.seq != self.last_seq + 1:
            # Too many came at once. Readers look the others up.
            self.records.clear()
            self._follow(0)
        self.records.append(record)
        if record.is_final:
            self.final = record
            if record.delta_count is not None:
                self._follow(int(record.details["attempt"]))
        elif record.changes_state:
            self._follow(record.begun_attempt)

    def _follow(self, attempt: int) -> None:
        """Forget what an older attempt said: it counts no more."""
        if attempt != self.answer.attempt:
            self.answer = Answer(attempt, self.answer.most_characters, self.answer.most_deltas)

    def take_entries(self, entries: Iterable[Entry]) -> bool:
        """Take in what the running attempt said; tell whether this brought the answer forward."""
        before = self.answer.last
        for entry in entries:
            self.answer.take(entry)
        return self.answer.last > before

    def end(self, job: Job) -> None:
        """Take in the end, when everything that Redis has of the answer was taken in before.

        What is missing then can't be had any more: the job's result stands for it.
        """
        count = self.final.delta_count if self.final else None
        if count is not None and self.answer.attempt > 0 and self.answer.last < count:
            self.answer.replace(count, job.result_text or "")
        self.ended = job

    def lacks(self, at: Cursor) -> bool:
        """Tell whether the next change is older than what is kept here."""
        return self.is_loaded and at.seq + 1 < self.records[0].seq

    def after(self, at: Cursor) -> Sequence[Told]:
        """Return what comes next; nothing where that is not known yet."""
        coming = self._record(at.seq + 1)
        if coming is not None and coming is not self.final:
            return (Told(coming, at.after_change(coming)),)
        if at.attempt > 0 and at.attempt == self.answer.attempt:
            answer = self._answer_after(at)
            if answer:
                return answer
        if self.ended is None:
            return ()
        if coming is not None:
            return (Told(coming, at.after_change(coming)),)
        return (Told(JobEnded(self.ended), at.at_end()),)

    def _answer_after(self, at: Cursor) -> Sequence[Told]:
        told, cursor = [], at
        for event in self.answer.after(at.number):
            if isinstance(event, Snapshot) and at.number == 0 and not event.text:
                # Of an attempt that failed nothing is kept.
                return ()
            # A gap leaves the cursor where it is: who resumes there still needs the snapshot.
            cursor = at.after_deltas(getattr(event, "number", at.number))
            told.append(Told(event, cursor))
        return told

    def _record(self, seq: int) -> LifecycleRecord | None:
        index = seq - self.records[0].seq if self.records else -1
        return self.records[index] if 0 <= index < len(self.records) else None
