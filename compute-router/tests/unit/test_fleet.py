"""The fleet: leases, the registry, and what happens without it."""

from datetime import timedelta

import pytest

from compute_router.domain.errors import ForeignWorkerId
from compute_router.usecases.deregister_worker import DeregisterWorker
from compute_router.usecases.ports import StoredWorker
from compute_router.usecases.read_registry import ReadRegistry
from compute_router.usecases.register_worker import RegisterWorker
from compute_router.usecases.worker_fleet import GRACE_SECONDS

LEASE = timedelta(seconds=10)


@pytest.fixture
def register(fleet, store):
    return RegisterWorker(fleet, store, LEASE)


async def test_registration_reaches_fleet_and_registry(register, fleet, store, make_worker):
    """One announcement, known here at once and to the other routers by the registry."""
    assert await register("w1", make_worker()) == LEASE

    assert fleet.workers() == [make_worker()]
    assert store.workers["w1"] == StoredWorker(make_worker(), LEASE)


@pytest.mark.parametrize("certified", ["", "w2", "W1"])
async def test_foreign_name_is_refused(register, fleet, store, make_worker, certified):
    """Only the certificate's own name may be announced, or taken out."""
    with pytest.raises(ForeignWorkerId):
        await register(certified, make_worker("w1"))
    with pytest.raises(ForeignWorkerId):
        await DeregisterWorker(fleet, store)(certified, "w1")

    assert not fleet.workers()


async def test_registration_without_registry_holds_here(register, fleet, store, make_worker):
    """Redis is scratch: its absence refuses nothing."""
    store.away = True

    await register("w1", make_worker())
    assert fleet.workers()

    await DeregisterWorker(fleet, store)("w1", "w1")
    assert not fleet.workers()


def test_lease_ends(fleet, clock, make_worker):
    """A worker that says nothing is out after its lease."""
    fleet.announce(make_worker(), LEASE)
    clock.advance(9.9)
    assert fleet.workers()
    clock.advance(0.2)
    assert not fleet.workers()


async def test_workers_of_others_are_read(fleet, store, make_worker, clock):
    """What another router wrote counts here, for as long as it holds there."""
    await store.save(make_worker("w9"), timedelta(seconds=3))

    await ReadRegistry(fleet, store)()

    assert [worker.worker_id for worker in fleet.workers()] == ["w9"]
    clock.advance(3.1)
    assert not fleet.workers()


async def test_wiped_registry_takes_no_worker_away(register, fleet, store, make_worker):
    """FLUSHALL: the worker stays until its lease is over, and is renewed before."""
    await register("w1", make_worker())
    store.workers.clear()

    await ReadRegistry(fleet, store)()

    assert fleet.workers()


async def test_absent_registry_lets_workers_outlive_their_lease(
    register, fleet, store, make_worker, clock
):
    """Nobody could renew through it; gone workers show when they are called."""
    await register("w1", make_worker())
    store.away = True

    await ReadRegistry(fleet, store)()

    clock.advance(GRACE_SECONDS)
    assert fleet.workers()
    clock.advance(11)
    assert not fleet.workers()


async def test_registry_that_is_back_empty_gives_workers_time(
    register, fleet, store, make_worker, clock
):
    """Workers have to renew before they are forgotten, not after."""
    await register("w1", make_worker())
    read = ReadRegistry(fleet, store)
    store.away = True
    await read()
    clock.advance(60)

    store.away = False
    store.workers.clear()
    await read()

    assert not fleet.registry_away
    assert fleet.workers()
    clock.advance(6)
    await read()
    assert not fleet.workers()


async def test_same_beat_read_again_changes_no_count(fleet, store, make_worker, clock):
    """The registry repeats a report until the next beat: it is as old as it was."""
    fleet.announce(make_worker(slots_busy=0), LEASE)
    with fleet.running("w1"):
        await store.save(make_worker(slots_busy=0), LEASE)
        await ReadRegistry(fleet, store)()
        (load,) = fleet.loads()
        assert load.slots_busy == 1

        clock.advance(3)
        fleet.announce(make_worker(slots_busy=1), LEASE)
        (load,) = fleet.loads()
        assert load.slots_busy == 1


def test_aside_is_for_a_moment(fleet, clock, make_worker):
    """A worker that could not be reached is tried again later."""
    fleet.announce(make_worker(), LEASE)
    fleet.put_aside("w1", 2)
    assert not fleet.workers()
    clock.advance(2)
    assert fleet.workers()


def test_leaving_worker_gets_nothing(fleet, make_worker):
    """A worker that says it drains is known and left alone."""
    fleet.announce(make_worker(draining=True), LEASE)

    assert not fleet.workers()


def test_running_is_counted_per_worker(fleet, make_worker):
    """Also when the prompt fails."""
    fleet.announce(make_worker(), LEASE)
    with fleet.running("w1"), fleet.running("w1"):
        assert fleet.loads()[0].running_here == 2
    with pytest.raises(RuntimeError), fleet.running("w1"):
        raise RuntimeError

    assert fleet.loads()[0].running_here == 0
