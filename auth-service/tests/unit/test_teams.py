"""Teams: who makes them, who sees them, and who puts projects into them."""

import pytest

from auth_service.domain.errors import (
    IdempotencyKeyReused,
    PersonNeeded,
    ProjectNotFound,
    TeamNotFound,
)
from auth_service.domain.permissions import ApiKeyScope, TeamRole
from auth_service.usecases.create_api_key import NewApiKey
from service_kit.errors import ErrorCode, InvalidArgument, PermissionDenied
from service_kit.ids import new_id


def audited(unit_of_work, action):
    return [one for one in unit_of_work.database.audit if one.action == action]


async def test_the_creator_is_the_owner(world, unit_of_work):
    """Of a team with a tidy name, and it is written down who made it."""
    ann = await world.person()

    made = await world.teams.create_team(ann, "  Weather ", "")

    team = made.membership.team
    assert (team.name, team.owner_user_id, made.created) == ("Weather", ann.user_id, True)
    assert made.membership.role is TeamRole.OWNER
    assert await world.teams.get_team(ann, team.team_id) == made.membership
    (entry,) = audited(unit_of_work, "team.created")
    assert (entry.user_id, entry.subject) == (ann.user_id, team.team_id)


async def test_repeating_a_creation_makes_one_team(world, unit_of_work):
    """The same request id from the same caller returns the first team, audited once."""
    ann, ben = await world.person(), await world.person("ben@example.org")

    first = await world.teams.create_team(ann, "Weather", "r1")
    again = await world.teams.create_team(ann, " Weather", "r1")
    other = await world.teams.create_team(ben, "Weather", "r1")

    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.membership == first.membership
    assert other.membership.team.team_id != first.membership.team.team_id
    assert len(audited(unit_of_work, "team.created")) == 2


async def test_a_request_id_belongs_to_one_name(world):
    """Repeated with another name, it is refused rather than answered with the first team."""
    ann = await world.person()
    await world.team(ann, "Weather", "r1")

    with pytest.raises(IdempotencyKeyReused):
        await world.team(ann, "Climate", "r1")
    assert len((await world.teams.list_teams(ann, 0, ""))[0]) == 1


@pytest.mark.parametrize(
    ("name", "request_id"),
    [("", ""), ("   ", ""), ("x" * 101, ""), ("a\n", "a\nb"), ("a\0", ""), ("a", "x" * 256)],
)
async def test_a_malformed_request_is_refused(world, unit_of_work, name, request_id):
    """A name that is none, or a request id that can't be kept: nothing is stored."""
    with pytest.raises(InvalidArgument):
        await world.team(await world.person(), name, request_id)
    assert unit_of_work.database.teams == {}


@pytest.mark.parametrize("scope", ApiKeyScope)
async def test_keys_neither_make_nor_see_teams(world, unit_of_work, scope):
    """Whatever its scope, a key is refused before anything is read or written."""
    ann = await world.person()
    team = await world.team(ann)
    created = await world.access.create_api_key(ann, NewApiKey("ci", scopes=[scope]))
    key = await world.key_caller(created.secret)
    before = unit_of_work.transactions

    for attempt in (
        world.teams.create_team(key, "Climate", ""),
        world.teams.get_team(key, team.team_id),
        world.teams.list_teams(key, 0, ""),
        world.access.create_project(key, "Research", "", team.team_id),
    ):
        with pytest.raises(PersonNeeded) as caught:
            await attempt
        assert (caught.value.code, caught.value.reason) == (
            ErrorCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
        )
    assert unit_of_work.transactions == before


