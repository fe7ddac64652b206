"""Replicas are killed at random while jobs run (X-R1), and some are frozen (X-R2).

Small by default, as part of `make test`; CHAOS_JOBS, CHAOS_KILLS, CHAOS_FREEZES and CHAOS_SEED
make it another run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from chaos_blows import Assailant, Dealt
from chaos_books import Evidence, open_books
from chaos_client import SubmittingClient, submitting_client
from chaos_report import Interruption, interruptions, name_of, percentile, table_of
from chaos_work import answer_of, tokens_of
from rich.console import Console

NANOUSD_PER_TOKEN = 1_000_000
# Beyond the lease and the restart of whoever was killed (X-R1).
SPARE_SECONDS = 2.0


@pytest.mark.timeout(1200)
async def test_no_job_is_lost_and_none_billed_twice(plan, chaos_stack, capsys):
    """Every job that was accepted completes, once, and is posted to the ledger, once.

    While jobs arrive, replicas of job-service, compute-router, gpu-worker and cost-service are
    killed by SIGKILL and started again, never both of one service, and only while work is
    running. A job-service is also frozen for longer than its leases: what it believes when it
    wakes up must change nothing. Whatever fails on the way is tried again, so no other final
    state than `completed` is right: nobody cancels, no prompt is refused, the budget has room
    for all, and being lost often makes no dead letter here.
    """
    with capsys.disabled():
        Console().print(f"\nCHAOS_SEED={plan.seed}")
    begun = time.monotonic()
    async with open_books(chaos_stack) as books, submitting_client(chaos_stack.gateway_url) as us:
        async with asyncio.TaskGroup() as tasks:
            freeze_seconds = 1.5 * plan.lease_seconds
            assailant = Assailant(chaos_stack, books, tasks, plan.pause_seconds, freeze_seconds)
            for blow, wave in zip(plan.blows(), plan.waves(), strict=True):
                tasks.create_task(us.submit_wave(wave, plan.pause_seconds))
                await assailant.deal(blow)
            await assailant.settle()
        await books.wait_until_over(plan.drain_seconds)
        wall_seconds = time.monotonic() - begun
        evidence = await books.evidence(us.project_id)

    assert_every_job_is_there_once(plan.jobs, us, evidence)
    assert_every_job_completed(us, evidence)
    assert_one_attempt_completed_each(evidence)
    assert_each_was_posted_once(evidence)
    check = await asyncio.to_thread(chaos_stack.check_ledger)
    assert check.consistent, check.report

    interrupted = interruptions(assailant.dealt, evidence)
    repeats, restarts = us.repeats, assailant.restarts
    with capsys.disabled():
        Console().print(
            table_of(plan, assailant.dealt, interrupted, restarts, repeats, wall_seconds)
        )
    assert_blows_met_work(assailant.dealt, interrupted)
    limit = plan.lease_seconds + percentile(restarts, 0.99) + SPARE_SECONDS
    assert percentile([each.recovery_seconds for each in interrupted], 0.99) <= limit


def assert_every_job_is_there_once(count: int, us: SubmittingClient, evidence: Evidence) -> None:
    """Each key made one job, and there are no others."""
    assert len(us.job_ids) == count
    assert evidence.keys == {f"chaos-{number}": job_id for number, job_id in us.job_ids.items()}
    assert set(evidence.jobs) == set(us.job_ids.values())
    assert len(evidence.jobs) == count


def assert_every_job_completed(us: SubmittingClient, evidence: Evidence) -> None:
    """Each has its whole answer, and the charge for exactly that."""
    states = Counter((job.state, job.failure_reason) for job in evidence.jobs.values())
    assert states == {("completed", None): len(us.job_ids)}
    for number, job_id in us.job_ids.items():
        job, tokens = evidence.jobs[job_id], tokens_of(number)
        assert (job.result_text, job.tokens_output) == (answer_of(number), tokens)
        assert job.charge_nanousd == (tokens + 1) * NANOUSD_PER_TOKEN  # one token of prompt


def assert_one_attempt_completed_each(evidence: Evidence) -> None:
    """The attempt that completed a job is its last, whatever an earlier one believes."""
    assert all(attempt.finished_at is not None for attempt in evidence.attempts)
    completed = [
        (attempt.job_id, attempt.attempt)
        for attempt in evidence.attempts
        if attempt.outcome == "completed"
    ]
    assert sorted(completed) == sorted((job.job_id, job.attempt) for job in evidence.jobs.values())


def assert_each_was_posted_once(evidence: Evidence) -> None:
    """The ledger has one entry for each job: what it was charged."""
    booked = sorted((entry.job_id, entry.kind, entry.amount_nanousd) for entry in evidence.entries)
    jobs = evidence.jobs.values()
    assert booked == sorted((job.job_id, "post", job.charge_nanousd) for job in jobs)


def assert_blows_met_work(dealt: list[Dealt], interrupted: list[Interruption]) -> None:
    """Blows that interrupt nothing prove nothing. (The ledger runs no jobs.)"""
    aimed = {name_of(each) for each in dealt} - {"cost-service"}
    assert {each.by for each in interrupted} == aimed
