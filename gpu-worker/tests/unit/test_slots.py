"""Slots: taken without waiting."""

import asyncio

import pytest

from gpu_worker.domain.errors import WorkerBusy, WorkerDraining
from gpu_worker.usecases.slots import Slots


def test_full_worker_is_busy():
    """The last slot is given once, and again when it is free."""
    slots = Slots(1)
    with slots.taken():
        with pytest.raises(WorkerBusy) as caught, slots.taken():
            pass
        assert caught.value.retry_after.total_seconds() > 0
    with slots.taken():
        assert slots.busy == 1
    assert slots.busy == 0


def test_failure_frees_the_slot():
    """Whatever happens in it, a slot comes back."""
    slots = Slots(1)
    with pytest.raises(RuntimeError), slots.taken():
        raise RuntimeError

    assert slots.busy == 0


async def test_draining_takes_nothing_and_ends_when_idle():
    """What runs goes on; the wait is over with the last prompt."""
    slots = Slots(2)
    with slots.taken():
        slots.drain()
        with pytest.raises(WorkerDraining), slots.taken():
            pass
        waiting = asyncio.create_task(slots.wait_until_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
