"""API keys: made once, shown once, exchanged for a token of a minute."""

from datetime import timedelta

import pytest

from auth_service.domain.api_key import new_secret
from auth_service.domain.errors import ApiKeyRefused, ProjectNotFound
from auth_service.domain.permissions import ApiKeyScope, ProjectRole
from auth_service.usecases.create_api_key import NewApiKey
from service_kit.errors import InvalidArgument, PermissionDenied


async def test_a_key_is_exchanged_for_an_internal_token(world, clock):
    """The token says whose key it is, of which project, for what, and lives a minute."""
    ann = await world.person()
    scopes = [ApiKeyScope.INFERENCE, ApiKeyScope.READ, ApiKeyScope.INFERENCE]
    created = await world.access.create_api_key(ann, NewApiKey("ci", scopes=scopes))

    token = await world.access.exchange_api_key(created.secret)
    caller = await (await world.verifier()).verify(token.text)

    assert token.expires_at == clock.now() + timedelta(seconds=60)
    assert (caller.kind, caller.user_id) == ("api_key", ann.user_id)
    assert (caller.key_id, caller.project_id) == (created.key.key_id, created.key.project_id)
    assert caller.scopes == {"read", "inference"}


async def test_a_key_reads_by_default(world):
    """Without scopes a key may read; its prefix tells it apart."""
    created = await world.access.create_api_key(await world.person(), NewApiKey("ci"))

    assert created.key.scopes == (ApiKeyScope.READ,)
    assert created.secret.startswith(created.key.prefix)
    assert created.secret not in repr(created)


async def test_the_secret_is_shown_once(world, unit_of_work):
    """The same request id returns the key without its secret, and makes no second one."""
    ann = await world.person()

    first = await world.access.create_api_key(ann, NewApiKey("ci", request_id="r1"))
    again = await world.access.create_api_key(ann, NewApiKey("other", request_id="r1"))

    assert again.key == first.key
    assert (bool(first.secret), again.secret) == (True, "")
    assert len(unit_of_work.database.api_keys) == 1
    created = [one for one in unit_of_work.database.audit if one.action == "api_key.created"]
    assert len(created) == 1


async def test_a_request_id_belongs_to_one_project(world):
    """Repeated for another project, it is refused rather than answered with a foreign key."""
    ann = await world.person()
    project = await world.project(ann, "Research", "")
    await world.access.create_api_key(ann, NewApiKey("ci", request_id="r1"))

    with pytest.raises(InvalidArgument):
        await world.access.create_api_key(ann, NewApiKey("ci", project.project_id, request_id="r1"))


async def test_a_guess_costs_no_query(world, unit_of_work):
    """X-A17: a key with a wrong checksum is refused before the database is asked."""
    before = unit_of_work.transactions

    for guess in ("", "sk-", "sk-" + "a" * 49, "x" * 1_000_000, new_secret()[:-1] + "!"):
        with pytest.raises(ApiKeyRefused):
            await world.access.exchange_api_key(guess)

    assert unit_of_work.transactions == before


async def test_refusals_read_alike(world, unit_of_work, clock):
    """Mistyped, unknown, expired, deleted, owner gone: one message."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    unit_of_work.database.members[project.project_id, ben.user_id] = ProjectRole.MANAGER
    ends = clock.now() + timedelta(hours=1)
    expired = await world.access.create_api_key(ann, NewApiKey("a", expires_at=ends))
    deleted = await world.access.create_api_key(ann, NewApiKey("b"))
    orphan = await world.access.create_api_key(ben, NewApiKey("c", project.project_id))
    keys = unit_of_work.database.api_keys
    keys[deleted.key.key_id] = deleted.key.deleted(clock.now())
    del unit_of_work.database.members[project.project_id, ben.user_id]
    clock.advance(3600)

    messages = set()
    for secret in (expired.secret, deleted.secret, orphan.secret, new_secret(), "sk-x"):
        with pytest.raises(ApiKeyRefused) as caught:
            await world.access.exchange_api_key(secret)
        messages.add((caught.value.reason, caught.value.message))
    assert len(messages) == 1


async def test_a_token_does_not_outlive_its_key(world, clock):
    """A key with half a minute to live gives tokens of half a minute."""
    ends = clock.now() + timedelta(seconds=30)
    created = await world.access.create_api_key(
        await world.person(), NewApiKey("ci", expires_at=ends)
    )

    assert (await world.access.exchange_api_key(created.secret)).expires_at == ends


async def test_use_is_remembered_once_a_minute(world, unit_of_work, clock, start):
    """`last_used_at` follows the use, without a write for every request."""
    created = await world.access.create_api_key(await world.person(), NewApiKey("ci"))
    seen = []
    for _ in range(3):
        await world.access.exchange_api_key(created.secret)
        seen.append(unit_of_work.database.api_keys[created.key.key_id].last_used_at)
        clock.advance(30)

    assert seen == [start, start, start + timedelta(seconds=60)]


async def test_only_who_may_makes_keys(world, unit_of_work):
    """A developer of the project may not; a stranger does not see it."""
    ann, ben = await world.person(), await world.person("ben@example.org")
    project = await world.project(ann, "Research", "")
    wanted = NewApiKey("ci", project.project_id)

    with pytest.raises(ProjectNotFound):
        await world.access.create_api_key(ben, wanted)
    unit_of_work.database.members[project.project_id, ben.user_id] = ProjectRole.DEVELOPER
    with pytest.raises(PermissionDenied):
        await world.access.create_api_key(ben, wanted)
    unit_of_work.database.members[project.project_id, ben.user_id] = ProjectRole.MANAGER
    assert await world.access.create_api_key(ben, wanted)


async def test_a_key_is_not_born_dead(world, clock):
    """An end in the past, or now, is refused."""
    with pytest.raises(InvalidArgument):
        await world.access.create_api_key(
            await world.person(), NewApiKey("ci", expires_at=clock.now())
        )
