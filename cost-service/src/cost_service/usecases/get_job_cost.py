"""Show what a job was charged."""

from __future__ import annotations

from dataclasses import dataclass

from cost_service.domain.costs import JobCost
from cost_service.domain.errors import JobCostNotFound
from cost_service.domain.names import require_id
from cost_service.usecases.ports import UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class GetJobCost:
    """Returns what is held and charged for one job of a project."""

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, caller: Caller, project_id: str, job_id: str) -> JobCost:
        """Return the cost; an empty `project_id` means the caller's default project.

        Raises:
            JobCostNotFound: The project has no such job, or nothing is booked or held for it.
        """
        require_id("job_id", job_id)
        project = await self.access.require(caller, project_id, "costs:read")
        async with self.unit_of_work() as work:
            cost = await work.reports.find_job_cost(project.project_id, job_id)
        if cost is None:
            raise JobCostNotFound(job_id)
        return cost
