"""What a caller may do in a project: asked of auth-service, kept for a while.

The service gives a `ProjectDirectory`, an adapter over its own stub. Answers
are kept for `ttl_seconds` and dropped at once when a denial concerns them, so
a repeated check costs no hop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from service_kit.clock import Clock
from service_kit.errors import ErrorCode, PermissionDenied, ServiceError
from service_kit.request_context import Caller


@dataclass(frozen=True, slots=True)
class ProjectAccess:
    """One caller's standing in one project."""

    project_id: str
    owner_user_id: str
    is_default: bool
    permissions: frozenset[str]
    # Whose budget the project's work uses too; empty for none.
    team_id: str = ""


class ProjectNotFound(ServiceError):
    """The project does not exist, or the caller has no part in it: both read the same."""

    code = ErrorCode.NOT_FOUND
    reason = "PROJECT_NOT_FOUND"

    def __init__(self, project_id: str) -> None:
        super().__init__(
            f"Project {project_id} does not exist.", metadata={"project_id": project_id}
        )


class ProjectDirectory(Protocol):
    """Knows projects and their members."""

    async def project_access(
        self, user_id: str, project_id: str, scopes: frozenset[str]
    ) -> ProjectAccess:
        """Return what the user may do there; an empty `project_id` means their default project.

        Raises:
            ServiceError: `PROJECT_NOT_FOUND`, also where the user has no part in the project.
        """
        ...


_Key = tuple[str, str, frozenset[str]]


class AccessChecks:
    """Answers "may this caller do that there?" from a bounded cache."""

    def __init__(
        self,
        directory: ProjectDirectory,
        clock: Clock,
        *,
        ttl_seconds: float = 30.0,
        max_entries: int = 10_000,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._max_entries = max_entries
        self._kept: OrderedDict[_Key, tuple[float, ProjectAccess]] = OrderedDict()
        self._generation = 0

    async def require(self, caller: Caller, project_id: str, permission: str) -> ProjectAccess:
        """Return the project that is meant, if the caller has the permission there.

        An API key belongs to one project: another project's id looks absent to it, because
        auth-service is asked about its own project only.

        Raises:
            ServiceError: `PROJECT_NOT_FOUND`.
            PermissionDenied: The project is the caller's, the permission is not.
        """
        access = await self._access(caller, project_id)
        if permission not in access.permissions:
            raise PermissionDenied(permission)
        return access

    async def _access(self, caller: Caller, project_id: str) -> ProjectAccess:
        if caller.project_id is not None and project_id in ("", caller.project_id):
            wanted = caller.project_id
        elif caller.project_id is not None:
            raise ProjectNotFound(project_id)
        else:
            wanted = project_id
        key = (caller.user_id, wanted, caller.scopes)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock.monotonic():
            self._kept.move_to_end(key)
            return kept[1]
        generation = self._generation
        access = await self._directory.project_access(caller.user_id, wanted, caller.scopes)
        # A denial that came in meanwhile may concern this very answer: use it once, keep it not.
        if generation == self._generation:
            self._kept[key] = (self._clock.monotonic() + self._ttl_seconds, access)
            while len(self._kept) > self._max_entries:
                self._kept.popitem(last=False)
        return access

    def forget(self, user_id: str) -> None:
        """Drop every answer about a user, after a denial that concerns them."""
        self._generation += 1
        for key in [key for key in self._kept if key[0] == user_id]:
            del self._kept[key]
