"""A project and its budget are one thing to the person who asked for both."""

from datetime import UTC, datetime

import pytest

from gateway.domain.project import Budget, BudgetStatus, Project
from gateway.usecases.create_project import CreateProject
from gateway.usecases.ports import ProjectOfRequest
from service_kit.errors import ErrorCode, ServiceError


def refused(code=ErrorCode.FAILED_PRECONDITION, reason="ALLOWANCE_EXCEEDED"):
    error = ServiceError("no")
    error.code, error.reason = code, reason
    return error


class FakeProjects:
    def __init__(self):
        self.names = {}
        self.delete_error = None

    async def create_project(self, name, request_id, team_id):
        created = "p1" not in self.names
        self.names["p1"] = name
        created_at = datetime(2026, 1, 1, tzinfo=UTC)
        project = Project("p1", name, "u1", False, created_at, team_id or None)
        return ProjectOfRequest(project, created)

    async def delete_project(self, project_id):
        if self.delete_error:
            raise self.delete_error
        del self.names[project_id]


class FakeBudgets:
    def __init__(self):
        self.caps = {}
        self.error = None

    async def set_budget(self, owner, cap_nanousd):
        if self.error and cap_nanousd:
            raise self.error
        self.caps[owner.project_id] = cap_nanousd
        return await self.get_budget(owner)

    async def get_budget(self, owner):
        cap = self.caps.get(owner.project_id)
        if cap is None:
            return Budget(owner, "2026-01", False, 0, 0, 0, BudgetStatus.NO_BUDGET_SET)
        return Budget(owner, "2026-01", True, cap, 0, 0, BudgetStatus.OK)


@pytest.fixture
def projects():
    return FakeProjects()


@pytest.fixture
def budgets():
    return FakeBudgets()


async def test_project_gets_its_budget(projects, budgets):
    """Both are there afterwards."""
    project, budget = await CreateProject(projects, budgets)("Weather", 5, "")

    assert (project.name, budget.cap_nanousd) == ("Weather", 5)
    assert projects.names == {"p1": "Weather"}


async def test_project_of_a_team(projects, budgets):
    """The team is the one asked for; it has none where none was."""
    project, _ = await CreateProject(projects, budgets)("Weather", 5, "", "t1")
    plain, _ = await CreateProject(projects, budgets)("Weather", 5, "")

    assert (project.team_id, plain.team_id) == ("t1", None)


async def test_project_without_budget(projects, budgets):
    """No budget asked for, none set: the project may spend nothing."""
    _, budget = await CreateProject(projects, budgets)("Weather", None, "")

    assert budget is None
    assert budgets.caps == {}


@pytest.mark.parametrize("request_id", ["", "key"])
async def test_refused_budget_leaves_no_project(projects, budgets, request_id):
    """The person sees the refusal, and no half-made project."""
    budgets.error = refused()

    with pytest.raises(ServiceError) as caught:
        await CreateProject(projects, budgets)("Moon", 5, request_id)

    assert caught.value.reason == "ALLOWANCE_EXCEEDED"
    assert projects.names == {}


async def test_lost_reply_without_key_is_taken_back(projects, budgets):
    """Where nobody knows whether the budget was set, it is freed, and the project goes."""
    budgets.error = refused(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    with pytest.raises(ServiceError):
        await CreateProject(projects, budgets)("Moon", 5, "")

    assert budgets.caps == {"p1": 0}
    assert projects.names == {}


async def test_lost_reply_with_key_waits_for_the_retry(projects, budgets):
    """A client with a key will repeat the request: the project stays for it to complete."""
    budgets.error = refused(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    with pytest.raises(ServiceError):
        await CreateProject(projects, budgets)("Moon", 5, "key")

    assert projects.names == {"p1": "Moon"}


async def test_failed_compensation_does_not_hide_the_refusal(projects, budgets):
    """What the person did wrong is what the person is told."""
    budgets.error = refused()
    projects.delete_error = refused(ErrorCode.UNAVAILABLE, "UNAVAILABLE")

    with pytest.raises(ServiceError) as caught:
        await CreateProject(projects, budgets)("Moon", 5, "")

    assert caught.value.reason == "ALLOWANCE_EXCEEDED"


@pytest.mark.parametrize("code", [ErrorCode.FAILED_PRECONDITION, ErrorCode.UNAVAILABLE])
async def test_refused_budget_of_a_repetition_leaves_the_project(projects, budgets, code):
    """A request takes back what it created itself, never what was there before."""
    projects.names["p1"] = "Moon"
    budgets.error = refused(code)

    with pytest.raises(ServiceError):
        await CreateProject(projects, budgets)("Moon", 5, "key")

    assert projects.names == {"p1": "Moon"}
    assert budgets.caps == {}


@pytest.mark.parametrize("asked", [5, None])
@pytest.mark.parametrize("chosen", [0, 9])
async def test_repetition_keeps_the_budget_of_today(projects, budgets, asked, chosen):
    """Somebody changed the budget since: that one stays, and is what the answer says."""
    projects.names["p1"], budgets.caps["p1"] = "Moon", chosen

    _, budget = await CreateProject(projects, budgets)("Moon", asked, "key")

    assert budget.cap_nanousd == chosen
    assert budgets.caps == {"p1": chosen}


async def test_repetition_completes_the_project(projects, budgets):
    """After a lost reply the project has no budget yet: the retry sets it."""
    projects.names["p1"] = "Moon"

    _, budget = await CreateProject(projects, budgets)("Moon", 5, "key")

    assert budget.cap_nanousd == 5
    assert budgets.caps == {"p1": 5}
