"""What somebody learns who has the database, or only time (X-A12, X-A17, X-A18)."""

import hashlib
import random
import statistics
import string
import time

import pytest
from sqlalchemy import event, text

from auth_service.adapters.argon2_hasher import Argon2Hasher
from auth_service.domain.errors import ApiKeyRefused, CredentialsRefused, RefreshTokenRefused
from auth_service.domain.refresh_token import RefreshTokenMint, parse_refresh_token
from auth_service.usecases.create_api_key import NewApiKey


@pytest.fixture
async def slow_hasher():
    async with Argon2Hasher() as hasher:
        yield hasher


@pytest.fixture
def dump(engine):
    """Read every row of every table as text, as a backup holds it."""

    async def read():
        async with engine.connect() as connection:
            tables = await connection.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            )
            found = []
            for table in tables.all():
                if table != "alembic_version":
                    found += await connection.scalars(
                        text(f'SELECT "{table}"::text FROM "{table}"')
                    )
        return "\n".join(found)

    return read


class TestDump:
    @pytest.fixture
    def hasher(self, slow_hasher):
        return slow_hasher

    async def test_a_dump_holds_no_usable_secret(self, world, dump, password):
        """Neither passwords nor tokens nor keys, in clear, in hex or in base64."""
        _, first = await world.registered()
        second = await world.auth.refresh_tokens(first.refresh_token)
        _, other = await world.auth.log_in("ann", password)
        created = await world.access.create_api_key(await world.person("b@c.org"), NewApiKey("ci"))
        with pytest.raises(CredentialsRefused):
            await world.auth.log_in("ann", "a mistyped password")

        everything = await dump()

        assert "ann@example.org" in everything
        assert created.key.prefix in everything
        assert "$argon2id$" in everything
        secrets = [password, "a mistyped password", created.secret, created.secret[3:-6]]
        for tokens in (first, second, other):
            proof = parse_refresh_token(tokens.refresh_token).proof
            secrets += [tokens.access_token, tokens.refresh_token, proof.hex()]
        for secret in secrets:
            assert secret not in everything
            assert secret.encode().hex() not in everything

    async def test_a_dump_makes_no_refresh_token(self, world, rows):
        """With every row at hand but not the secret, a thief's token is refused."""
        await world.registered()
        [row] = await rows("SELECT session_id, seed, counter, rotated_at FROM sessions")
        thief = RefreshTokenMint(b"")
        forged = thief.token(str(row.session_id), row.seed, row.counter, row.rotated_at)

        with pytest.raises(RefreshTokenRefused):
            await world.auth.refresh_tokens(forged.text)

    async def test_hashes_are_those_of_the_texts(self, world, rows):
        """SHA-256 of the text as the client holds it, of the last two tokens."""
        _, first = await world.registered()
        second = await world.auth.refresh_tokens(first.refresh_token)

        assert await rows("SELECT token_hash, previous_token_hash FROM sessions") == [
            tuple(
                hashlib.sha256(tokens.refresh_token.encode()).digest() for tokens in (second, first)
            )
        ]


async def test_a_hundred_thousand_guesses_cost_no_query(world, engine):
    """X-A17: random keys of the right form never reach the database (seed 17)."""
    queries = []
    event.listen(engine.sync_engine, "checkout", lambda *_: queries.append("checkout"))
    event.listen(
        engine.sync_engine, "before_cursor_execute", lambda *given: queries.append(given[2])
    )
    chance = random.Random(17)
    alphabet = string.digits + string.ascii_letters

    for _ in range(100_000):
        with pytest.raises(ApiKeyRefused):
            await world.access.exchange_api_key("sk-" + "".join(chance.choices(alphabet, k=49)))

    assert queries == []


class TestTime:
    @pytest.fixture
    def hasher(self, slow_hasher):
        return slow_hasher

    async def test_an_unknown_name_takes_as_long(self, world):
        """X-A12: an unknown name costs a hash, too; without one it would be ten times faster.

        How near the medians are is a matter of a quiet machine, not of a test among others.
        """
        await world.registered()
        spent = {"ann": [], "nobody": []}
        for _ in range(20):
            for name, times in spent.items():
                begun = time.perf_counter()
                with pytest.raises(CredentialsRefused):
                    await world.auth.log_in(name, "wrong password")
                times.append(time.perf_counter() - begun)

        known, unknown = (statistics.median(times) for times in spent.values())
        assert 0.5 < unknown / known < 2
