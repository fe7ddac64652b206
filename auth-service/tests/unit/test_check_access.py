"""What other services learn about somebody in a project."""

import pytest

from auth_service.domain.errors import ProjectNotFound
from auth_service.domain.permissions import ProjectRole
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
