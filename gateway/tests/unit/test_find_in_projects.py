"""A person finds what is theirs without saying where it is."""

from datetime import UTC, datetime

import pytest

from gateway.domain.project import Project
from gateway.usecases.find_in_projects import FindInProjects
from service_kit.errors import ErrorCode, ServiceError, Unavailable


def project(number, *, is_default=False):
    return Project(f"p{number}", "x", "u1", is_default, datetime(2026, 1, 1, tzinfo=UTC))


class FakeProjects:
    def __init__(self, *pages):
        self.pages = pages
        self.asked = 0

    async def list_projects(self, page_size, page_token):
        self.asked += 1
        number = int(page_token or 0)
        following = str(number + 1) if number + 1 < len(self.pages) else ""
        return self.pages[number], following


class Things:
    """Something that is in one project."""

    def __init__(self, where):
        self.where = where
        self.asked = []

    async def __call__(self, project_id):
        self.asked.append(project_id)
        if project_id != self.where:
            error = ServiceError("absent")
            error.code, error.reason = ErrorCode.NOT_FOUND, "JOB_NOT_FOUND"
            raise error
        return f"found in {project_id or 'default'}"


async def test_default_project_is_asked_first():
    """The ordinary case costs one call."""
    projects, read = FakeProjects([project(1)]), Things("")

    assert await FindInProjects(projects)(read) == "found in default"
    assert projects.asked == 0


async def test_other_projects_are_searched():
    """It is found on any page, and the default project is not asked twice."""
    projects = FakeProjects([project(0, is_default=True), project(1)], [project(2), project(3)])
    read = Things("p3")

    assert await FindInProjects(projects)(read) == "found in p3"
    assert "p0" not in read.asked


async def test_absent_everywhere_is_absent():
    """The error is the one of the default project."""
    with pytest.raises(ServiceError) as caught:
        await FindInProjects(FakeProjects([project(1)]))(Things("elsewhere"))

    assert caught.value.reason == "JOB_NOT_FOUND"


async def test_outage_is_no_absence():
    """Where a project could not be asked, nobody claims that there is nothing."""

    async def read(project_id):
        if project_id:
            raise Unavailable("job-service")
        return await Things("elsewhere")(project_id)

    with pytest.raises(Unavailable):
        await FindInProjects(FakeProjects([project(1)]))(read)
