"""The first administrator of an installation."""

import asyncio

import pytest

from auth_service.domain.errors import PasswordRefused
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.domain.user import UserRole
from auth_service.usecases.bootstrap_administrator import BootstrapAdministrator


@pytest.fixture
def bootstrap(world):
    parts = world.parts
    return BootstrapAdministrator(parts.unit_of_work, parts.clock, parts.hasher, PasswordPolicy())


async def test_the_administrator_can_log_in(world, bootstrap):
    """As `admin`, with the given password, a project and the highest role."""
    assert await bootstrap("a fine long password")

    account, _ = await world.auth.log_in("admin", "a fine long password")
    assert account.user.role is UserRole.SUPER_ADMIN
    assert account.default_project_id


async def test_there_is_one(world, bootstrap, unit_of_work):
    """A second start, or replicas that start at once, make no second one and change nothing."""
    made = await asyncio.gather(*(bootstrap("a fine long password") for _ in range(5)))
    again = await bootstrap("another long password")

    assert (sum(made), again) == (1, False)
    assert len(unit_of_work.database.users) == 1
    assert await world.auth.log_in("admin", "a fine long password")


@pytest.mark.parametrize("password", ["short", "password1", "administrator"])
async def test_a_weak_password_is_refused(bootstrap, unit_of_work, password):
    """The policy holds for the administrator too."""
    with pytest.raises(PasswordRefused):
        await bootstrap(password)

    assert not unit_of_work.database.users
