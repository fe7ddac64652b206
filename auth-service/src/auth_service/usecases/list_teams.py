"""List the caller's teams, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.domain.team import TeamMembership
from auth_service.usecases.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, position_after, token_of
from auth_service.usecases.ports import UnitOfWorkFactory
from auth_service.usecases.team_access import require_person
from service_kit.paging import page_size as rows_per_page
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ListTeams:
    """Returns the caller's parts in their teams, the oldest team first."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(
        self, caller: Caller, page_size: int, page_token: str
    ) -> tuple[Sequence[TeamMembership], str]:
        """Return a page and the token of the next one, "" on the last.

        Raises:
            PersonNeeded: The caller is an API key.
            InvalidArgument: The page size is negative, or the token is not from this query.
        """
        require_person(caller, "see teams")
        scope = ("teams", caller.user_id)
        limit = rows_per_page(page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        after = position_after(page_token, scope=scope)
        async with self.unit_of_work() as work:
            found = await work.teams.list_of_member(caller.user_id, after=after, limit=limit + 1)
        page = found[:limit]
        if len(found) == len(page):
            return page, ""
        last = page[-1].team
        return page, token_of(last.created_at, last.team_id, scope=scope)
