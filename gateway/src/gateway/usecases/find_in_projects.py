"""Find something of a person's by its id, where the project is not named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from gateway.domain.project import Project
from gateway.usecases.ports import Projects
from service_kit.errors import ErrorCode, ServiceError

T = TypeVar("T")

PAGE_SIZE: Final = 100
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class FindInProjects:
    """Asks the default project first, then every other project of the caller."""

    projects: Projects

    async def __call__(self, read: Callable[[str], Awaitable[T]]) -> T:
        """Return what `read(project_id)` returns for the project that has it.

        Args:
            read: Reads the thing in one project ("" is the default project) and
                raises a NOT_FOUND error where it is not.

        Raises:
            ServiceError: No project of the caller has it: the error of the default project.
        """
        try:
            return await read("")
        except ServiceError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            absent = error
        page_token = ""
        while True:
            projects, page_token = await self.projects.list_projects(PAGE_SIZE, page_token)
            found = await self._search(projects, read)
            if found:
                return found[0]
            if not page_token:
                raise absent

    async def _search(
        self, projects: Sequence[Project], read: Callable[[str], Awaitable[T]]
    ) -> list[T]:
        others = [project.project_id for project in projects if not project.is_default]
        for start in range(0, len(others), AT_ONCE):
            answers = await asyncio.gather(
                *(_find(read, project_id) for project_id in others[start : start + AT_ONCE])
            )
            if found := [one for answer in answers for one in answer]:
                return found
        return []


async def _find(read: Callable[[str], Awaitable[T]], project_id: str) -> list[T]:
    """Return what was found as a list of one, for what is found may itself be `None`."""
    try:
        return [await read(project_id)]
    except ServiceError as error:
        if error.code is ErrorCode.NOT_FOUND:
            return []
        raise
