"""What whoever met a budget's end may ask for in place of what was refused."""

from __future__ import annotations

from job_service.domain.charge import Terms
from job_service.domain.specification import JobSpecification, Residency
from job_service.domain.targets import LOCAL_TARGET


def cheaper_ways(specification: JobSpecification, terms: Terms) -> str:
    """Return a sentence with what would lower the worst case of this job; "" if nothing would."""
    ways = []
    if terms.max_tokens > 1:
        ways.append(f"fewer max_tokens (here {terms.max_tokens})")
    if specification.residency is not Residency.LOCAL_ONLY and _is_local_cheaper(terms):
        ways.append("local_only residency")
    return f"It would cost less with {' or '.join(ways)}." if ways else ""


def _is_local_cheaper(terms: Terms) -> bool:
    local = [price.model for price in terms.prices if price.target == LOCAL_TARGET]
    costs = [terms.worst_cost(LOCAL_TARGET, model) for model in local]
    return bool(costs) and max(costs) < terms.hold_nanousd
