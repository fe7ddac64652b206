"""Budgets, holds, the ledger, the price book, and the audit trail.

Who may do what with these tables is set after every migration, see `adapters/grants.py`; what the
price book holds is loaded then too, from `price_book.yaml`. (This migration used to add version 1
itself; the file holds the same.)
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCOPE_KINDS = "scope_kind IN ('project', 'team', 'api_key')"


def upgrade() -> None:
    create_budgets()
    create_holds()
    create_ledger()
    create_price_book()
    create_audit_entries()
    refuse_changes("ledger")
    refuse_changes("audit_entries")


def moment(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def create_budgets() -> None:
    op.create_table(
        "allowances",
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("amount_nanousd", sa.BigInteger, nullable=False),
        sa.Column("allocated_nanousd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("user_id", name="pk_allowances"),
        sa.CheckConstraint("amount_nanousd >= 0", name="ck_allowances_amount_not_negative"),
        sa.CheckConstraint("allocated_nanousd >= 0", name="ck_allowances_allocated_not_negative"),
    )
    op.create_table(
        "allocations",
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("owner_user_id", sa.Text, nullable=False),
        sa.Column("cap_nanousd", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", name="pk_allocations"),
        sa.ForeignKeyConstraint(
            ["owner_user_id"],
            ["allowances.user_id"],
            name="fk_allocations_owner_user_id_allowances",
        ),
        sa.CheckConstraint(SCOPE_KINDS, name="ck_allocations_scope_kind_known"),
        sa.CheckConstraint("cap_nanousd >= 0", name="ck_allocations_cap_not_negative"),
    )
    op.create_table(
        "budgets",
        sa.Column("budget_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("scope_kind", sa.Text, nullable=False),
        sa.Column("scope_id", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("cap_nanousd", sa.BigInteger, nullable=False),
        sa.Column("reserved_nanousd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("posted_nanousd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("budget_id", name="pk_budgets"),
        sa.UniqueConstraint(
            "scope_kind", "scope_id", "period", name="uq_budgets_scope_kind_scope_id_period"
        ),
        sa.CheckConstraint(SCOPE_KINDS, name="ck_budgets_scope_kind_known"),
        sa.CheckConstraint("period ~ '^[0-9]{4}-[0-9]{2}$'", name="ck_budgets_period_is_month"),
        sa.CheckConstraint("cap_nanousd >= 0", name="ck_budgets_cap_not_negative"),
        sa.CheckConstraint("reserved_nanousd >= 0", name="ck_budgets_reserved_not_negative"),
        sa.CheckConstraint("posted_nanousd >= 0", name="ck_budgets_posted_not_negative"),
        postgresql_with={"fillfactor": 50},
    )


def create_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("hold_id", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("placed", sa.Boolean, nullable=False),
        sa.Column("amount_nanousd", sa.BigInteger, nullable=False),
        sa.Column("price_version", sa.Text, nullable=False),
        moment("created_at"),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("hold_id", name="pk_holds"),
        sa.CheckConstraint("state IN ('held', 'posted', 'voided')", name="ck_holds_state_known"),
        sa.CheckConstraint("amount_nanousd >= 0", name="ck_holds_amount_not_negative"),
        sa.CheckConstraint(
            "(state = 'held') = (settled_at IS NULL)", name="ck_holds_settled_has_time"
        ),
        sa.CheckConstraint("placed OR state <> 'held'", name="ck_holds_held_was_placed"),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ix_holds_job_id", "holds", ["job_id"])
    op.create_index(
        "ix_holds_open",
        "holds",
        ["created_at", "hold_id"],
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_table(
        "hold_scopes",
        sa.Column("hold_id", sa.Text, nullable=False),
        sa.Column("budget_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("hold_id", "budget_id", name="pk_hold_scopes"),
        sa.ForeignKeyConstraint(
            ["hold_id"], ["holds.hold_id"], name="fk_hold_scopes_hold_id_holds"
        ),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.budget_id"], name="fk_hold_scopes_budget_id_budgets"
        ),
    )


def create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("entry_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Text, nullable=True),
        sa.Column("hold_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("amount_nanousd", sa.BigInteger, nullable=False),
        sa.Column("excess_nanousd", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("budget_ids", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("project_id", sa.Text, nullable=False),
        sa.Column("job_state", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("tokens_input", sa.BigInteger, nullable=False),
        sa.Column("tokens_output", sa.BigInteger, nullable=False),
        sa.Column("usage_source", sa.Text, nullable=False),
        sa.Column("provider_cost_nanousd", sa.BigInteger, nullable=False),
        sa.Column("price_version", sa.Text, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        moment("created_at"),
        sa.PrimaryKeyConstraint("entry_id", name="pk_ledger"),
        sa.UniqueConstraint("request_id", name="uq_ledger_request_id"),
        *ledger_checks(),
    )
    op.create_index(
        "uq_ledger_settlement",
        "ledger",
        ["hold_id"],
        unique=True,
        postgresql_where=sa.text("kind IN ('post', 'void')"),
    )
    op.create_index("ix_ledger_project_id_created_at", "ledger", ["project_id", "created_at"])
    op.create_index("ix_ledger_job_id", "ledger", ["job_id"])


def ledger_checks() -> list[sa.CheckConstraint]:
    rules = {
        "kind_known": "kind IN ('post', 'void', 'refund', 'surcharge')",
        "amount_not_negative": "amount_nanousd >= 0",
        "excess_not_negative": "excess_nanousd >= 0",
        "void_charges_nothing": "kind <> 'void' OR amount_nanousd = 0",
        "correction_has_request": "kind IN ('post', 'void') OR request_id IS NOT NULL",
        "tokens_not_negative": "tokens_input >= 0 AND tokens_output >= 0",
        "provider_cost_not_negative": "provider_cost_nanousd >= 0",
    }
    return [sa.CheckConstraint(rule, name=f"ck_ledger_{name}") for name, rule in rules.items()]


def create_price_book() -> None:
    op.create_table(
        "price_versions",
        sa.Column("price_version", sa.Text, nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("price_version", name="pk_price_versions"),
        sa.UniqueConstraint("valid_from", name="uq_price_versions_valid_from"),
    )
    op.create_table(
        "prices",
        sa.Column("price_version", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("input_nanousd_per_million", sa.BigInteger, nullable=False),
        sa.Column("output_nanousd_per_million", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("price_version", "target", "model", name="pk_prices"),
        sa.ForeignKeyConstraint(
            ["price_version"],
            ["price_versions.price_version"],
            name="fk_prices_price_version_price_versions",
        ),
        sa.CheckConstraint(
            "input_nanousd_per_million >= 0 AND output_nanousd_per_million >= 0",
            name="ck_prices_price_not_negative",
        ),
    )


def create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        moment("created_at"),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_audit_entries"),
    )


def refuse_changes(table: str) -> None:
    """Make every UPDATE, DELETE and TRUNCATE fail, whoever tries: grants are the first fence."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% only grows: % is refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
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
