"""What was promised, and whether it was kept: one sentence for each promise that was broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from chaos_books import Evidence
from chaos_work import answer_of, tokens_of

from weir_local.stack import LedgerCheck

NANOUSD_PER_TOKEN = 1_000_000

ALL_OVER = "all is over: no job, settlement or hold is left open"
ONE_JOB_EACH = "each key made one job, and there are no others"
ALL_COMPLETE = "each job completed, with its whole answer and the charge for exactly that"
ONE_COMPLETION = "the attempt that completed a job is its last, and no other is left open"
ONE_POST = "the ledger has one entry for each admission: the last was charged, those before nothing"
BOOKS_AGREE = "the ledger checker finds no drift"


def broken_promises(
    job_ids: Mapping[int, str], left: Mapping[str, int], evidence: Evidence, check: LedgerCheck
) -> dict[str, str]:
    """Return what was not kept, each with what was found instead. Nobody cancelled anything."""
    found = {
        ALL_OVER: f"{dict(left)}" if left else "",
        ONE_JOB_EACH: _odd_jobs(job_ids, evidence),
        ALL_COMPLETE: ", ".join(_incomplete(job_ids, evidence)),
        ONE_COMPLETION: _odd_attempts(evidence),
        ONE_POST: _odd_entries(evidence),
        BOOKS_AGREE: "" if check.consistent else check.report,
    }
    return {promise: fact for promise, fact in found.items() if fact}


def _odd_jobs(job_ids: Mapping[int, str], evidence: Evidence) -> str:
    wanted = {f"chaos-{number}": job_id for number, job_id in job_ids.items()}
    if evidence.keys == wanted and evidence.jobs.keys() == set(job_ids.values()):
        return ""
    return f"{len(job_ids)} accepted, {len(evidence.keys)} keys, {len(evidence.jobs)} jobs"


def _incomplete(job_ids: Mapping[int, str], evidence: Evidence) -> Iterator[str]:
    wrong: Counter[str] = Counter()
    for number, job_id in job_ids.items():
        job, tokens = evidence.jobs.get(job_id), tokens_of(number)
        if job is None:
            wrong["lost"] += 1
        elif job.state != "completed":
            wrong[f"{job.state} {job.failure_reason or ''}".strip()] += 1
        elif (job.result_text, job.tokens_output) != (answer_of(number), tokens):
            wrong["another answer"] += 1
        elif job.charge_nanousd != (tokens + 1) * NANOUSD_PER_TOKEN:  # one token of prompt
            wrong["another charge"] += 1
    yield from (f"{count} {what}" for what, count in wrong.items())


def _odd_attempts(evidence: Evidence) -> str:
    still_open = sum(attempt.finished_at is None for attempt in evidence.attempts)
    completed = sorted(
        (attempt.job_id, attempt.attempt)
        for attempt in evidence.attempts
        if attempt.outcome == "completed"
    )
    jobs = evidence.jobs.values()
    last = sorted((job.job_id, job.attempt) for job in jobs if job.state == "completed")
    odd = Counter(completed)
    odd.subtract(Counter(last))
    differ = sum(map(abs, odd.values()))
    if not still_open and not differ:
        return ""
    return f"{still_open} attempts are open, {differ} completed that should not have, or reverse"


def _odd_entries(evidence: Evidence) -> str:
    booked = Counter((entry.job_id, entry.kind, entry.amount_nanousd) for entry in evidence.entries)
    jobs = evidence.jobs.values()
    wanted: Counter[tuple[str, str, int | None]] = Counter()
    for job in jobs:
        wanted[job.job_id, "post", job.charge_nanousd] += 1
        # Whoever is redriven here had died without an answer.
        wanted[job.job_id, "void", 0] += job.admission - 1
    too_much, too_little = (booked - wanted).total(), (wanted - booked).total()
    if not too_much and not too_little:
        return ""
    return f"{too_much} entries too many, {too_little} missing"
