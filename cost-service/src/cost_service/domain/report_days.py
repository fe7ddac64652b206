"""For which time something is reported. Days are those of UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from service_kit.errors import InvalidArgument

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 366

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def checked_period_days(period_days: int) -> int:
    """Return the length of a period in days; 0 means 30.

    Raises:
        InvalidArgument: It is not 1 to 366.
    """
    days = period_days or DEFAULT_DAYS
    if not 1 <= days <= MAX_DAYS:
        raise InvalidArgument("period_days", f"The period must be 1 to {MAX_DAYS} days.")
    return days


@dataclass(frozen=True, slots=True)
class DayRange:
    """From one day to another, both included."""

    first: date
    last: date

    @property
    def begins_at(self) -> datetime:
        """The first moment of the first day."""
        return datetime.combine(self.first, time(), UTC)

    @property
    def ends_before(self) -> datetime:
        """The first moment that is not in the last day any more."""
        return self.begins_at + timedelta(days=(self.last - self.first).days + 1)


def day_range(first: str, last: str, today: date) -> DayRange:
    """Return the days from `first` to `last`, each `YYYY-MM-DD`.

    Without a last day it is today; without a first one, 29 days before the last.

    Raises:
        InvalidArgument: One is no day, they are in the wrong order, or more than 366.
    """
    last_day = _day("last_day", last) if last else today
    if first:
        first_day = _day("first_day", first)
    else:
        first_day = date.fromordinal(max(1, last_day.toordinal() - DEFAULT_DAYS + 1))
    if first_day > last_day:
        raise InvalidArgument("first_day", "The first day must not be after the last.")
    if (last_day - first_day).days >= MAX_DAYS:
        raise InvalidArgument("first_day", f"There may be at most {MAX_DAYS} days.")
    if last_day == date.max:
        raise InvalidArgument("last_day", "There is no day after this one.")
    return DayRange(first_day, last_day)


def _day(field: str, text: str) -> date:
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise InvalidArgument(field, "There is no such day.") from error
    raise InvalidArgument(field, "A day is written YYYY-MM-DD.")
