"""Login: by username or address; a refusal never says why (X-A12)."""

import pytest

from auth_service.domain.errors import CredentialsRefused
from service_kit.errors import ServiceError


@pytest.mark.parametrize("identifier", ["ann", "Ann@example.org", " ANN "])
async def test_a_person_logs_in_by_either_name(world, clock, password, identifier):
    """A new session with new tokens, and the time is remembered."""
    registered, first = await world.registered()
    clock.advance(60)

    account, tokens = await world.auth.log_in(identifier, password)

    assert account.user.user_id == registered.user.user_id
    assert account.user.last_login_at == clock.now()
    assert account.active_sessions_count == 2
    assert account.default_project_id == registered.default_project_id
    assert tokens.refresh_token != first.refresh_token


@pytest.mark.parametrize(
    ("identifier", "attempt"),
    [
        ("ann", "wrong password"),
        ("nobody", "wrong password"),
        ("nobody@example.org", "wrong password"),
        ("ann\0", "correct horse battery"),
        ("", ""),
        ("x" * 100_000, "correct horse battery"),
        ("ann", "x" * 1_000_000),
    ],
)
async def test_every_refusal_reads_and_costs_the_same(
    world, unit_of_work, hasher, identifier, attempt
):
    """One hash, two transactions, one audit entry, one message: whoever it was."""
    await world.registered()
    hasher.worked_on.clear()
    before = unit_of_work.transactions

    with pytest.raises(ServiceError) as caught:
        await world.auth.log_in(identifier, attempt)

    assert caught.value.reason == "CREDENTIALS_REFUSED"
    assert caught.value.message == CredentialsRefused().message
    assert caught.value.metadata == {}
    assert len(hasher.worked_on) == 1
    assert unit_of_work.transactions - before == 2
    assert unit_of_work.database.audit[-1].action == "login.failed"


async def test_a_password_is_exact(world, password):
    """Neither case nor trailing spaces are forgiven."""
    await world.registered()

    for attempt in (password.upper(), password + " ", password[:-1]):
        with pytest.raises(CredentialsRefused):
            await world.auth.log_in("ann", attempt)


async def test_what_was_typed_is_not_written_down(world, unit_of_work):
    """People type passwords into the name's field; the log must not keep them."""
    with pytest.raises(CredentialsRefused):
        await world.auth.log_in("my-secret-by-mistake", "x")

    assert "my-secret-by-mistake" not in repr(unit_of_work.database.audit)
