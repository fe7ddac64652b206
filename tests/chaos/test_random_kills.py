"""Replicas are killed and frozen, Postgres crashes and Redis is emptied while jobs run.

X-R1, X-R2, X-R9, X-R13. Small by default, as part of `make test`; `make test-chaos` sets the
CHAOS_ variables for the long one (docs/reliability.md).
"""

from __future__ import annotations

import pytest
from chaos_plan import Freeze, Kill
from chaos_report import (
    Interruption,
    catch_up_limit,
    interruptions,
    name_of,
    percentile,
    recoveries,
    recovery_limit,
    table_of,
)
from chaos_run import ChaosRun, run_chaos
from rich.console import Console

SECONDS_TO_BE_READY = 5.0
# All that a caller may be told of what happens behind the gateway.
DATABASE_AWAY = "The database is not available at the moment."
SERVICE_AWAY = "A service that this needs is not available at the moment."
TOOK_TOO_LONG = "The call took longer than its deadline allows."


@pytest.mark.timeout(2400)
async def test_no_job_is_lost_and_none_billed_twice(plan, chaos_stack, capsys):
    """Every job that was accepted completes, once, and is posted to the ledger, once.

    While jobs arrive, replicas of job-service, compute-router, gpu-worker and cost-service are
    killed by SIGKILL and started again, never both of one service, and only those that hold
    work. A job-service is also frozen for longer than its leases: what it believes when it wakes
    up must change nothing. Postgres crashes, Redis loses everything. Whatever fails on the way is
    tried again, so no other final state than `completed` is right: nobody cancels, no prompt is
    refused, the budget has room for all, and being lost often makes no dead letter here.
    """
    with capsys.disabled():
        say(f"\nCHAOS_SEED={plan.seed}")
    run = await run_chaos(plan, chaos_stack)
    assert run.broken == {}

    interrupted = interruptions(run.dealt, run.evidence)
    with capsys.disabled():
        say(table_of(plan, run, interrupted))
    assert_blows_met_work(run, interrupted)
    assert_outages_were_told(run)
    assert percentile(recoveries(interrupted), 0.99) <= recovery_limit(plan, run)
    assert all(each.ready_seconds < SECONDS_TO_BE_READY for each in run.outages)
    assert all(seconds <= catch_up_limit(plan) for seconds in run.catch_ups)


def say(text: str) -> None:
    Console(soft_wrap=True, markup=False, highlight=False).print(text)


def assert_blows_met_work(run: ChaosRun, interrupted: list[Interruption]) -> None:
    """Blows that meet nothing prove nothing. (The ledger runs no jobs: its calls were cut off.)"""
    assert all(each.held > 0 for each in run.dealt)
    aimed = [
        each
        for each in run.dealt
        if isinstance(each.blow, Freeze)
        or (isinstance(each.blow, Kill) and each.blow.failpoint is None)
    ]
    assert {name_of(each) for each in aimed} <= {each.by for each in interrupted}


def assert_outages_were_told(run: ChaosRun) -> None:
    """X-R9: who asks while Postgres is away is told 503, why, and when to come again.

    Nor is anybody else left without an answer that says so: the gateway itself is never hit. That
    nothing was lost to whoever asked again is among the promises of the run.
    """
    for outage in run.outages:
        told = [
            each
            for each in run.refusals
            if outage.began <= each.asked_at and each.at <= outage.ended
        ]
        assert told, "nobody asked while Postgres was away"
        assert all((each.status, each.says_when) == (503, True) for each in told), told
        assert DATABASE_AWAY in {each.detail for each in told}, told
    assert all(each.status == 504 or each.says_when for each in run.refusals), run.refusals
    assert {each.detail for each in run.refusals} <= {DATABASE_AWAY, SERVICE_AWAY, TOOK_TOO_LONG}
    assert sum(run.repeats.values()) == len(run.refusals), run.repeats
