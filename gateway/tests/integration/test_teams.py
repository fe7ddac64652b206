"""Teams over HTTP, and the projects in them."""

import pytest
from weir.auth.v1 import access_service_pb2, membership_service_pb2, team_service_pb2

from gateway.entrypoints.routes.teams import TEAM_ROLES
from service_kit.errors import ErrorCode

from ..stand_ins import OTHER_PROJECT_ID, PROJECT_ID, TEAM_ID, USER_ID, a_project, a_team, refusal

WEATHER = {
    "team_id": TEAM_ID,
    "name": "Weather",
    "owner_user_id": USER_ID,
    "team_role": "owner",
    "created_at": "2026-01-02T03:04:05Z",
}
NO_IDS = ["nonsense", "%00", "..%2f..", TEAM_ID.upper(), "x" * 9_000]


async def test_team_is_created(http, script, person):
    """Once for each Idempotency-Key, as auth-service sees to."""
    answer = await http.post(
        "/api/v1/teams", headers={**person, "Idempotency-Key": "k1"}, json={"name": "Weather"}
    )

    assert (answer.status_code, answer.json()) == (201, WEATHER)
    sent = script.last("CreateTeam").request
    assert (sent.name, sent.request_id) == ("Weather", "k1")


async def test_idempotency_key_of_another_team(http, script, person):
    """auth-service refuses another name: 422."""
    script.answers["CreateTeam"] = refusal(ErrorCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")

    answer = await http.post("/api/v1/teams", headers=person, json={"name": "Weather"})

    assert (answer.status_code, answer.json()["title"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": 1}, {"name": "x", "owner": "me"}]
)
async def test_malformed_team_is_refused(http, script, person, body):
    """A name is needed, and nothing else is known."""
    answer = await http.post("/api/v1/teams", headers=person, json=body)

    assert answer.status_code == 422
    assert not script.of("CreateTeam")


async def test_teams_are_listed(http, script, person):
    """A page of them, with the token of the next one passed through."""
    answer = await http.get(
        "/api/v1/teams", headers=person, params={"page_size": 2, "page_token": "abc"}
    )

    assert answer.json()["teams"] == [WEATHER, {**WEATHER, "name": "Climate"}]
    assert answer.json()["next_page_token"] == "more"
    sent = script.last("ListTeams").request
    assert (sent.page_size, sent.page_token) == (2, "abc")


async def test_team_is_shown(http, script, person):
    """With the caller's part in it."""
    script.answers["GetTeam"] = team_service_pb2.GetTeamResponse(
        team=a_team(team_role=membership_service_pb2.TEAM_ROLE_MEMBER)
    )

    answer = await http.get(f"/api/v1/teams/{TEAM_ID}", headers=person)

    assert answer.json() == {**WEATHER, "team_role": "member"}
    assert script.last("GetTeam").request.team_id == TEAM_ID


def test_every_role_has_a_name():
    """But the unspecified one, which nobody has."""
    roles = {membership_service_pb2.TeamRole.Name(role): name for role, name in TEAM_ROLES.items()}

    assert roles == {f"TEAM_ROLE_{name.upper()}": name for name in ("member", "manager", "owner")}
    assert len(roles) == len(membership_service_pb2.TeamRole.keys()) - 1


async def test_absent_team(http, script, person):
    """A team that is not there, or not the caller's, is 404."""
    script.answers["GetTeam"] = refusal(ErrorCode.NOT_FOUND, "TEAM_NOT_FOUND")

    answer = await http.get(f"/api/v1/teams/{TEAM_ID}", headers=person)

    assert (answer.status_code, answer.json()["title"]) == (404, "TEAM_NOT_FOUND")


@pytest.mark.parametrize("team_id", NO_IDS, ids=lambda text: text[:9])
async def test_what_can_be_no_id_is_absent(http, script, person, team_id):
    """An id of another form reads like one that does not exist, and asks nobody."""
    answer = await http.get(f"/api/v1/teams/{team_id}", headers=person)

    assert answer.status_code == 404
    assert not script.of("GetTeam")


async def test_keys_have_no_teams(http, script, program):
    """auth-service refuses them: 403 in its words, however they ask."""
    for rpc in ("CreateTeam", "GetTeam", "ListTeams"):
        script.answers[rpc] = refusal(ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", "No key.")
    for answer in (
        await http.post("/api/v1/teams", headers=program, json={"name": "Weather"}),
        await http.get("/api/v1/teams", headers=program),
        await http.get(f"/api/v1/teams/{TEAM_ID}", headers=program),
    ):
        assert (answer.status_code, answer.json()["title"]) == (403, "PERMISSION_DENIED")
        assert answer.json()["detail"] == "No key."


class TestProjectsOfTeams:
    async def test_project_is_created_in_its_team(self, http, script, person):
        """The team goes to auth-service with the rest of the project."""
        answer = await http.post(
            "/api/v1/projects", headers=person, json={"name": "Rain", "team_id": TEAM_ID}
        )

        assert (answer.status_code, answer.json()["team_id"]) == (201, TEAM_ID)
        assert script.last("CreateProject").request.team_id == TEAM_ID

    async def test_project_needs_no_team(self, http, script, person):
        """Left out or `null` is none."""
        for body in ({"name": "Rain"}, {"name": "Rain", "team_id": None}):
            answer = await http.post("/api/v1/projects", headers=person, json=body)

            assert (answer.status_code, answer.json()["team_id"]) == (201, None)
            assert script.last("CreateProject").request.team_id == ""

    async def test_projects_show_their_teams(self, http, script, person):
        """In a list, and alone with its budget."""
        own, other = a_project(team_id=TEAM_ID), a_project(OTHER_PROJECT_ID, "Other")
        script.answers["GetProject"] = access_service_pb2.GetProjectResponse(project=own)
        script.answers["ListProjects"] = access_service_pb2.ListProjectsResponse(
            projects=[own, other]
        )

        shown = await http.get(f"/api/v1/projects/{PROJECT_ID}", headers=person)
        listed = await http.get("/api/v1/projects", headers=person)

        assert shown.json()["team_id"] == TEAM_ID
        assert [one["team_id"] for one in listed.json()["projects"]] == [TEAM_ID, None]

    @pytest.mark.parametrize("team_id", ["nonsense", "x\n", TEAM_ID.upper()])
    async def test_team_that_can_be_none_is_absent(self, http, script, person, team_id):
        """It reads like one that does not exist, and neither service is asked."""
        answer = await http.post(
            "/api/v1/projects",
            headers=person,
            json={"name": "Rain", "team_id": team_id, "budget_allocated": 1},
        )

        assert (answer.status_code, answer.json()["title"]) == (404, "TEAM_NOT_FOUND")
        assert not script.of("CreateProject") + script.of("SetBudget")

    async def test_foreign_team_gets_no_project(self, http, script, person):
        """auth-service refuses it; no budget is set, and nothing has to be taken back."""
        script.answers["CreateProject"] = refusal(ErrorCode.NOT_FOUND, "TEAM_NOT_FOUND")

        answer = await http.post(
            "/api/v1/projects",
            headers=person,
            json={"name": "Rain", "team_id": TEAM_ID, "budget_allocated": 1},
        )

        assert (answer.status_code, answer.json()["title"]) == (404, "TEAM_NOT_FOUND")
        assert not script.of("SetBudget") + script.of("DeleteProject")
