"""Whose budget a request means, and who may see or change it."""

from __future__ import annotations

import pytest

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.usecases.access_ports import ApiKeyAccess, TeamAccess
from cost_service.usecases.budget_owner import READ, WRITE, BudgetOwner, OwnerChecks
from service_kit.access import AccessChecks, ProjectAccess, ProjectNotFound
from service_kit.clock import SystemClock
from service_kit.errors import ErrorCode, InvalidArgument, PermissionDenied, ServiceError
from service_kit.request_context import Caller

READER, MANAGER = frozenset({READ}), frozenset({READ, WRITE})
ANNA = Caller("anna", "person", "user", session_id="s1")
BEN = Caller("ben", "person", "user", session_id="s2")
STRANGER = Caller("cleo", "person", "admin", session_id="s3")
SCOPES = frozenset({"projects:write"})
KEY = Caller("anna", "api_key", "user", key_id="k1", project_id="p1", scopes=SCOPES)


class NotFound(ServiceError):
    code = ErrorCode.NOT_FOUND

    def __init__(self, reason) -> None:
        super().__init__("It does not exist.")
        self.reason = reason


class Auth:
    """Anna manages team t1 and project p1 with keys k1 and k2, and p2 with k9; Ben reads them."""

    def __init__(self) -> None:
        self.words = {"anna": MANAGER, "ben": READER}
        self.keys = {"k1": "p1", "k2": "p1", "k9": "p2"}

    async def project_access(self, user_id, project_id, scopes):
        if user_id not in self.words:
            raise ProjectNotFound(project_id)
        return ProjectAccess(project_id or "default", "anna", False, self.words[user_id])

    async def team_access(self, user_id, team_id):
        if user_id not in self.words or team_id.lower() != "t1":
            raise NotFound("TEAM_NOT_FOUND")
        return TeamAccess("t1", self.words[user_id])

    async def api_key_access(self, user_id, api_key_id, scopes):
        if user_id not in self.words or api_key_id.lower() not in self.keys:
            raise NotFound("API_KEY_NOT_FOUND")
        self.scopes = scopes
        return ApiKeyAccess(api_key_id.lower(), self.keys[api_key_id.lower()], self.words[user_id])


@pytest.fixture
def auth():
    return Auth()


@pytest.fixture
def checks(auth):
    return OwnerChecks(AccessChecks(auth, SystemClock()), auth)


async def refused(call):
    with pytest.raises(ServiceError) as error:
        await call
    return error.value.reason


@pytest.mark.parametrize(
    ("owner", "scope"),
    [
        (BudgetOwner(), BudgetScope(BudgetScopeKind.PROJECT, "default", "anna")),
        (BudgetOwner(project_id="p1"), BudgetScope(BudgetScopeKind.PROJECT, "p1", "anna")),
        (BudgetOwner(team_id="t1"), BudgetScope(BudgetScopeKind.TEAM, "t1")),
        (BudgetOwner(api_key_id="k1"), BudgetScope(BudgetScopeKind.API_KEY, "k1")),
        # Another spelling, where auth-service knows it, is no budget of its own.
        (BudgetOwner(team_id="T1"), BudgetScope(BudgetScopeKind.TEAM, "t1")),
        (BudgetOwner(api_key_id="K1"), BudgetScope(BudgetScopeKind.API_KEY, "k1")),
    ],
)
async def test_scope_of_each_owner(checks, owner, scope):
    """Project, team and key each have a scope; only a project's names whose allowance pays."""
    assert await checks.require(ANNA, owner, WRITE) == scope


@pytest.mark.parametrize(
    "named",
    [
        {"project_id": "p1", "team_id": "t1"},
        {"project_id": "p1", "api_key_id": "k1"},
        {"team_id": "t1", "api_key_id": "k1"},
        {"team_id": "not an id"},
        {"api_key_id": "x" * 129},
    ],
)
def test_one_owner_at_a_time(named):
    """Two at once, and what can't be an id, are refused before anybody is asked."""
    with pytest.raises(InvalidArgument):
        BudgetOwner(**named)


def test_changes_name_their_owner():
    """What changes a budget says whose; nothing falls to the default project unsaid."""
    BudgetOwner(team_id="t1").require_named()
    BudgetOwner(api_key_id="k1").require_named()
    with pytest.raises(InvalidArgument) as error:
        BudgetOwner().require_named()

    assert error.value.metadata["field"] == "project_id"


@pytest.mark.parametrize(
    "owner",
    [BudgetOwner(project_id="p1"), BudgetOwner(team_id="t1"), BudgetOwner(api_key_id="k1")],
)
async def test_reader_may_not_write(checks, owner):
    """Who may see a budget may not thereby change it."""
    await checks.require(BEN, owner, READ)

    assert await refused(checks.require(BEN, owner, WRITE)) == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        (BudgetOwner(project_id="p1"), "PROJECT_NOT_FOUND"),
        (BudgetOwner(team_id="t1"), "TEAM_NOT_FOUND"),
        (BudgetOwner(api_key_id="k1"), "API_KEY_NOT_FOUND"),
    ],
)
async def test_foreign_owner_looks_absent(checks, owner, reason):
    """Whoever has no part there, an administrator too, can't tell it from nothing."""
    assert await refused(checks.require(STRANGER, owner, READ)) == reason


class TestKeys:
    async def test_own_budget_is_seen_and_not_moved(self, checks):
        """A key reads its own cap; what it is held to, it does not change."""
        own = BudgetOwner(api_key_id="k1")
        assert (await checks.require(KEY, own, READ)).scope_id == "k1"

        for spelled in ("k1", "K1"):
            with pytest.raises(PermissionDenied) as error:
                await checks.require(KEY, BudgetOwner(api_key_id=spelled), WRITE)
            assert error.value.metadata == {"permission": WRITE}

    async def test_other_keys_of_its_project(self, checks, auth):
        """A key that may set budgets sets those of its project's other keys, by its scopes."""
        assert (await checks.require(KEY, BudgetOwner(api_key_id="k2"), WRITE)).scope_id == "k2"
        assert auth.scopes == SCOPES

    async def test_keys_of_other_projects_look_absent(self, checks):
        """Also where its owner has a part in that project."""
        foreign = BudgetOwner(api_key_id="k9")
        await checks.require(ANNA, foreign, READ)

        assert await refused(checks.require(KEY, foreign, READ)) == "API_KEY_NOT_FOUND"

    @pytest.mark.parametrize("team_id", ["t1", "t2"])
    async def test_no_team_is_a_keys(self, checks, team_id):
        """Every team reads alike to a key, its owner's and none."""
        reason = await refused(checks.require(KEY, BudgetOwner(team_id=team_id), READ))

        assert reason == "PERMISSION_DENIED"
