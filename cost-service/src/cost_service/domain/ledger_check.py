"""Whether jobs, holds, outbox, ledger and budgets tell the same story. Rules only, no reading.

The two databases can't be read at one moment, so job-service's is read twice, around
cost-service's: first the settlements it has sent, then cost-service's books, then all of its own
books. What happens in between can't look like drift:

- A settlement that was sent at the first reading is booked at the second.
- An entry booked at the second reading was in the outbox before, so it is there at the third.
- A hold that is open at the second reading has a job that was written before it, so at the third
  that job is either live or has its settlement in the outbox.
- Terms are in job-service before their hold is placed, so for a hold at the second reading they
  are there at the third, and the price version that they name is in the price book at the second.

Rules within one service (`ledger_rules`, `job_rules`) look at one reading, which is one moment, at
rows that one transaction writes together. Rules between the services are in `service_rules`.
`require_settled` asks for more than consistency, that nothing is under way: it is for a system to
which no more work comes, where the relay has had its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cost_service.domain.books import CostBooks, Finding, JobBooks, OutboxRow
from cost_service.domain.hold import HoldState
from cost_service.domain.job_rules import job_drifts, settlements_in_flight
from cost_service.domain.ledger_rules import ledger_drifts, ledger_notes
from cost_service.domain.service_rules import service_drifts


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, what is only on its way, and what an operator should know."""

    drifts: tuple[Finding, ...]
    in_flight: tuple[Finding, ...]
    notes: tuple[Finding, ...]


RULES: Final = (
    "reserved_matches_holds",
    "posted_matches_ledger",
    "cap_is_as_set",
    "one_period_per_charge",
    "allocated_matches_caps",
    "hold_settled_once",
    "hold_matches_entry",
    "post_within_hold",
    "refund_within_post",
    "correction_has_post",
    "hold_price_known",
    "final_job_settled",
    "charge_matches_outbox",
    "charge_matches_usage",
    "receipt_matches_outbox",
    "attempt_closed",
    "charged_attempt_exists",
    "completed_once",
    "key_has_job",
    "outbox_moves",
    "charge_matches_ledger",
    "sent_is_booked",
    "booked_was_sent",
    "open_hold_has_job",
    "terms_match_hold",
)
# These are asked for by `require_settled` alone.
SETTLED_RULES: Final = ("job_is_final", "outbox_is_empty", "hold_is_settled")


def check(
    sent_before: Iterable[OutboxRow],
    cost: CostBooks,
    jobs: JobBooks,
    *,
    max_age_seconds: float,
    require_settled: bool = False,
) -> Findings:
    """Compare the three readings.

    Args:
        sent_before: Settlements that job-service had sent before `cost` was read.
        cost: cost-service's books.
        jobs: job-service's books, read after `cost`.
        max_age_seconds: From which age on an unsent settlement is drift, not on its way.
        require_settled: Whether work that is under way is drift, too.
    """
    drifts = [
        *ledger_drifts(cost),
        *job_drifts(jobs, max_age_seconds),
        *service_drifts(sent_before, cost, jobs),
    ]
    if require_settled:
        drifts += _unsettled(cost, jobs)
    in_flight = tuple(settlements_in_flight(jobs, max_age_seconds))
    return Findings(tuple(drifts), in_flight, tuple(ledger_notes(cost)))


def _unsettled(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    for job in jobs.jobs:
        if not job.is_final:
            yield Finding("job_is_final", job.job_id, f"{job.state} in admission {job.admission}")
    for row in jobs.outbox:
        if not row.sent:
            yield Finding(
                "outbox_is_empty",
                row.hold_id,
                f"{row.kind} {row.amount_nanousd} not sent for {row.age_seconds:.1f} s",
            )
    for hold in cost.holds:
        if hold.state is HoldState.HELD:
            yield Finding("hold_is_settled", hold.hold_id, f"{hold.amount_nanousd} still held")
