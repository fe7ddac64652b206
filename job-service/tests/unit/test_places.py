"""How many jobs run at once is found by trying."""

import pytest

from job_service.usecases.dispatch_jobs import MOST_QUIET_SECONDS, QUIET_SECONDS, Places
from service_kit.testing.clock import FixedClock


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def full(clock):
    """One long job runs, and for a second one there was no room."""
    places = Places(8, clock)
    places.taken = 2
    places.found_no_capacity()
    places.taken = 1
    return places


def seconds_until_tried(places, clock):
    """Return how long nothing more is tried, to a tenth of a second."""
    for tenth in range(1000):
        places.try_one_more()
        if places.free:
            return tenth / 10
        clock.advance(0.1)
    raise AssertionError("Nothing was tried.")


def test_long_job_holds_back_nobody(full, clock):
    """What came free elsewhere is found, though nothing completes; then one more each second."""
    tried_after = []
    for _ in range(3):
        tried_after.append(seconds_until_tried(full, clock))
        full.taken += full.free

    assert tried_after == pytest.approx([QUIET_SECONDS] * 3, abs=0.11)
    assert full.taken == full.limit == 4


def test_full_router_is_asked_less_often_each_time(full, clock):
    pauses = []
    for _ in range(7):
        pauses.append(seconds_until_tried(full, clock))
        full.taken += 1
        full.found_no_capacity()
        full.taken -= 1

    expected = [1, 2, 4, 8, 16, MOST_QUIET_SECONDS, MOST_QUIET_SECONDS]
    assert pauses == pytest.approx(expected, abs=0.11)


def test_completed_job_ends_the_long_pauses(full, clock):
    """Also the one that is under way."""
    for _ in range(5):
        seconds_until_tried(full, clock)
        full.found_no_capacity()
    full.found_capacity()

    assert seconds_until_tried(full, clock) == pytest.approx(QUIET_SECONDS, abs=0.11)
    full.taken += 1
    full.found_no_capacity()
    full.taken -= 1
    assert seconds_until_tried(full, clock) == pytest.approx(QUIET_SECONDS, abs=0.11)


def test_refusals_of_one_round_count_once(clock):
    places = Places(100, clock)
    places.taken = 100
    for _ in range(96):
        places.found_no_capacity()
        places.taken -= 1

    assert places.limit == places.taken == 4
    assert seconds_until_tried(places, clock) == pytest.approx(QUIET_SECONDS, abs=0.11)


def test_nothing_more_is_tried_than_there_may_be(clock):
    places = Places(8, clock)
    places.taken = 8
    clock.advance(60)
    places.try_one_more()

    assert (places.limit, places.free) == (8, 0)
