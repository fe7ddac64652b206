"""Projects: whose they are, and what others see of them."""

import pytest

from auth_service.domain.errors import (
    DefaultProjectKept,
    IdempotencyKeyReused,
    PersonNeeded,
    ProjectNotFound,
)
from auth_service.domain.permissions import ApiKeyScope, Permission, ProjectRole
from auth_service.usecases.create_api_key import NewApiKey
from service_kit.errors import ErrorCode, InvalidArgument, PermissionDenied, ServiceError
from service_kit.ids import new_id


async def test_the_creator_is_the_owner(world, unit_of_work):
    """A new project is the caller's, and not a default one."""
    ann = await world.person()

    project = await world.project(ann, "  Research ", "")

    assert (project.name, project.owner_user_id) == ("Research", ann.user_id)
    assert not project.is_default
    assert await world.access.get_project(ann, project.project_id) == project
    assert unit_of_work.database.audit[-1].action == "project.created"


async def test_repeating_a_creation_makes_one_project(world, unit_of_work):
    """The same request id from the same caller returns the first project."""
    ann, ben = await world.person(), await world.person("ben@example.org")

    first = await world.access.create_project(ann, "Research", "r1")
    again = await world.access.create_project(ann, " Research", "r1")
    other = await world.access.create_project(ben, "Research", "r1")

    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.project == first.project
    assert other.project.project_id != first.project.project_id
    created = [one for one in unit_of_work.database.audit if one.action == "project.created"]
    assert len(created) == 2


async def test_a_request_id_belongs_to_one_name(world):
    """Repeated with another name, it is refused rather than answered with the first project."""
    ann = await world.person()
    await world.project(ann, "Research", "r1")

    with pytest.raises(IdempotencyKeyReused):
        await world.project(ann, "Other name", "r1")
    assert len((await world.access.list_projects(ann, 0, ""))[0]) == 2


async def test_a_deleted_project_frees_its_request_id(world):
    """Repeating the request makes a new project, not the deleted one."""
    ann = await world.person()
    gone = await world.project(ann, "Research", "r1")
    await world.access.delete_project(ann, gone.project_id)

    again = await world.access.create_project(ann, "Research", "r1")

    assert again.created
    assert again.project.project_id != gone.project_id
    assert await world.access.get_project(ann, again.project.project_id) == again.project


@pytest.mark.parametrize("scope", ApiKeyScope)
async def test_keys_make_no_projects(world, unit_of_work, scope):
    """Whatever its scope, a key is refused before anything is read or written."""
    ann = await world.person()
    created = await world.access.create_api_key(ann, NewApiKey("ci", scopes=[scope]))
    key = await world.key_caller(created.secret)
    before = unit_of_work.transactions

    with pytest.raises(PersonNeeded) as caught:
        await world.project(key, "Research", "")

    assert (caught.value.code, caught.value.reason) == (
        ErrorCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )
    assert "person" in caught.value.message
    assert unit_of_work.transactions == before


@pytest.mark.parametrize("scope", [ApiKeyScope.PROJECTS_WRITE, ApiKeyScope.ADMIN])
async def test_a_key_may_set_its_projects_budget(world, scope):
    """What `projects:write` is still for."""
    ann = await world.person()
    default = await world.access.get_project(ann, "")

    _, permissions = await world.check_access(ann.user_id, default.project_id, [scope])

    assert Permission.BUDGETS_WRITE in permissions


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\nb", "a\0"])
async def test_a_malformed_name_is_refused(world, name):
    """Empty, too long, or with control characters."""
    with pytest.raises(InvalidArgument):
        await world.project(await world.person(), name, "")


@pytest.mark.parametrize("request_id", ["x" * 256, "a\0", "a\n"])
async def test_a_malformed_request_id_is_refused(world, request_id):
    """Longer than 255 characters, or with control characters."""
    with pytest.raises(InvalidArgument):
        await world.project(await world.person(), "Research", request_id)


