"""List the caller's projects, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.domain.permissions import Permission
from auth_service.domain.project import Project
from auth_service.usecases.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, position_after, token_of
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.project_access import require
from service_kit.paging import page_size as rows_per_page
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ListProjects:
    """Returns the projects that the caller is a member of, oldest first."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, page_size: int, page_token: str
    ) -> tuple[Sequence[Project], str]:
        """Return a page and the token of the next one, "" on the last.

        An API key sees its own project only.

        Raises:
            InvalidArgument: The page size is negative, or the token is not from this query.
            PermissionDenied: The caller's API key may not read projects.
        """
        scope = ("projects", caller.user_id)
        limit = rows_per_page(page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        after = position_after(page_token, scope=scope)
        async with self.unit_of_work() as work:
            if caller.kind == "api_key":
                own = await require(work, caller, "", Permission.PROJECTS_READ)
                return [own.project], ""
            found = await work.projects.list_of_member(caller.user_id, after=after, limit=limit + 1)
        page = found[:limit]
        if len(found) == len(page):
            return page, ""
        last = page[-1]
        return page, token_of(last.created_at, last.project_id, scope=scope)
