"""Create a project and give it its budget: two services, one outcome."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from gateway.domain.project import Budget, BudgetOwner, Project
from gateway.usecases.ports import Budgets, Projects
from service_kit.errors import ErrorCode, ServiceError

log = structlog.get_logger(__name__)

# After these nobody knows whether the budget was set.
_UNCERTAIN = frozenset(
    {
        ErrorCode.UNAVAILABLE,
        ErrorCode.DEADLINE_EXCEEDED,
        ErrorCode.CANCELLED,
        ErrorCode.INTERNAL,
        ErrorCode.ABORTED,
    }
)


@dataclass(frozen=True, slots=True)
class CreateProject:
    """Creates a project; where its budget is refused, there is no project either."""

    projects: Projects
    budgets: Budgets

    async def __call__(
        self, name: str, cap_nanousd: int | None, request_id: str, team_id: str = ""
    ) -> tuple[Project, Budget | None]:
        """Return the project and its budget, if it has one.

        A repeated request finds what the first one made. It completes it where
        the budget is missing, and changes nothing else: the project may be in
        use by now, with a budget that somebody chose since.

        Args:
            name: What people call it.
            cap_nanousd: What it may spend in a month; `None` for no budget.
            request_id: An idempotency key; the same one returns the same project.
            team_id: The team whose budget it shall use too; empty for none.

        Raises:
            ServiceError: As auth-service or cost-service refused it.
        """
        found = await self.projects.create_project(name, request_id, team_id)
        project = found.project
        if not found.created:
            return project, await self._complete(project.project_id, cap_nanousd)
        if cap_nanousd is None:
            return project, None
        try:
            owner = BudgetOwner(project.project_id)
            return project, await self.budgets.set_budget(owner, cap_nanousd)
        except ServiceError as error:
            # With a key, the client's retry finds the project and completes it.
            if not (request_id and error.code in _UNCERTAIN):
                await self._take_back(project.project_id, uncertain=error.code in _UNCERTAIN)
            raise

    async def _complete(self, project_id: str, cap_nanousd: int | None) -> Budget:
        owner = BudgetOwner(project_id)
        budget = await self.budgets.get_budget(owner)
        if budget.has_budget or cap_nanousd is None:
            return budget
        return await self.budgets.set_budget(owner, cap_nanousd)

    async def _take_back(self, project_id: str, *, uncertain: bool) -> None:
        try:
            if uncertain:
                # A budget of a project that is gone would eat the allowance of its owner.
                await self.budgets.set_budget(BudgetOwner(project_id), 0)
        except ServiceError as error:
            log.warning("project.budget_left", project_id=project_id, reason=error.reason)
        try:
            await self.projects.delete_project(project_id)
        except ServiceError as error:
            log.error("project.left_behind", project_id=project_id, reason=error.reason)
