"""When periodic work is due."""

from datetime import UTC, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit.schedule import DailyAt, Every

moments = st.timedeltas(timedelta(days=-4000), timedelta(days=80_000)).map(
    lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since
)
schedules = st.one_of(
    st.builds(Every, st.timedeltas(timedelta(milliseconds=1), timedelta(days=40))),
    st.builds(DailyAt, st.times().map(lambda at: at.replace(second=0, microsecond=0))),
)


@given(schedules, moments)
def test_now_lies_between_two_due_times(schedule, now):
    """The latest one is not after now, the next one is, and none is between them."""
    latest, following = schedule.latest_due(now), schedule.next_due(now)

    assert latest <= now < following
    assert schedule.latest_due(following) == following
    assert schedule.latest_due(following - timedelta(microseconds=1)) == latest


@given(schedules, moments, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_due_times_depend_on_the_moment_alone(schedule, now, later):
    """Replicas that look at other moments of one period agree, and none goes back."""
    assert schedule.latest_due(schedule.latest_due(now)) == schedule.latest_due(now)
    assert schedule.latest_due(now) <= schedule.latest_due(now + later)


@given(st.timedeltas(timedelta(milliseconds=1), timedelta(days=40)), moments)
def test_intervals_are_aligned_to_the_epoch(interval, now):
    """Every due time is a whole number of intervals away from 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    assert (Every(interval).latest_due(now) - epoch) % interval == timedelta(0)


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        (datetime(2026, 3, 29, 1, 59, 59, 999999, UTC), datetime(2026, 3, 28, 2, tzinfo=UTC)),
        (datetime(2026, 3, 29, 2, 0, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC)),
        (datetime(2026, 3, 29, 23, 59, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC)),
        (datetime(2027, 1, 1, 0, 30, tzinfo=UTC), datetime(2026, 12, 31, 2, tzinfo=UTC)),
        # 01:30 in the east is 23:30 of the day before in UTC.
        (
            datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=2))),
            datetime(2026, 3, 28, 2, tzinfo=UTC),
        ),
    ],
)
def test_daily_at_two_in_utc(now, latest):
    """The boundary belongs to the new day; a change to summer time moves nothing."""
    assert DailyAt(time(2, 0)).latest_due(now) == latest


def test_schedules_say_what_they_are():
    """For people who read the list of tasks."""
    assert str(Every(timedelta(minutes=5))) == "every 300 s"
    assert str(DailyAt(time(2, 0))) == "daily at 02:00 UTC"


@pytest.mark.parametrize("interval", [timedelta(0), timedelta(seconds=-1)])
def test_an_interval_takes_time(interval):
    """Nothing is due all the time."""
    with pytest.raises(ValueError):
        Every(interval)