async def test_another_persons_team_looks_absent(world, unit_of_work):
    """To get, to check, to put a project into: word for word as a team that never was."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    team = await world.team(ann)
    before = dict(vars(unit_of_work.database))
    seen = []
    for team_id in (team.team_id, team.team_id.upper(), new_id(), "no-uuid", "x\0"):
        for attempt in (
            world.teams.get_team(ben, team_id),
            world.check_team_access(ben.user_id, team_id),
            world.access.create_project(ben, "Research", "r1", team_id),
        ):
            with pytest.raises(TeamNotFound) as caught:
                await attempt
            assert caught.value.metadata == {"team_id": team_id}
            seen.append((caught.value.code, caught.value.message.replace(team_id, "ID")))

    assert set(seen) == {(ErrorCode.NOT_FOUND, "Team ID does not exist.")}
    assert await world.teams.list_teams(ben, 0, "") == ([], "")
    assert vars(unit_of_work.database) == before


async def test_pages_hold_every_team_once(world, clock):
    """Oldest first, no gap and no repetition, and nobody else's."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    await world.team(ben)
    names = []
    for number in range(5):
        clock.advance(1)
        names.append((await world.team(ann, f"Team {number}")).name)

    found, token = [], ""
    while True:
        page, token = await world.teams.list_teams(ann, 2, token)
        found += [one.team.name for one in page]
        if not token:
            break

    assert found == names


async def test_a_page_token_works_for_its_owner_only(world):
    """X-Z3: nor for another list, nor a made-up one."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    for name in ("Weather", "Climate"):
        await world.team(ann, name)
    _, token = await world.teams.list_teams(ann, 1, "")

    for stolen in (token, "x", token[:-2]):
        with pytest.raises(InvalidArgument):
            await world.teams.list_teams(ben, 1, stolen)
    with pytest.raises(InvalidArgument):
        await world.access.list_projects(ann, 1, token)


class TestProjectsOfTeams:
    async def test_a_project_is_made_in_a_team(self, world):
        """Everybody who asks about the project learns of it."""
        ann = await world.person()
        team = await world.team(ann)

        project = await world.project(ann, team_id=team.team_id)
        membership, _ = await world.check_access(ann.user_id, project.project_id, [])

        assert project.team_id == membership.project.team_id == team.team_id
        assert await world.access.get_project(ann, project.project_id) == project
        assert (await world.access.list_projects(ann, 0, ""))[0][-1].team_id == team.team_id

    async def test_a_project_needs_no_team(self, world):
        """The default project and a plain one have none."""
        ann = await world.person()
        await world.team(ann)
        await world.project(ann)

        page, _ = await world.access.list_projects(ann, 0, "")

        assert [project.team_id for project in page] == [None, None]

    async def test_a_request_id_belongs_to_one_team(self, world):
        """Repeated for the same team it finds its project; for another or none, it is refused."""
        ann = await world.person()
        team, other = await world.team(ann), await world.team(ann, "Climate")

        first = await world.access.create_project(ann, "Research", "r1", team.team_id)
        again = await world.access.create_project(ann, "Research", "r1", team.team_id)

        assert (again.project, again.created) == (first.project, False)
        for team_id in (other.team_id, ""):
            with pytest.raises(IdempotencyKeyReused):
                await world.access.create_project(ann, "Research", "r1", team_id)
        assert len((await world.access.list_projects(ann, 0, ""))[0]) == 2

    @pytest.mark.parametrize("role", TeamRole)
    async def test_who_may_add_projects(self, world, unit_of_work, role):
        """Managers and owners; a member is told that they may not, and nothing is made."""
        ann, ben = await world.person(), await world.person("ben@example.org")
        team = await world.team(ann)
        unit_of_work.database.team_members[team.team_id, ben.user_id] = role

        if role is TeamRole.MEMBER:
            with pytest.raises(PermissionDenied):
                await world.project(ben, team_id=team.team_id)
            assert len((await world.access.list_projects(ben, 0, ""))[0]) == 1
        else:
            assert (await world.project(ben, team_id=team.team_id)).owner_user_id == ben.user_id

    async def test_a_team_opens_no_project(self, world, unit_of_work):
        """Its members, of whatever role, see of a project in it what strangers see."""
        ann, ben = await world.person(), await world.person("ben@example.org")
        team = await world.team(ann)
        project = await world.project(ann, team_id=team.team_id)
        unit_of_work.database.team_members[team.team_id, ben.user_id] = TeamRole.MANAGER

        with pytest.raises(ProjectNotFound):
            await world.access.get_project(ben, project.project_id)
