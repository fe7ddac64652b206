"""Daily and total budgets, caps of teams and keys, top-ups, and alerts.

Only adds: a replica of before goes on making monthly rows, which are what it means.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCOPE_KINDS = "scope_kind IN ('project', 'team', 'api_key')"
PERIOD_KINDS = "period_kind IN ('monthly', 'daily', 'total')"


def upgrade() -> None:
    add_periods()
    create_caps()
    create_top_ups()
    create_alerts()
    refuse_changes("budget_top_ups")
    refuse_changes("budget_alerts")


def add_periods() -> None:
    op.add_column(
        "budgets",
        sa.Column("period_kind", sa.Text, nullable=False, server_default=sa.text("'monthly'")),
    )
    op.drop_constraint("ck_budgets_period_is_month", "budgets")
    op.create_check_constraint(
        "ck_budgets_period_is_of_its_kind",
        "budgets",
        "CASE period_kind WHEN 'monthly' THEN period ~ '^[0-9]{4}-[0-9]{2}$' "
        "WHEN 'daily' THEN period ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' "
        "ELSE period_kind = 'total' AND period = 'total' END",
    )


def create_caps() -> None:
    op.create_table(
        "caps",
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("period_kind", sa.Text, nullable=False),
        sa.Column("cap_nanousd", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", "period_kind", name="pk_caps"),
        sa.CheckConstraint(SCOPE_KINDS, name="ck_caps_scope_kind_known"),
        sa.CheckConstraint(PERIOD_KINDS, name="ck_caps_period_kind_known"),
        sa.CheckConstraint("cap_nanousd >= 0", name="ck_caps_cap_not_negative"),
        sa.CheckConstraint(
            "scope_kind <> 'project' OR period_kind <> 'monthly'", name="ck_caps_is_no_allocation"
        ),
    )


def create_top_ups() -> None:
    op.create_table(
        "budget_top_ups",
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("period_kind", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("amount_nanousd", sa.BigInteger, nullable=False),
        sa.Column("cap_nanousd", sa.BigInteger, nullable=False),
        sa.Column("reserved_nanousd", sa.BigInteger, nullable=False),
        sa.Column("posted_nanousd", sa.BigInteger, nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", "request_id", name="pk_budget_top_ups"),
        sa.CheckConstraint(SCOPE_KINDS, name="ck_budget_top_ups_scope_kind_known"),
        sa.CheckConstraint(PERIOD_KINDS, name="ck_budget_top_ups_period_kind_known"),
        sa.CheckConstraint("amount_nanousd > 0", name="ck_budget_top_ups_amount_positive"),
        sa.CheckConstraint(
            "cap_nanousd >= amount_nanousd", name="ck_budget_top_ups_amount_is_in_cap"
        ),
        sa.CheckConstraint("cap_nanousd >= 0", name="ck_budget_top_ups_cap_not_negative"),
        sa.CheckConstraint("reserved_nanousd >= 0", name="ck_budget_top_ups_reserved_not_negative"),
        sa.CheckConstraint("posted_nanousd >= 0", name="ck_budget_top_ups_posted_not_negative"),
    )


def create_alerts() -> None:
    op.create_table(
        "budget_alerts",
        sa.Column("alert_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("budget_id", sa.BigInteger, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("cap_nanousd", sa.BigInteger, nullable=False),
        sa.Column("posted_nanousd", sa.BigInteger, nullable=False),
        moment("created_at"),
        sa.PrimaryKeyConstraint("alert_id", name="pk_budget_alerts"),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.budget_id"], name="fk_budget_alerts_budget_id_budgets"
        ),
        sa.UniqueConstraint(
            "budget_id",
            "level",
            "cap_nanousd",
            name="uq_budget_alerts_budget_id_level_cap_nanousd",
        ),
        sa.CheckConstraint(
            "level IN ('warning', 'critical', 'exceeded')", name="ck_budget_alerts_level_known"
        ),
        sa.CheckConstraint("cap_nanousd > 0", name="ck_budget_alerts_cap_positive"),
        sa.CheckConstraint("posted_nanousd > 0", name="ck_budget_alerts_posted_positive"),
    )


def moment(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def refuse_changes(table: str) -> None:
    """Fence the table as the first migration does the ledger, by the function it made."""
    op.execute(
        f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    raise RuntimeError("the ledger is not removed by a downgrade; restore a backup instead")
