"""How often a queue is counted: seldom while it is far from full, else at every submit."""

from types import SimpleNamespace

import pytest

from job_service.domain.errors import QueueFull
from job_service.usecases.check_queue_room import CheckQueueRoom
from service_kit.testing.clock import FixedClock

CAP = 20_000
NEAR = 18_000


class Queue:
    """So many wait; what it is asked is noted."""

    def __init__(self, waiting):
        self.waiting = waiting
        self.counted = self.locked = 0

    async def count(self, project_id, at_most):
        self.counted += 1
        return min(self.waiting, at_most)

    async def lock(self, project_id):
        self.locked += 1


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def check(clock):
    return CheckQueueRoom(CAP, clock)


async def submit(check, queue, project_id="p1"):
    await check(SimpleNamespace(queue=queue), project_id)


async def test_far_from_full_is_counted_once_a_second(check, clock):
    """And nobody waits for anybody."""
    queue = Queue(NEAR - 1)
    for _ in range(2):
        for _ in range(50):
            await submit(check, queue)
        clock.advance(1)
    assert (queue.counted, queue.locked) == (2, 0)


async def test_near_the_cap_each_submit_is_counted_alone(check):
    queue = Queue(NEAR)
    for _ in range(5):
        await submit(check, queue)
    assert queue.locked == 5


async def test_cap_is_the_most_that_may_wait(check):
    await submit(check, Queue(CAP - 1))
    full = Queue(CAP)
    with pytest.raises(QueueFull):
        await submit(check, full)
    # Whoever floods it makes nobody wait.
    assert full.locked == 0


async def test_small_cap_is_always_exact(clock):
    check, queue = CheckQueueRoom(1000, clock), Queue(0)
    for _ in range(3):
        await submit(check, queue)
    assert queue.locked == 3


async def test_each_project_is_counted_by_itself(check):
    few, many = Queue(0), Queue(CAP)
    await submit(check, few, "p1")
    with pytest.raises(QueueFull):
        await submit(check, many, "p2")
    await submit(check, few, "p1")
    assert few.counted == 1
