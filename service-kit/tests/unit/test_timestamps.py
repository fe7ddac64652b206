"""Moments on their way through protobuf."""

from datetime import UTC, datetime, timedelta, timezone

from service_kit.timestamps import timestamp

MOMENT = datetime(2026, 9, 1, 12, 30, 15, 123456, tzinfo=UTC)


def test_a_moment_comes_back_to_the_microsecond():
    """Wherever its clock hung."""
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))

    assert timestamp(MOMENT).ToDatetime(tzinfo=UTC) == MOMENT
    assert timestamp(elsewhere) == timestamp(MOMENT)


def test_no_moment_leaves_the_field_out():
    assert timestamp(None) is None
