"""Every role against every permission, and every scope (X-Z2): closed by default."""

import pytest

from auth_service.domain.permissions import (
    ApiKeyScope,
    Permission,
    ProjectRole,
    TeamRole,
    granted,
    granted_in_team,
)

READ = {"models:read", "jobs:read", "costs:read", "projects:read"}
EVERYTHING = READ | {
    "inference", "jobs:write", "keys:write", "budgets:write", "projects:write",
}  # fmt: skip
BY_ROLE = {
    ProjectRole.VIEWER: READ,
    ProjectRole.DEVELOPER: READ | {"inference", "jobs:write"},
    ProjectRole.MANAGER: READ | {"inference", "jobs:write", "keys:write", "budgets:write"},
    ProjectRole.OWNER: EVERYTHING,
}
BY_TEAM_ROLE = {
    TeamRole.MEMBER: {"costs:read", "projects:read"},
    TeamRole.MANAGER: {"costs:read", "projects:read", "projects:write", "budgets:write"},
    TeamRole.OWNER: {"costs:read", "projects:read", "projects:write", "budgets:write"},
}
BY_SCOPE = {
    ApiKeyScope.READ: READ,
    ApiKeyScope.INFERENCE: {"models:read", "inference"},
    ApiKeyScope.JOBS_WRITE: {"jobs:write", "jobs:read"},
    ApiKeyScope.PROJECTS_WRITE: {"projects:write", "budgets:write"},
    ApiKeyScope.ADMIN: EVERYTHING,
}


def test_the_words_are_those_of_the_contract():
    """Other services ask for these words and no others."""
    assert {permission.value for permission in Permission} == EVERYTHING


@pytest.mark.parametrize("role", ProjectRole)
def test_a_person_may_what_their_role_says(role):
    """The golden matrix of roles."""
    assert granted(role, []) == BY_ROLE[role]


@pytest.mark.parametrize("role", ProjectRole)
@pytest.mark.parametrize("scope", ApiKeyScope)
def test_a_key_may_what_both_its_scope_and_its_owner_may(role, scope):
    """A scope never adds to what the owner may do."""
    assert granted(role, [scope.value]) == BY_ROLE[role] & BY_SCOPE[scope]


@pytest.mark.parametrize("role", TeamRole)
def test_a_member_of_a_team_may_what_their_role_says(role):
    """The golden matrix of teams: members read, and it opens none of the team's projects."""
    assert granted_in_team(role) == BY_TEAM_ROLE[role]


def test_scopes_add_up():
    """Two scopes allow what either allows."""
    assert granted(ProjectRole.OWNER, ["inference", "jobs:write"]) == {
        "models:read", "inference", "jobs:write", "jobs:read",
    }  # fmt: skip


@pytest.mark.parametrize("scopes", [["everything"], [""], ["READ"], ["jobs:read"]])
def test_an_unknown_scope_grants_nothing(scopes):
    """A key with a scope that we don't know is no person: it may do nothing."""
    assert granted(ProjectRole.OWNER, scopes) == frozenset()
