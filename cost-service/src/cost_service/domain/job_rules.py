"""What must hold within job-service's books alone, which are read at one moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from cost_service.domain.books import BookedAttempt, Finding, JobBooks
from cost_service.domain.settlement import EntryKind

_COMPLETED: Final = "completed"


def job_drifts(jobs: JobBooks, max_age_seconds: float) -> Iterator[Finding]:
    """Yield every drift within the books; an unsent settlement of that age is one."""
    yield from _final_job_settled(jobs)
    yield from _charge_matches_outbox(jobs)
    yield from _charge_matches_usage(jobs)
    yield from _receipt_matches_outbox(jobs)
    yield from _attempt_closed(jobs)
    yield from _charged_attempt_exists(jobs)
    yield from _completed_once(jobs)
    yield from _key_has_job(jobs)
    yield from _outbox_moves(jobs, max_age_seconds)


def settlements_in_flight(jobs: JobBooks, max_age_seconds: float) -> Iterator[Finding]:
    """Yield the settlements that are on their way, and not for too long."""
    for row in jobs.outbox:
        if not row.sent and row.age_seconds <= max_age_seconds:
            yield Finding(
                "in_flight",
                row.hold_id,
                f"{row.kind} {row.amount_nanousd}, for {row.age_seconds:.1f} s",
            )


def charge_of(kind: EntryKind, amount_nanousd: int) -> int | None:
    """Return what a settlement charges; `None` for one that charges nothing."""
    return amount_nanousd if kind is EntryKind.POST else None


def _final_job_settled(jobs: JobBooks) -> Iterator[Finding]:
    """Each admission that is over has its row in the outbox, from the transaction that ended it."""
    settled = {row.hold_id for row in jobs.outbox}
    for job in jobs.jobs:
        over = job.admission if job.is_final else job.admission - 1
        for admission in range(1, over + 1):
            if f"{job.job_id}:{admission}" not in settled:
                yield Finding("final_job_settled", job.job_id, f"no settlement of {admission}")


def _charge_matches_outbox(jobs: JobBooks) -> Iterator[Finding]:
    outbox = {row.hold_id: row for row in jobs.outbox}
    for job in jobs.jobs:
        row = outbox.get(job.hold_id)
        if job.is_final and row and charge_of(row.kind, row.amount_nanousd) != job.charge_nanousd:
            yield Finding(
                "charge_matches_outbox",
                job.job_id,
                f"charge {job.charge_nanousd}, settlement {row.kind} {row.amount_nanousd}",
            )


def _charge_matches_usage(jobs: JobBooks) -> Iterator[Finding]:
    """A charge is tokens x price, rounded up once, and never more than the hold."""
    for job in jobs.jobs:
        if not job.is_final or job.charge_nanousd is None:
            continue
        expected: int | None = 0
        if job.target is not None and job.model is not None:
            price = job.agreed.price_of(job.target, job.model) if job.agreed else None
            expected = None
            if price is not None and job.agreed is not None:
                cost = price.cost(job.tokens_input, job.tokens_output)
                expected = min(cost, job.agreed.hold_nanousd)
        if job.charge_nanousd != expected:
            wanted = "no price was agreed" if expected is None else f"usage costs {expected}"
            yield Finding(
                "charge_matches_usage", job.job_id, f"charge {job.charge_nanousd}, {wanted}"
            )


def _receipt_matches_outbox(jobs: JobBooks) -> Iterator[Finding]:
    """What was signed is what is sent to be booked: both come from one transaction."""
    outbox = {row.hold_id: row for row in jobs.outbox}
    for receipt in jobs.receipts:
        row = outbox.get(receipt.hold_id)
        if row is None or row.amount_nanousd != receipt.charge_nanousd:
            found = f"{row.kind} {row.amount_nanousd}" if row else "nothing"
            yield Finding(
                "receipt_matches_outbox",
                receipt.hold_id,
                f"receipt {receipt.charge_nanousd}, settlement {found}",
            )


def _attempt_closed(jobs: JobBooks) -> Iterator[Finding]:
    """Only the latest attempt of a job that is not over may be open."""
    known = {job.job_id: job for job in jobs.jobs}
    for attempt in jobs.attempts:
        job = known.get(attempt.job_id)
        if attempt.outcome is not None or job is None:
            continue
        if job.is_final or job.attempt != attempt.attempt:
            yield Finding("attempt_closed", job.job_id, f"attempt {attempt.attempt} never ended")


def _charged_attempt_exists(jobs: JobBooks) -> Iterator[Finding]:
    """Whoever pays has an attempt to show for it, which ended as the job did."""
    known = {(one.job_id, one.attempt): one for one in jobs.attempts}
    for job in jobs.jobs:
        if not job.is_final or job.charge_nanousd is None:
            continue
        attempt = known.get((job.job_id, job.attempt))
        if attempt is None or attempt.admission != job.admission or attempt.outcome != job.state:
            found = f"attempt {job.attempt} is {attempt.outcome}" if attempt else "no attempt"
            yield Finding("charged_attempt_exists", job.job_id, f"{job.state} and charged, {found}")


def _completed_once(jobs: JobBooks) -> Iterator[Finding]:
    """An admission completes once, where its job is `completed`, and never where it is not."""
    completed: defaultdict[str, list[BookedAttempt]] = defaultdict(list)
    for attempt in jobs.attempts:
        if attempt.outcome == _COMPLETED:
            completed[attempt.job_id].append(attempt)
    for job in jobs.jobs:
        times = Counter(one.admission for one in completed[job.job_id])
        for admission, count in times.items():
            if count > 1:
                yield Finding(
                    "completed_once", job.job_id, f"admission {admission} completed {count} times"
                )
        if (job.state == _COMPLETED) != (times[job.admission] > 0):
            yield Finding(
                "completed_once",
                job.job_id,
                f"{job.state}, {times[job.admission]} attempts completed",
            )


def _key_has_job(jobs: JobBooks) -> Iterator[Finding]:
    known = {job.job_id for job in jobs.jobs}
    for key in jobs.keys:
        if key.job_id not in known:
            yield Finding("key_has_job", key.name, f"no job {key.job_id}")


def _outbox_moves(jobs: JobBooks, max_age_seconds: float) -> Iterator[Finding]:
    for row in jobs.outbox:
        if not row.sent and row.age_seconds > max_age_seconds:
            yield Finding("outbox_moves", row.hold_id, f"not sent for {row.age_seconds:.0f} s")
