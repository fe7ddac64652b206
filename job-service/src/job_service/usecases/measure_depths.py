"""Count what waits, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from job_service.usecases.ports import JobMetrics, UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class MeasureDepths:
    unit_of_work: UnitOfWorkFactory
    metrics: JobMetrics

    async def __call__(self) -> None:
        async with self.unit_of_work() as work:
            depths = await work.jobs.depths()
        self.metrics.depths(depths)
