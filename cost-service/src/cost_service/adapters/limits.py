"""SQL that says which caps hold for which periods: one wording for all who admit and book.

Named parameters: `kinds` and `ids`, the scopes, in parallel; in `ALERTED` those of
`ALERT_LEVELS`.
"""

from __future__ import annotations

from typing import Final

from cost_service.domain.budget import LEVELS

# The month and day in which the transaction began, in UTC by the database's clock.
PERIOD_NOW: Final = "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')"
DAY_NOW: Final = "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


def periods(month: str, day: str) -> str:
    """Return the three periods `p` that something may belong to, one of each kind."""
    return (
        f"(VALUES ('monthly', {month}), ('daily', {day}), ('total', 'total')) "
        "AS p(period_kind, period)"
    )


PERIODS_NOW: Final = periods(PERIOD_NOW, DAY_NOW)


def wanted(some_periods: str, *, needs_month: str = "w.scope_kind <> 'api_key'") -> str:
    """Return FROM and WHERE of each scope `w` in each period `p` that bounds it.

    `a` or `c` is the cap that is set; neither is there for a monthly budget that is needed and
    missing.
    """
    return f"""
        FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS w(scope_kind, scope_id)
        CROSS JOIN {some_periods}
        LEFT JOIN allocations a
               ON a.scope_kind = w.scope_kind AND a.scope_id = w.scope_id
              AND w.scope_kind = 'project' AND p.period_kind = 'monthly'
        LEFT JOIN caps c
               ON c.scope_kind = w.scope_kind AND c.scope_id = w.scope_id
              AND c.period_kind = p.period_kind AND c.cap_nanousd IS NOT NULL
        WHERE a.scope_id IS NOT NULL OR c.scope_id IS NOT NULL
           OR (p.period_kind = 'monthly' AND {needs_month})"""


# Of `charged(budget_id, cap_nanousd, posted_nanousd, charged)`, rows after a charge: the levels
# that the charge crossed. The budget's row is locked, so no two charges cross the same one. A cap
# that was taken away has nothing to tell of what is settled under it.
ALERTED: Final = """
    alerted AS (
        INSERT INTO budget_alerts (budget_id, level, cap_nanousd, posted_nanousd)
        SELECT c.budget_id, l.level, c.cap_nanousd, c.posted_nanousd
        FROM charged c
        CROSS JOIN unnest(CAST(:alert_levels AS text[]), CAST(:alert_percents AS bigint[]))
            AS l(level, percent)
        WHERE (CAST(c.posted_nanousd AS numeric) - c.charged) * 100
              < CAST(c.cap_nanousd AS numeric) * l.percent
          AND CAST(c.posted_nanousd AS numeric) * 100
              >= CAST(c.cap_nanousd AS numeric) * l.percent
          AND (SELECT s.cap_nanousd IS NULL
               FROM budgets b JOIN caps s USING (scope_kind, scope_id, period_kind)
               WHERE b.budget_id = c.budget_id) IS NOT TRUE
        ORDER BY c.budget_id, l.percent
        ON CONFLICT (budget_id, level, cap_nanousd) DO NOTHING
        RETURNING *
    )"""
ALERT_LEVELS: Final = {
    "alert_levels": [level.value for level in LEVELS],
    "alert_percents": list(LEVELS.values()),
}
