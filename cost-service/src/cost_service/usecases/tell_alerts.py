"""Tell operators of budgets that came to a level of their cap."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from cost_service.domain.budget_alert import BudgetAlert
from cost_service.usecases.ports import CostMeter

log = structlog.get_logger(__name__)


def tell_alerts(meter: CostMeter, alerts: Iterable[BudgetAlert]) -> None:
    """Count and log alerts that were stored; the metric names no tenant, the log does."""
    for alert in alerts:
        meter.budget_alerted(alert.level)
        log.warning(
            "budget.alert",
            status=alert.level,
            scope_kind=alert.scope.kind,
            scope_id=alert.scope.scope_id,
            period=alert.period,
            cap_nanousd=alert.cap_nanousd,
            posted_nanousd=alert.posted_nanousd,
        )
