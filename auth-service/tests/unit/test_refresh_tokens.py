"""Refreshing: rotation, lost replies, reuse (X-A6)."""

import asyncio

import pytest

from auth_service.domain.errors import RefreshTokenRefused, RefreshTokenReused
from auth_service.domain.refresh_token import parse_refresh_token


async def test_a_token_is_replaced(world):
    """New tokens of the same session, and the old one is no longer the newest."""
    _, first = await world.registered()

    second = await world.auth.refresh_tokens(first.refresh_token)
    third = await world.auth.refresh_tokens(second.refresh_token)

    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    caller = await (await world.verifier()).verify(third.access_token)
    assert caller.session_id == parse_refresh_token(first.refresh_token).session_id


async def test_a_lost_reply_is_survivable(world, clock):
    """The token before gets the very same current token, as often as it asks."""
    _, first = await world.registered()
    second = await world.auth.refresh_tokens(first.refresh_token)
    clock.advance(86_400)

    again = [await world.auth.refresh_tokens(first.refresh_token) for _ in range(3)]

    assert {tokens.refresh_token for tokens in again} == {second.refresh_token}


async def test_one_hundred_at_once_get_one_token(world):
    """Parallel refreshes with the same token rotate once."""
    _, first = await world.registered()

    replies = await asyncio.gather(
        *(world.auth.refresh_tokens(first.refresh_token) for _ in range(100))
    )

    assert len({tokens.refresh_token for tokens in replies}) == 1


async def test_reuse_closes_the_session(world, unit_of_work, clock):
    """An old token ends the session, denies its access tokens, and is audited."""
    account, first = await world.registered()
    clock.advance(60)
    second = await world.auth.refresh_tokens(first.refresh_token)
    third = await world.auth.refresh_tokens(second.refresh_token)

    with pytest.raises(RefreshTokenReused):
        await world.auth.refresh_tokens(first.refresh_token)

    session_id = parse_refresh_token(first.refresh_token).session_id
    with pytest.raises(RefreshTokenRefused):
        await world.auth.refresh_tokens(third.refresh_token)
    denials = await world.list_denials(0)
    assert [(denial.kind, denial.subject) for denial in denials] == [("session", session_id)]
    assert denials[0].expires_at > clock.now() + world.settings.access_token_life
    entry = unit_of_work.database.audit[-1]
    assert (entry.action, entry.user_id) == ("refresh_token.reused", account.user.user_id)
    assert (await world.auth.get_current_user(account.user.user_id)).active_sessions_count == 0


async def test_other_sessions_live_on(world, clock, password):
    """The end of one session is not the end of another."""
    _, first = await world.registered()
    _, other = await world.auth.log_in("ann", password)
    clock.advance(60)
    second = await world.auth.refresh_tokens(first.refresh_token)
    await world.auth.refresh_tokens(second.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await world.auth.refresh_tokens(first.refresh_token)

    assert await world.auth.refresh_tokens(other.refresh_token)


@pytest.mark.parametrize("text", ["", "x", "wr1_", "wr1_" + "A" * 79, "x" * 1_000_000, "ü"])
async def test_what_is_no_token_costs_no_query(world, unit_of_work, text):
    """Refused by its form alone."""
    before = unit_of_work.transactions

    with pytest.raises(RefreshTokenRefused):
        await world.auth.refresh_tokens(text)

    assert unit_of_work.transactions == before


async def test_an_access_token_refreshes_nothing(world):
    """Nor the other way round, see the token tests."""
    _, tokens = await world.registered()

    with pytest.raises(RefreshTokenRefused):
        await world.auth.refresh_tokens(tokens.access_token)


async def test_a_session_ends_with_its_life(world, clock):
    """After seven days without a refresh the token is refused."""
    _, tokens = await world.registered()
    clock.advance(7 * 86_400)

    with pytest.raises(RefreshTokenRefused):
        await world.auth.refresh_tokens(tokens.refresh_token)


async def test_a_new_secret_logs_nobody_out(make_world):
    """After REFRESH_TOKEN_SECRET changed, the last two tokens are still good for the next."""
    _, first = await make_world().registered()
    second = await make_world().auth.refresh_tokens(first.refresh_token)
    renewed = make_world(refresh_token_secret="another refresh secret, 9876543210")

    behind = await renewed.auth.refresh_tokens(first.refresh_token)
    third = await renewed.auth.refresh_tokens(second.refresh_token)

    assert behind.refresh_token not in (first.refresh_token, second.refresh_token)
    assert third.refresh_token == behind.refresh_token
