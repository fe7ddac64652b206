"""What other services learn about somebody in a project."""

from dataclasses import replace

import pytest

from auth_service.domain.errors import ApiKeyNotFound, ProjectNotFound
from auth_service.domain.permissions import ApiKeyScope, ProjectRole, TeamRole
from auth_service.usecases.create_api_key import NewApiKey
from service_kit.errors import ErrorCode
from service_kit.ids import new_id


async def test_an_empty_id_is_the_default_project(world):
    """The owner of the default project may do everything there."""
    account, _ = await world.registered()

    membership, permissions = await world.check_access(account.user.user_id, "", [])

    assert membership.project.project_id == account.default_project_id
    assert membership.role is ProjectRole.OWNER
    assert {"jobs:write", "keys:write", "projects:write"} <= permissions


async def test_a_key_is_bound_by_its_scopes(world):
    """The scopes of a token cut down what its owner may do."""
    ann = await world.person()

    _, permissions = await world.check_access(ann.user_id, "", ["inference"])

    assert permissions == {"models:read", "inference"}


async def test_absent_and_foreign_read_alike(world):
    """A project that is not theirs, none at all, and an unknown user."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    for user_id, project_id in [
        (ben.user_id, project.project_id),
        (ben.user_id, new_id()),
        (ben.user_id, "../../etc"),
        (new_id(), project.project_id),
        ("", project.project_id),
        (new_id(), ""),
        ("", ""),
    ]:
        with pytest.raises(ProjectNotFound):
            await world.check_access(user_id, project_id, [])


async def test_a_team_tells_what_its_members_may(world, unit_of_work):
    """With the role and whose team it is."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    team = await world.team(ann)
    unit_of_work.database.team_members[team.team_id, ben.user_id] = TeamRole.MEMBER

    owner, owners = await world.check_team_access(ann.user_id, team.team_id)
    member, members = await world.check_team_access(ben.user_id, team.team_id)

    assert owner.team == member.team == team
    assert (owner.role, member.role) == (TeamRole.OWNER, TeamRole.MEMBER)
    assert "budgets:write" in owners
    assert members == {"costs:read", "projects:read"}


@pytest.fixture
async def key(world):
    """A key of a project of Ann's."""
    ann = await world.person()
    project = await world.project(ann)
    return (await world.access.create_api_key(ann, NewApiKey("ci", project.project_id))).key


async def test_a_key_tells_its_project_and_what_one_may_there(world, key, unit_of_work):
    """By the role of who asks, and the scopes of the key they ask with."""
    ben = await world.person("ben@example.org")
    unit_of_work.database.members[key.project_id, ben.user_id] = ProjectRole.VIEWER

    owner, owners = await world.check_key_access(key.user_id, key.key_id, [])
    _, viewers = await world.check_key_access(ben.user_id, key.key_id, [])
    _, readers = await world.check_key_access(key.user_id, key.key_id, [ApiKeyScope.READ])

    assert owner.project.project_id == key.project_id
    assert "budgets:write" in owners
    assert "budgets:write" not in viewers | readers
    assert "costs:read" in viewers & readers


async def test_an_expired_key_is_still_known(world, clock, unit_of_work, key):
    """It can't be used, but what it may have spent can be looked at."""
    unit_of_work.database.api_keys[key.key_id] = replace(key, expires_at=clock.now())
    clock.advance(1)

    membership, _ = await world.check_key_access(key.user_id, key.key_id, [])

    assert membership.project.project_id == key.project_id


async def test_foreign_and_unknown_keys_read_alike(world, key, clock, unit_of_work):
    """X-Z1: another's, a deleted one, one of a deleted project, none at all, no id at all."""
    ann, ben = key.user_id, await world.person("ben@example.org")
    deleted = replace(key, key_id=new_id()).deleted(clock.now())
    left = replace(key, key_id=new_id(), project_id=new_id())
    for stored in (deleted, left):
        unit_of_work.database.api_keys[stored.key_id] = stored
    seen = set()
    for user_id, key_id in [
        (ben.user_id, key.key_id),
        ("", key.key_id),
        (ann, deleted.key_id),
        (ann, left.key_id),
        (ann, key.project_id),
        (ann, new_id()),
        (ann, key.prefix),
        (ann, "../../etc"),
        (ann, "x\0"),
        (ann, ""),
    ]:
        with pytest.raises(ApiKeyNotFound) as caught:
            await world.check_key_access(user_id, key_id, [])
        error = caught.value
        assert error.metadata == {"api_key_id": key_id}
        assert error.message == f"API key {key_id} does not exist."
        seen.add((error.code, error.reason))

    assert seen == {(ErrorCode.NOT_FOUND, "API_KEY_NOT_FOUND")}
