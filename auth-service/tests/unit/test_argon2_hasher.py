"""Password hashing: strong, bounded, and the same work for nobody."""

import asyncio

import pytest

from auth_service.adapters.argon2_hasher import Argon2Hasher
from service_kit.errors import Unavailable


@pytest.fixture
async def hasher():
    async with Argon2Hasher(threads=2) as hasher:
        yield hasher


async def test_a_hash_carries_its_parameters(hasher):
    """argon2id, 19 MiB, two passes, one lane."""
    hashed = await hasher.hash("correct horse")

    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await hasher.verify(hashed, "correct horse")
    assert not await hasher.verify(hashed, "correct horse ")


@pytest.mark.parametrize("password", ["x" * 72 + "a", "ü" * 500, "with\0nul"])
async def test_every_byte_counts(hasher, password):
    """Nothing is cut off at 72 bytes or at NUL."""
    hashed = await hasher.hash(password)

    assert await hasher.verify(hashed, password)
    assert not await hasher.verify(hashed, password[:-1] + "b")


async def test_nobody_has_no_password(hasher):
    """Without a hash the answer is no, whatever is tried."""
    assert not await hasher.verify(None, "")
    assert not await hasher.verify(None, "correct horse")


async def test_a_flood_is_refused_rather_than_queued():
    """X-A15: the queue has an end, and is free again afterwards."""
    async with Argon2Hasher(threads=1, waiting_per_thread=3) as hasher:
        results = await asyncio.gather(
            *(hasher.verify(None, "guess") for _ in range(20)), return_exceptions=True
        )

        assert results.count(False) == 4
        assert sum(isinstance(result, Unavailable) for result in results) == 16
        assert await hasher.hash("one more")


async def test_who_gives_up_leaves_the_queue():
    """A cancelled caller makes room for another."""
    async with Argon2Hasher(threads=1, waiting_per_thread=1) as hasher:
        working = asyncio.create_task(hasher.hash("first"))
        waiting = asyncio.create_task(hasher.hash("second"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)

        assert await hasher.hash("third")
        assert await working
