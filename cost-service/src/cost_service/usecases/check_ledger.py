"""Compare the books of job-service and cost-service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cost_service.domain.books import CostBooks, JobBooks, OutboxRow
from cost_service.domain.ledger_check import Findings, check


class CostBooksReader(Protocol):
    async def read(self) -> CostBooks:
        """Return cost-service's books as of one moment."""
        ...


class JobBooksReader(Protocol):
    async def read_sent(self) -> Sequence[OutboxRow]:
        """Return the settlements that were sent."""
        ...

    async def read(self) -> JobBooks:
        """Return job-service's books as of one moment."""
        ...


@dataclass(frozen=True, slots=True)
class CheckedBooks:
    """What was read and what it showed."""

    cost: CostBooks
    jobs: JobBooks
    findings: Findings


@dataclass(frozen=True, slots=True)
class CheckLedger:
    """Reads job-service, cost-service, job-service, in this order: see `ledger_check`."""

    cost_books: CostBooksReader
    job_books: JobBooksReader

    async def __call__(
        self, max_age_seconds: float, *, require_settled: bool = False
    ) -> CheckedBooks:
        """Return what was read and found; `require_settled`: open work is drift, too."""
        sent_before = await self.job_books.read_sent()
        cost = await self.cost_books.read()
        jobs = await self.job_books.read()
        findings = check(
            sent_before,
            cost,
            jobs,
            max_age_seconds=max_age_seconds,
            require_settled=require_settled,
        )
        return CheckedBooks(cost, jobs, findings)
