"""What the routes of budgets share: whose budget a path names, and the pages of alerts.

No path is judged before the caller is known.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from gateway.domain.project import BudgetOwner
from gateway.entrypoints.dependencies import CurrentCaller, checked_project_id, checked_team_id
from service_kit.errors import ErrorCode, ServiceError
from service_kit.ids import is_uuid


class ApiKeyNotFound(ServiceError):
    """An id of another form belongs to no key.

    It is not repeated: it may be the key itself, put here by mistake.
    """

    code = ErrorCode.NOT_FOUND
    reason = "API_KEY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("This API key does not exist.")


async def project_of_path(_: CurrentCaller, project_id: str) -> BudgetOwner:
    return BudgetOwner(project_id=checked_project_id(project_id))


async def team_of_path(_: CurrentCaller, team_id: str) -> BudgetOwner:
    return BudgetOwner(team_id=checked_team_id(team_id))


async def api_key_of_path(
    _: CurrentCaller,
    key_id: Annotated[str, Path(description="The key's id, never the key itself.")],
) -> BudgetOwner:
    if not is_uuid(key_id):
        raise ApiKeyNotFound
    return BudgetOwner(api_key_id=key_id)


ProjectOfPath = Annotated[BudgetOwner, Depends(project_of_path)]
TeamOfPath = Annotated[BudgetOwner, Depends(team_of_path)]
ApiKeyOfPath = Annotated[BudgetOwner, Depends(api_key_of_path)]
AlertsPageSize = Annotated[int, Query(ge=1, le=200)]
AlertsPageToken = Annotated[str, Query(max_length=512)]
