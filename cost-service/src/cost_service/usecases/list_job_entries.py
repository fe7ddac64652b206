"""Show everything that was booked for a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cost_service.domain.correction import JobEntry
from cost_service.domain.errors import JobCostNotFound
from cost_service.domain.names import require_id
from cost_service.usecases.platform_admin import is_platform_admin
from cost_service.usecases.ports import UnitOfWork, UnitOfWorkFactory
from service_kit.access import AccessChecks
from service_kit.errors import InvalidArgument
from service_kit.paging import decode_page_token, encode_page_token, page_size
from service_kit.request_context import Caller

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class ListJobEntries:
    """Lists the ledger's entries of one job, oldest first.

    To whoever may read the costs of its project, and to administrators of the platform in person,
    who correct any charge: for them no project means whichever has the job.
    """

    access: AccessChecks
    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, project_id: str, job_id: str, requested_size: int, page_token: str
    ) -> tuple[Sequence[JobEntry], str]:
        """Return a page, empty while only a hold is there, and the token of the next page or "".

        Raises:
            JobCostNotFound: The project has no such job, or nothing is booked or held for it.
        """
        require_id("job_id", job_id)
        where = await self._project_id(caller, project_id)
        # Without the project: a person's projects are tried one after the other with one token.
        scope = ("job_entries", job_id)
        size = page_size(requested_size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
        after = _position(decode_page_token(page_token, scope=scope))
        async with self.unit_of_work() as work:
            found = await work.corrections.list_entries(where, job_id, after, size + 1)
            if not found and not await _is_held(work, where, job_id):
                raise JobCostNotFound(job_id)
        page, more = found[:size], len(found) > size
        return page, encode_page_token([page[-1].entry_id], scope=scope) if more else ""

    async def _project_id(self, caller: Caller, project_id: str) -> str:
        if is_platform_admin(caller):
            return project_id
        return (await self.access.require(caller, project_id, "costs:read")).project_id


async def _is_held(work: UnitOfWork, project_id: str, job_id: str) -> bool:
    if not project_id:
        return await work.corrections.knows_job(job_id)
    return await work.reports.find_job_cost(project_id, job_id) is not None


def _position(position: list[str | int] | None) -> int:
    match position:
        case None:
            return 0
        case [int(entry_id)] if 0 <= entry_id < 2**63:
            return entry_id
        case _:
            raise InvalidArgument("page_token", "This page token does not belong to this query.")