async def test_another_persons_project_looks_absent(world):
    """The same error, word for word but the id, as for one that never was."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    seen = []
    for project_id in (project.project_id, new_id(), "no-uuid", "x\0"):
        for use_case in (world.access.get_project, world.access.delete_project):
            with pytest.raises(ProjectNotFound) as caught:
                await use_case(ben, project_id)
            assert caught.value.metadata == {"project_id": project_id}
            seen.append((caught.value.code, caught.value.message.replace(project_id, "ID")))

    assert len(set(seen)) == 1


async def test_pages_hold_every_project_once(world, clock):
    """Oldest first, the default project at the head, no gap and no repetition."""
    ann = await world.person()
    await world.person("ben@example.org")
    names = []
    for number in range(5):
        clock.advance(1)
        names.append((await world.project(ann, f"Project {number}", "")).name)

    found, token = [], ""
    while True:
        page, token = await world.access.list_projects(ann, 2, token)
        found += [project.name for project in page]
        if not token:
            break

    assert found == ["Default", *names]


async def test_a_page_token_works_for_its_owner_only(world):
    """X-Z3: somebody else's page token is refused, and so is a made-up one."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    await world.project(ann, "Research", "")
    _, token = await world.access.list_projects(ann, 1, "")

    for stolen in (token, "x", token[:-2]):
        with pytest.raises(InvalidArgument):
            await world.access.list_projects(ben, 1, stolen)


async def test_a_deleted_project_looks_absent(world, clock):
    """To get, list, delete again, and to whoever checks access."""
    ann = await world.person()
    project = await world.project(ann, "Research", "")

    await world.access.delete_project(ann, project.project_id)

    for use_case in (world.access.get_project, world.access.delete_project):
        with pytest.raises(ProjectNotFound):
            await use_case(ann, project.project_id)
    with pytest.raises(ProjectNotFound):
        await world.check_access(ann.user_id, project.project_id, [])
    assert len((await world.access.list_projects(ann, 0, ""))[0]) == 1


async def test_deletion_reaches_keys_and_members(world, unit_of_work):
    """Keys stop working; members' cached access and keys' tokens are denied; it is audited."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    created = await world.access.create_api_key(ann, NewApiKey("ci", project.project_id))
    unit_of_work.database.members[project.project_id, ben.user_id] = ProjectRole.VIEWER

    await world.access.delete_project(ann, project.project_id)

    with pytest.raises(ServiceError, match="API key"):
        await world.access.exchange_api_key(created.secret)
    denials = {(denial.kind, denial.subject) for denial in await world.list_denials(0)}
    assert denials == {
        ("key", created.key.key_id),
        ("membership", f"{ann.user_id}:{project.project_id}"),
        ("membership", f"{ben.user_id}:{project.project_id}"),
    }
    assert unit_of_work.database.audit[-1].action == "project.deleted"


async def test_the_default_project_stays(world):
    """Nobody deletes the project that work falls back to, nor by leaving the id out."""
    ann = await world.person()
    default = await world.access.get_project(ann, "")

    with pytest.raises(DefaultProjectKept):
        await world.access.delete_project(ann, default.project_id)
    with pytest.raises(ProjectNotFound):
        await world.access.delete_project(ann, "")


@pytest.mark.parametrize("role", [role for role in ProjectRole if role is not ProjectRole.OWNER])
async def test_a_member_does_not_delete(world, unit_of_work, role):
    """A member who is no owner sees the project and is told that they may not."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    unit_of_work.database.members[project.project_id, ben.user_id] = role

    assert await world.access.get_project(ben, project.project_id) == project
    with pytest.raises(PermissionDenied):
        await world.access.delete_project(ben, project.project_id)


async def test_a_key_sees_its_own_project_only(world):
    """X-Z1: the owner's other projects look absent to a key, whatever its scopes."""
    ann = await world.person()
    own = await world.project(ann, "Research", "")
    other = await world.project(ann, "Other", "")
    created = await world.access.create_api_key(
        ann, NewApiKey("ci", own.project_id, [ApiKeyScope.ADMIN])
    )
    key = await world.key_caller(created.secret)

    assert await world.access.list_projects(key, 0, "") == ([own], "")
    assert await world.access.get_project(key, "") == own
    with pytest.raises(ProjectNotFound):
        await world.access.get_project(key, other.project_id)


async def test_a_reading_key_changes_nothing(world):
    """The default scope reads; it deletes nothing."""
    ann = await world.person()
    created = await world.access.create_api_key(ann, NewApiKey("ci"))
    key = await world.key_caller(created.secret)

    assert (await world.access.get_project(key, "")).is_default
    with pytest.raises(PermissionDenied):
        await world.access.delete_project(key, created.key.project_id)


@pytest.mark.parametrize("scope", list(ApiKeyScope))
async def test_key_makes_no_keys(world, scope):
    """The new one would have none of the caps that its maker is held to (D4)."""
    ann = await world.person()
    created = await world.access.create_api_key(ann, NewApiKey("ci", scopes=[scope]))
    key = await world.key_caller(created.secret)

    with pytest.raises(PersonNeeded):
        await world.access.create_api_key(key, NewApiKey("more"))
