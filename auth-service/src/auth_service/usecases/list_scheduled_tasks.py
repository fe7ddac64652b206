"""Show administrators what this service does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.domain.errors import AdministratorNeeded, PersonNeeded
from auth_service.domain.user import ADMINISTRATORS
from auth_service.usecases.ports import ScheduledRuns, UnitOfWorkFactory
from service_kit.request_context import Caller
from service_kit.schedule import ScheduledTask, TaskStatus


@dataclass(frozen=True, slots=True)
class ListScheduledTasks:
    """Returns every task with its last run, whichever replica ran it."""

    unit_of_work: UnitOfWorkFactory
    runs: ScheduledRuns
    tasks: Sequence[ScheduledTask]

    async def __call__(self, caller: Caller) -> Sequence[TaskStatus]:
        """Return the tasks.

        Raises:
            PersonNeeded: The caller is an API key, which belongs to one project.
            AdministratorNeeded: The caller is no administrator, or is none any more.
        """
        if caller.kind != "person":
            raise PersonNeeded("look at scheduled tasks")
        async with self.unit_of_work() as work:
            user = await work.users.find(caller.user_id)
        if user is None or user.role not in ADMINISTRATORS:
            raise AdministratorNeeded()
        return await self.runs.statuses(self.tasks)
