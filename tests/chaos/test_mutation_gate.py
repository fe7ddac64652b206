"""A system without its safeguards must fail the chaos test, or that test has no teeth.

The same run as everywhere else, small, over a job-service that does not look at lease tokens, and
over a ledger that books a hold as often as it is asked to.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from chaos_mutants import (
    WITHOUT_LEASE_TOKEN,
    WITHOUT_LEDGER_INDEX,
    Change,
    Mutant,
    MutationDoesNotApply,
)
from chaos_plan import ChaosPlan
from chaos_run import run_chaos
from chaos_stack import started_stack
from chaos_verdict import ONE_COMPLETION, ONE_POST

# What a mutant leaves open stays open: nobody has to wait for it for long.
DRAIN_SECONDS = 20.0


@pytest.fixture
def small(plan: ChaosPlan) -> ChaosPlan:
    return ChaosPlan(jobs=160, kills=0, freezes=0, restarts=0, wipes=0, seed=plan.seed)


@pytest.mark.timeout(600)
async def test_lease_token_is_needed(small, tmp_path):
    """Without it a replica that was frozen finishes a job that runs elsewhere by then."""
    source = WITHOUT_LEASE_TOKEN.written_to(tmp_path)
    freezing = replace(small, freezes=6)
    with started_stack(freezing, source) as stack:
        run = await run_chaos(freezing, stack, DRAIN_SECONDS)

    assert ONE_COMPLETION in run.broken, run.broken


@pytest.mark.timeout(600)
async def test_ledger_index_is_needed(small, tmp_path):
    """Without it a post whose reply was lost is booked again."""
    source = WITHOUT_LEDGER_INDEX.written_to(tmp_path)
    killing = replace(small, kills=4, victims=("cost-service",))
    with started_stack(killing, source) as stack:
        run = await run_chaos(killing, stack, DRAIN_SECONDS)

    assert ONE_POST in run.broken, run.broken


def test_safeguard_that_moved_is_told(tmp_path):
    """A text that is not there any more is no mutation, and no pass."""
    moved = Mutant("moved", "job-service", [Change("job_service/settings.py", "gone", "")])

    with pytest.raises(MutationDoesNotApply):
        moved.written_to(tmp_path)
