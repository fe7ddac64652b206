"""What a caller may do in a project, asked once and forgotten in time."""

import asyncio

import pytest

from service_kit.access import AccessChecks, ProjectAccess, ProjectNotFound
from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller
from service_kit.testing.clock import FixedClock

ANN = Caller("ann", "person", "user")
BOB = Caller("bob", "person", "user")
KEY = Caller("ann", "api_key", "user", project_id="p1", scopes=frozenset({"read"}))


class Directory:
    """Knows that Ann may read p1 (her default) and p2; counts the questions."""

    def __init__(self):
        self.asked = []
        self.hold = None

    async def project_access(self, user_id, project_id, scopes):
        self.asked.append((user_id, project_id, scopes))
        if self.hold is not None:
            await self.hold.wait()
        if user_id != "ann" or project_id not in ("", "p1", "p2"):
            raise ProjectNotFound(project_id)
        return ProjectAccess(project_id or "p1", "ann", not project_id, frozenset({"jobs:read"}))


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def directory():
    return Directory()


@pytest.fixture
def checks(directory, clock):
    return AccessChecks(directory, clock, ttl_seconds=30, max_entries=3)


async def test_repeated_check_asks_once(checks, directory, clock):
    """An answer is kept for its time, and asked for again after it."""
    for _ in range(5):
        assert (await checks.require(ANN, "p1", "jobs:read")).project_id == "p1"
    assert len(directory.asked) == 1

    clock.advance(30)
    await checks.require(ANN, "p1", "jobs:read")
    assert len(directory.asked) == 2


async def test_missing_permission_is_named(checks):
    """Who is in the project and may not do this learns what is missing."""
    with pytest.raises(PermissionDenied) as caught:
        await checks.require(ANN, "p1", "jobs:write")

    assert caught.value.metadata == {"permission": "jobs:write"}


async def test_answers_are_one_users_own(checks):
    """What was kept for Ann does not open the project to Bob (X-Z1)."""
    await checks.require(ANN, "p1", "jobs:read")

    with pytest.raises(ProjectNotFound):
        await checks.require(BOB, "p1", "jobs:read")


async def test_answers_are_one_scopes_own(checks, directory):
    """What a person may do is not what their key may do."""
    await checks.require(ANN, "p1", "jobs:read")
    await checks.require(KEY, "p1", "jobs:read")

    assert [scopes for _, _, scopes in directory.asked] == [frozenset(), frozenset({"read"})]


async def test_key_sees_its_own_project_alone(checks, directory):
    """To a key another project looks absent, though its owner has a part in it; nobody is asked."""
    assert (await checks.require(KEY, "", "jobs:read")).project_id == "p1"
    asked = len(directory.asked)

    with pytest.raises(ProjectNotFound):
        await checks.require(KEY, "p2", "jobs:read")
    assert len(directory.asked) == asked


async def test_denial_makes_it_ask_again(checks, directory):
    """After a membership ends, nothing that was kept about the user is used."""
    await checks.require(ANN, "p1", "jobs:read")
    checks.forget("ann")
    await checks.require(ANN, "p1", "jobs:read")

    assert len(directory.asked) == 2


async def test_answer_older_than_a_denial_is_not_kept(checks, directory):
    """An answer that was on its way when the denial came is used once and not kept."""
    directory.hold = asyncio.Event()
    asking = asyncio.ensure_future(checks.require(ANN, "p1", "jobs:read"))
    await asyncio.sleep(0)
    checks.forget("ann")
    directory.hold.set()
    await asking
    await checks.require(ANN, "p1", "jobs:read")

    assert len(directory.asked) == 2


async def test_memory_is_bounded(checks, directory):
    """Old answers make room for new ones."""
    for number in range(10):
        caller = Caller("ann", "person", "user", scopes=frozenset({str(number)}))
        await checks.require(caller, "p1", "jobs:read")
    newest = Caller("ann", "person", "user", scopes=frozenset({"9"}))
    oldest = Caller("ann", "person", "user", scopes=frozenset({"0"}))
    await checks.require(newest, "p1", "jobs:read")
    assert len(directory.asked) == 10
    await checks.require(oldest, "p1", "jobs:read")
    assert len(directory.asked) == 11
