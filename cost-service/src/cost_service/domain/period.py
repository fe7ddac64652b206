"""What a cap is for: a month, a day, or all time. The database's clock names it, in UTC."""

from __future__ import annotations

from enum import StrEnum


class PeriodKind(StrEnum):
    """How long a cap lasts, in the order in which a scope's rows are locked."""

    MONTHLY = "monthly"
    DAILY = "daily"
    TOTAL = "total"
