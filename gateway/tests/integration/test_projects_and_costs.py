"""Projects, budgets and costs over HTTP."""

import pytest
from weir.auth.v1 import access_service_pb2
from weir.cost.v1 import cost_service_pb2

from service_kit.errors import ErrorCode

from ..stand_ins import (
    JOB_ID,
    OTHER_PROJECT_ID,
    PROJECT_ID,
    USER_ID,
    a_budget,
    a_project,
    refusal,
)

ABSENT = "0192f0c0-0000-7000-8000-00000000ffff"


async def test_project_is_created_with_its_budget(http, script, person):
    """Project at auth-service, budget at cost-service, one answer."""
    answer = await http.post(
        "/api/v1/projects",
        headers={**person, "Idempotency-Key": "k1"},
        json={"name": "Weather", "budget_allocated": "12.500000001"},
    )

    assert answer.status_code == 201
    assert answer.json() == {
        "project_id": OTHER_PROJECT_ID,
        "name": "Weather",
        "owner_user_id": USER_ID,
        "is_default": False,
        "created_at": "2026-01-02T03:04:05Z",
        "team_id": None,
        "budget_allocated": 12.500000001,
        "budget_allocated_nanousd": 12_500_000_001,
    }
    assert script.last("CreateProject").request.request_id == "k1"
    assert script.last("SetBudget").request.cap_nanousd == 12_500_000_001


async def test_project_without_budget(http, script, person):
    """Without a budget nothing is allocated."""
    answer = await http.post("/api/v1/projects", headers=person, json={"name": "Weather"})

    assert answer.json()["budget_allocated"] is None
    assert not script.of("SetBudget")


async def test_refused_budget_leaves_no_project(http, script, person):
    """The refusal is shown, and the project is taken back."""
    script.answers["SetBudget"] = refusal(
        ErrorCode.FAILED_PRECONDITION, "ALLOWANCE_EXCEEDED", "Too much.", allowance_nanousd="5"
    )

    answer = await http.post(
        "/api/v1/projects", headers=person, json={"name": "Moon", "budget_allocated": 1000}
    )

    assert answer.status_code == 409
    assert answer.json()["title"] == "ALLOWANCE_EXCEEDED"
    assert answer.json()["metadata"] == {"allowance_nanousd": "5"}
    assert script.last("DeleteProject").request.project_id == OTHER_PROJECT_ID


@pytest.fixture
def repeated(script):
    """auth-service has seen the idempotency key before."""
    script.answers["CreateProject"] = access_service_pb2.CreateProjectResponse(
        project=a_project(OTHER_PROJECT_ID, "Moon"), created=False
    )


async def create_moon(http, caller):
    return await http.post(
        "/api/v1/projects",
        headers={**caller, "Idempotency-Key": "k1"},
        json={"name": "Moon", "budget_allocated": 1000},
    )


@pytest.mark.usefixtures("repeated")
async def test_repetition_keeps_the_budget_of_today(http, script, person):
    """The cap that somebody chose since is shown, not reset."""
    answer = await create_moon(http, person)

    assert (answer.status_code, answer.json()["budget_allocated"]) == (201, 100.0)
    assert script.last("GetBudget").request.project_id == OTHER_PROJECT_ID
    assert not script.of("SetBudget")


@pytest.mark.usefixtures("repeated")
async def test_refused_budget_of_a_repetition_leaves_the_project(http, script, person):
    """The refusal is shown; a project that lives already is not taken back."""
    script.answers["GetBudget"] = cost_service_pb2.GetBudgetResponse(
        budget=a_budget(OTHER_PROJECT_ID, has_budget=False, cap_nanousd=0)
    )
    script.answers["SetBudget"] = refusal(ErrorCode.FAILED_PRECONDITION, "ALLOWANCE_EXCEEDED")

    answer = await create_moon(http, person)

    assert (answer.status_code, answer.json()["title"]) == (409, "ALLOWANCE_EXCEEDED")
    assert script.of("SetBudget")
    assert not script.of("DeleteProject")


