"""What happens at once, on real Postgres."""

import asyncio
import random

import pytest

from auth_service.domain.denial import DenialKind, deny
from auth_service.domain.errors import CredentialsRefused, EmailTaken, RefreshTokenReused
from auth_service.domain.password_policy import PasswordPolicy
from auth_service.usecases.bootstrap_administrator import BootstrapAdministrator
from auth_service.usecases.create_api_key import NewApiKey
from service_kit.testing.clock import FixedClock

WRITERS = 40


class TickingClock(FixedClock):
    """No two readings are alike, so that two rotations can't make the same token."""

    def now(self):
        self.advance(0.001)
        return super().now()


@pytest.fixture
def clock():
    return TickingClock()


async def test_one_hundred_refreshes_rotate_once(world, rows):
    """X-A6: the same token, a hundred times in parallel, gets one and the same token."""
    _, first = await world.registered()

    replies = await asyncio.gather(
        *(world.auth.refresh_tokens(first.refresh_token) for _ in range(100))
    )

    assert len({tokens.refresh_token for tokens in replies}) == 1
    assert await rows("SELECT counter, revoked_at FROM sessions") == [(1, None)]


async def test_one_hundred_reuses_revoke_once(world, rows, clock):
    """X-A6: an old token, a hundred times in parallel: one denial, one audit entry."""
    _, first = await world.registered()
    second = await world.auth.refresh_tokens(first.refresh_token)
    await world.auth.refresh_tokens(second.refresh_token)
    clock.advance(60)

    results = await asyncio.gather(
        *(world.auth.refresh_tokens(first.refresh_token) for _ in range(100)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, RefreshTokenReused) for result in results) == 1
    assert {result.reason for result in results} == {
        "REFRESH_TOKEN_REUSED", "REFRESH_TOKEN_REFUSED",
    }  # fmt: skip
    assert len(await world.list_denials(0)) == 1
    found = await rows("SELECT count(*) FROM audit_entries WHERE action = 'refresh_token.reused'")
    assert found == [(1,)]


async def test_one_address_makes_one_account(world, rows, password):
    """Registered twenty times at once, while logging in: one account, no other error."""

    async def register(number):
        return await world.registered("ann@example.org", username=f"ann{number}")

    results = await asyncio.gather(
        *(register(number) for number in range(20)),
        *(world.auth.log_in("ann@example.org", password) for _ in range(20)),
        return_exceptions=True,
    )

    registrations, logins = results[:20], results[20:]
    assert sum(not isinstance(result, Exception) for result in registrations) == 1
    assert sum(isinstance(result, EmailTaken) for result in registrations) == 19
    assert all(isinstance(one, (tuple, CredentialsRefused)) for one in logins)
    assert await rows("SELECT count(*) FROM users") == [(1,)]
    assert await rows("SELECT count(*) FROM projects") == [(1,)]


async def test_one_request_makes_one_project_and_one_key(world, rows):
    """A creation repeated at once, by a client that lost patience."""
    ann = await world.person()

    projects = await asyncio.gather(*(world.project(ann, "Research", "r1") for _ in range(20)))
    keys = await asyncio.gather(
        *(world.access.create_api_key(ann, NewApiKey("ci", request_id="r1")) for _ in range(20))
    )

    assert len({project.project_id for project in projects}) == 1
    assert len({created.key.key_id for created in keys}) == 1
    assert sum(bool(created.secret) for created in keys) == 1
    assert await rows("SELECT count(*) FROM projects WHERE NOT is_default") == [(1,)]


async def test_one_request_makes_one_team(world, rows):
    """A team that is asked for again before the first answer is in."""
    ann = await world.person()

    found = await asyncio.gather(
        *(world.teams.create_team(ann, "Weather", "r1") for _ in range(20))
    )

    assert len({one.membership.team.team_id for one in found}) == 1
    assert sum(one.created for one in found) == 1
    assert await rows("SELECT count(*) FROM teams") == [(1,)]
    assert await rows("SELECT role FROM team_members") == [("owner",)]
    assert await rows("SELECT count(*) FROM audit_entries WHERE action = 'team.created'") == [(1,)]


async def test_replicas_make_one_administrator(world, rows):
    """Ten that start at once."""
    parts = world.parts
    bootstrap = BootstrapAdministrator(
        parts.unit_of_work, parts.clock, parts.hasher, PasswordPolicy()
    )

    made = await asyncio.gather(*(bootstrap("a fine long password") for _ in range(10)))

    assert sum(made) == 1
    assert await rows("SELECT username, role FROM users") == [("admin", "super_admin")]


async def test_no_denial_is_missed(world, clock):
    """A verifier that polls while many write sees every denial, in order."""
    chance = random.Random(7)
    seen = []

    async def write(number, seconds):
        async with world.parts.unit_of_work() as work:
            denial = deny(
                DenialKind.KEY, str(number), clock.now(), world.settings.access_token_life
            )
            await work.denials.add(denial)
            # Committed late, while others take later numbers.
            await asyncio.sleep(seconds)

    async def poll():
        while len(seen) < WRITERS:
            seen.extend(await world.list_denials(seen[-1].sequence if seen else 0))

    writers = [write(number, chance.uniform(0, 0.02)) for number in range(WRITERS)]
    async with asyncio.timeout(20):
        await asyncio.gather(poll(), *writers)

    assert {denial.subject for denial in seen} == {str(number) for number in range(WRITERS)}
    assert [denial.sequence for denial in seen] == sorted({denial.sequence for denial in seen})
