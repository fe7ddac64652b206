"""X-P4: whatever goes wrong once a paid provider has the prompt, nobody else gets it too.

A few in `make test`; 1,000 in `make test-chaos`, with WEIR_TEST_SCALE=40.
"""

import asyncio
import os
import random
from collections import Counter

import pytest

from .test_yotta import HARD, go_on, yotta

__all__ = ["yotta"]  # a fixture

PROMPTS = 25 * int(os.environ.get("WEIR_TEST_SCALE", "1"))
AT_ONCE = 50
SEED = 4


@pytest.fixture
def router_settings(provider):
    return {
        "yotta_url": provider.url,
        "yotta_slots": AT_ONCE,
        "yotta_first_byte_seconds": 0.5,
        "yotta_idle_seconds": 0.5,
        # Left to itself it would keep most prompts away from the provider.
        "breaker_failures": 1000,
        "breaker_window_seconds": 0.1,
    }


def ways_to_fail(say):
    """Return what a provider may do with a prompt that it took: it may have run all of it."""
    return [
        say.nothing,
        say.hang_up,
        say.status(500),
        say.status(502, b"upstream prematurely closed connection"),
        say.status(504),
        say.status(408),
        say.status(200, b"<html></html>"),
        say.stream(),
        say.stream(hangs=True),
        say.stream(say.chunk("a"), hangs=True),
        say.stream(say.chunk("a"), is_cut=True),
    ]


@pytest.mark.timeout(300)
async def test_no_prompt_is_paid_twice(execute, start_worker, yotta, provider, say):
    """One dispatch, never released; the worker beside it, which has room, gets none of them."""
    worker = await start_worker(model_name="small", engine_slots=AT_ONCE)
    provider.does(*random.Random(SEED).choices(ways_to_fail(say), k=PROMPTS))
    places = asyncio.Semaphore(AT_ONCE)

    async def run(number):
        async with places:
            return await go_on(await execute(f"j{number}", text=HARD))

    runs = await asyncio.gather(*(run(number) for number in range(PROMPTS)))

    for kinds, _, error in runs:
        assert kinds[:2] == ["RouteDecision", "Dispatching"]
        assert set(kinds[2:]) <= {"Started", "Delta"}
        assert error.reason == "EXECUTION_FAILED"
    taken = Counter(request.headers["x-client-request-id"] for request in provider.prompts)
    assert taken == dict.fromkeys((f"j{number}-1-1" for number in range(PROMPTS)), 1)
    assert await worker.prompts() == 0
