"""One whole run: jobs arrive, blows fall, and in the end everything is looked at."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from chaos_blows import Assailant, Dealt, Outage
from chaos_books import Evidence, open_books
from chaos_client import Refusal, submitting_client
from chaos_plan import ChaosPlan
from chaos_verdict import broken_promises

from weir_local.stack import Stack

# A frozen replica outlives its leases by half of one.
FREEZE_LEASES = 1.5
# Waves overlap, so that a blow always meets arrivals.
OVERLAP = 1.3


@dataclass(frozen=True, slots=True)
class ChaosRun:
    """What happened in a run.

    Attributes:
        dealt: The blows, in order.
        restarts: Seconds until each victim of a kill was ready again.
        outages: Of Postgres.
        catch_ups: Seconds from each wipe of Redis to the next execution that completed.
        repeats: Why requests had to be sent again, and how often.
        refusals: Server errors that the client got.
        broken: What was promised and not kept.
    """

    dealt: Sequence[Dealt]
    restarts: Sequence[float]
    outages: Sequence[Outage]
    catch_ups: Sequence[float]
    repeats: Counter[str]
    refusals: Sequence[Refusal]
    wall_seconds: float
    evidence: Evidence
    broken: dict[str, str]


async def run_chaos(plan: ChaosPlan, stack: Stack, drain_seconds: float | None = None) -> ChaosRun:
    """Carry out the plan, and wait until everything is over or time is."""
    begun = time.monotonic()
    async with open_books(stack) as books, submitting_client(stack.gateway_url) as us:
        async with asyncio.TaskGroup() as tasks:
            freeze_seconds = FREEZE_LEASES * plan.lease_seconds
            assailant = Assailant(stack, books, tasks, plan.pause_seconds, freeze_seconds)
            for blow, wave in zip(plan.blows(), plan.waves(), strict=True):
                await assailant.turn(blow)
                tasks.create_task(us.submit_wave(wave, OVERLAP * plan.pause_seconds))
                await assailant.deal(blow)
            await assailant.settle()
        left = await books.left_over(drain_seconds or plan.drain_seconds)
        wall_seconds = time.monotonic() - begun
        evidence = await books.evidence(us.project_id)
    check = await asyncio.to_thread(stack.check_ledger)
    assert len(us.job_ids) == plan.jobs
    return ChaosRun(
        dealt=assailant.dealt,
        restarts=assailant.restarts,
        outages=assailant.outages,
        catch_ups=_catch_ups(assailant, evidence),
        repeats=us.repeats,
        refusals=us.refusals,
        wall_seconds=wall_seconds,
        evidence=evidence,
        broken=broken_promises(us.job_ids, left, evidence, check),
    )


def _catch_ups(assailant: Assailant, evidence: Evidence) -> list[float]:
    completed = sorted(each.started_at for each in evidence.attempts if each.outcome == "completed")
    return [
        next((start - at for start in completed if start > at), timedelta.max).total_seconds()
        for at in assailant.wiped_at
    ]
