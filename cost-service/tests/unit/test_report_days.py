"""For which time something is reported."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from cost_service.domain.report_days import checked_period_days, day_range
from service_kit.errors import InvalidArgument

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(("asked", "days"), [(0, 30), (1, 1), (366, 366)])
def test_periods(asked, days):
    """1 to 366 days are taken as they are; 0 is the default."""
    assert checked_period_days(asked) == days


@pytest.mark.parametrize("asked", [-1, 367])
def test_impossible_periods(asked):
    """No other length is a period."""
    with pytest.raises(InvalidArgument):
        checked_period_days(asked)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("", "", ("2026-10-24", "2026-11-22")),
        ("2026-11-22", "", ("2026-11-22", "2026-11-22")),
        ("", "2024-03-01", ("2024-02-01", "2024-03-01")),
        ("2024-01-01", "2024-12-31", ("2024-01-01", "2024-12-31")),
        ("", "0001-01-02", ("0001-01-01", "0001-01-02")),
    ],
)
def test_days(first, last, expected):
    """Both days are included; left out, they are the last 30 days up to today."""
    found = day_range(first, last, TODAY)

    assert (found.first.isoformat(), found.last.isoformat()) == expected


def test_days_begin_and_end_at_midnight_utc():
    """A range holds every moment of its days and no other."""
    found = day_range("2026-03-28", "2026-03-29", TODAY)

    assert found.begins_at == datetime(2026, 3, 28, tzinfo=UTC)
    assert found.ends_before == datetime(2026, 3, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        ("2026-11-23", "", "first_day"),
        ("2025-11-21", "", "first_day"),
        ("2026-02-29", "", "first_day"),
        ("", "2026-13-01", "last_day"),
        ("", "9999-12-31", "last_day"),
        ("", "20261122", "last_day"),
        ("2026-11-2\0", "", "first_day"),
        ("٢٠٢٦-11-22", "", "first_day"),
    ],
)
def test_impossible_days(first, last, field):
    """What is no day, the wrong order, and more than 366 days are refused by name."""
    with pytest.raises(InvalidArgument) as refused:
        day_range(first, last, TODAY)

    assert refused.value.metadata["field"] == field