async def test_idempotency_key_of_another_project(http, script, person):
    """auth-service refuses another name: 422, and no budget is touched."""
    script.answers["CreateProject"] = refusal(ErrorCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")

    answer = await create_moon(http, person)

    assert (answer.status_code, answer.json()["title"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert not script.of("SetBudget")
    assert not script.of("DeleteProject")


async def test_keys_make_no_projects(http, script, program):
    """auth-service refuses them: 403 in its words, and nothing else is called."""
    script.answers["CreateProject"] = refusal(
        ErrorCode.PERMISSION_DENIED, "PERMISSION_DENIED", "An API key can't create projects."
    )

    answer = await create_moon(http, program)

    assert (answer.status_code, answer.json()["title"]) == (403, "PERMISSION_DENIED")
    assert answer.json()["detail"] == "An API key can't create projects."
    assert not script.of("SetBudget")
    assert not script.of("DeleteProject")


async def test_keys_set_budgets(http, script, program):
    """A key may still top up its own project."""
    answer = await http.put(
        f"/api/v1/projects/{PROJECT_ID}/budget", headers=program, json={"budget_allocated": 200}
    )

    assert answer.status_code == 200
    assert script.last("SetBudget").request.project_id == PROJECT_ID


@pytest.mark.parametrize(
    "amount",
    [
        "-1",
        "0.0000000001",
        "0.1000000000000000055",
        "1e400",
        "9223372036.854775808",
        "99999999999999999999999",
        "true",
        "null",
        '"NaN"',
        '"1e3"',
        "[]",
    ],
)
async def test_amounts_that_are_none(http, script, person, amount):
    """Negative, too fine, too large or not a number: 422, and nothing is created."""
    bad = await http.put(
        f"/api/v1/projects/{PROJECT_ID}/budget",
        headers={**person, "content-type": "application/json"},
        content=f'{{"budget_allocated": {amount}}}',
    )

    assert bad.status_code == 422, bad.text
    assert bad.json()["errors"][0]["field"] == "body.budget_allocated"
    assert not script.of("SetBudget")


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
async def test_infinite_amounts_are_no_json(http, script, person, amount):
    """They are refused before anybody reads a number."""
    bad = await http.post(
        "/api/v1/projects",
        headers={**person, "content-type": "application/json"},
        content=f'{{"name": "x", "budget_allocated": {amount}}}',
    )

    assert bad.status_code == 400
    assert bad.json()["title"] == "INVALID_JSON"
    assert not script.of("CreateProject")


@pytest.mark.parametrize("amount", ["123456789.123456789", '"123456789.123456789"'])
async def test_numbers_lose_no_digit(http, script, person, amount):
    """A JSON number is as exact as a text."""
    await http.put(
        f"/api/v1/projects/{PROJECT_ID}/budget",
        headers={**person, "content-type": "application/json"},
        content=f'{{"budget_allocated": {amount}}}',
    )

    assert script.last("SetBudget").request.cap_nanousd == 123_456_789_123_456_789


async def test_projects_are_listed(http, script, person):
    """A page of them, with the token of the next one passed through."""
    answer = await http.get(
        "/api/v1/projects", headers=person, params={"page_size": 2, "page_token": "abc"}
    )

    assert [project["name"] for project in answer.json()["projects"]] == ["Default", "Other"]
    sent = script.last("ListProjects").request
    assert (sent.page_size, sent.page_token) == (2, "abc")


async def test_project_shows_its_budget(http, script, person):
    """Name from one service, budget from the other."""
    answer = await http.get(f"/api/v1/projects/{PROJECT_ID}", headers=person)

    assert answer.json()["name"] == "Default"
    assert answer.json()["budget_allocated"] == 100.0


async def test_top_up(http, script, person):
    """A new cap shows at once in what is left."""
    answer = await http.put(
        f"/api/v1/projects/{PROJECT_ID}/budget", headers=person, json={"budget_allocated": 200}
    )

    assert answer.status_code == 200
    assert answer.json()["budget_allocated_nanousd"] == 200_000_000_000
    assert answer.json()["remaining_budget"] == 114.5


async def test_no_budget_set(http, script, person):
    """A project without a budget says so."""
    script.answers["GetBudget"] = cost_service_pb2.GetBudgetResponse(
        budget=a_budget(
            has_budget=False,
            cap_nanousd=0,
            reserved_nanousd=0,
            posted_nanousd=0,
            status=cost_service_pb2.BUDGET_STATUS_NO_BUDGET_SET,
        )
    )

    budget = await http.get(f"/api/v1/costs/projects/{PROJECT_ID}/budget", headers=person)
    project = await http.get(f"/api/v1/projects/{PROJECT_ID}", headers=person)

    assert (budget.json()["has_budget"], budget.json()["status"]) == (False, "no_budget_set")
    assert project.json()["budget_allocated"] is None


async def test_job_cost(http, person):
    """What was held, what was charged, and for how many tokens."""
    answer = await http.get(f"/api/v1/costs/jobs/{JOB_ID}", headers=person)

    found = answer.json()
    assert (found["estimated_cost_nanousd"], found["actual_cost_nanousd"]) == (9_000_000, 7_000_000)
    assert found["actual_cost"] == 0.007
    assert found["tokens_used_total"] == 7
    assert found["settled"] is True


async def test_unsettled_job_has_no_actual_cost(http, script, person):
    """Until it is settled there is an estimate only."""
    script.answers["GetJobCost"] = cost_service_pb2.GetJobCostResponse(
        job_cost=cost_service_pb2.JobCost(job_id=JOB_ID, project_id=PROJECT_ID, held_nanousd=5)
    )

    found = (await http.get(f"/api/v1/costs/jobs/{JOB_ID}", headers=person)).json()

    assert found["actual_cost"] is None
    assert found["actual_cost_nanousd"] is None


@pytest.mark.parametrize(
    ("method", "path", "rpc"),
    [
        ("GET", "/api/v1/projects/{}", "GetProject"),
        ("PUT", "/api/v1/projects/{}/budget", "SetBudget"),
        ("GET", "/api/v1/costs/projects/{}", "GetProjectReport"),
        ("GET", "/api/v1/costs/projects/{}/savings", "GetSavings"),
        ("GET", "/api/v1/costs/projects/{}/suggestions", "GetSuggestions"),
        ("GET", "/api/v1/costs/projects/{}/export.csv", "ExportCosts"),
        ("GET", "/api/v1/costs/projects/{}/compute-jobs", "ExportComputeJobs"),
        ("GET", "/api/v1/costs/projects/{}/budget", "GetBudget"),
        ("PUT", "/api/v1/costs/projects/{}/budget", "SetBudget"),
        ("GET", "/api/v1/costs/projects/{}/alerts", "ListBudgetAlerts"),
        ("GET", "/api/v1/costs/allowances/{}", "GetAllowance"),
    ],
)
@pytest.mark.parametrize("project_id", ["nonsense", "%00", "..%2f..", ABSENT.upper()])
async def test_what_can_be_no_id_is_absent(http, script, person, method, path, rpc, project_id):
    """An id of another form reads like one that does not exist, and asks nobody."""
    body = {"json": {"budget_allocated": 1}} if method == "PUT" else {}
    answer = await http.request(method, path.format(project_id), headers=person, **body)

    assert answer.status_code == 404
    assert not script.of(rpc)


async def test_absent_project(http, script, person):
    """A project that is not there, or not the caller's, is 404."""
    script.answers["GetProjectReport"] = refusal(ErrorCode.NOT_FOUND, "PROJECT_NOT_FOUND")

    answer = await http.get(f"/api/v1/costs/projects/{ABSENT}", headers=person)

    assert (answer.status_code, answer.json()["title"]) == (404, "PROJECT_NOT_FOUND")
