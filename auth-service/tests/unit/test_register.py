"""Registration: an account, a default project, a session; all or nothing."""

import pytest

from auth_service.domain.errors import (
    EmailTaken,
    PasswordRefused,
    RegistrationClosed,
    UsernameTaken,
)
from auth_service.domain.permissions import ProjectRole
from auth_service.domain.user import UserRole
from auth_service.usecases.register import Registration
from service_kit.errors import InvalidArgument


async def test_a_person_gets_account_project_and_session(world, unit_of_work, clock):
    """After one call a person can work: in a project of their own, with tokens."""
    account, tokens = await world.registered(full_name=" Ann  Smith ")

    kept = unit_of_work.database
    assert account.user.role is UserRole.USER
    assert account.user.username == "ann"
    assert account.user.full_name == "Ann  Smith"
    assert kept.projects[account.default_project_id].is_default
    assert kept.members[account.default_project_id, account.user.user_id] is ProjectRole.OWNER
    assert account.active_sessions_count == len(kept.sessions) == 1
    assert tokens.access_token_seconds == 900
    caller = await (await world.verifier()).verify(tokens.access_token)
    assert (caller.user_id, caller.kind) == (account.user.user_id, "person")
    assert caller.session_id in kept.sessions
    assert [entry.action for entry in kept.audit] == ["user.registered"]


async def test_a_closed_installation_lets_nobody_in(make_world, hasher):
    """ALLOW_REGISTRATION=false, and no work is spent on the password."""
    with pytest.raises(RegistrationClosed):
        await make_world(allow_registration=False).registered()

    assert hasher.worked_on == []


def test_production_is_closed_unless_opened(make_settings):
    """Left unset, registration is open everywhere but in production."""
    assert make_settings().registration_allowed
    assert not make_settings(environment="production").registration_allowed
    assert make_settings(environment="production", allow_registration=True).registration_allowed


@pytest.mark.parametrize("again", ["ann@example.org", "ANN@example.org", "ａnn@EXAMPLE.org "])
async def test_an_address_has_one_account(world, unit_of_work, again):
    """The second of two spellings is refused, and leaves nothing behind."""
    await world.registered("ann@example.org")

    with pytest.raises(EmailTaken):
        await world.registered(again, username="someone")

    assert len(unit_of_work.database.users) == len(unit_of_work.database.projects) == 1


async def test_a_chosen_username_is_not_changed(world):
    """Who asks for a taken name is told so."""
    await world.registered("ann@example.org", username="Ann")

    with pytest.raises(UsernameTaken):
        await world.registered("other@example.org", username="ann")


async def test_a_made_username_gives_way(world):
    """Two people with the same local part both get an account."""
    first, _ = await world.registered("ann@example.org")
    second, _ = await world.registered("ann@example.net")

    assert first.user.username == "ann"
    assert second.user.username.startswith("ann-")


@pytest.mark.parametrize("name", ["admin", "Admin", "ＲＯＯＴ"])
async def test_nobody_looks_like_an_operator(world, name):
    """Names of operators can't be chosen, and are not made from an address."""
    with pytest.raises(UsernameTaken):
        await world.registered(username=name)

    account, _ = await world.registered("admin@example.org")
    assert account.user.username.startswith("admin-")


@pytest.mark.parametrize(
    "given",
    [
        {"email": "nobody"},
        {"email": "ann@example.org", "username": "a b"},
        {"email": "ann@example.org", "full_name": "Ann\nSmith"},
        {"email": "ann@example.org", "full_name": "x" * 201},
        {"email": "ann@example.org", "full_name": "\0"},
    ],
)
async def test_malformed_names_are_refused(world, given):
    """Before anything is stored, and naming the field."""
    with pytest.raises(InvalidArgument):
        await world.registered(**given)


@pytest.mark.parametrize("password", ["short", "x" * 1025, "password1", "ann@example.org"])
async def test_a_weak_password_is_refused(world, hasher, password):
    """The policy holds, and no work is spent on a password it refuses."""
    with pytest.raises(PasswordRefused):
        await world.auth.register(Registration("ann@example.org", password))

    assert hasher.worked_on == []
