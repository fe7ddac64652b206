"""The tables this service owns, and nothing else.

`holds`, `hold_scopes` and `budgets` change together in one transaction; `ledger`,
`audit_entries` and the price book only grow (see `grants.py` and the triggers of the migrations).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from service_kit.database import new_metadata

metadata = new_metadata()

# The service's login role may read and add to these, never change or remove.
APPEND_ONLY: Final = ("ledger", "audit_entries", "budget_top_ups", "budget_alerts")
# Likewise; a version and its prices are added together and stay as they are.
PRICE_BOOK: Final = ("price_versions", "prices")
# It may only read these: they change by migrations.
READ_ONLY: Final = ("alembic_version",)
# It may also change rows of these, but remove none.
MUTABLE: Final = ("allowances", "allocations", "caps", "budgets", "holds", "hold_scopes")

_SCOPE_KINDS = "scope_kind IN ('project', 'team', 'api_key')"
_PERIOD_KINDS = "period_kind IN ('monthly', 'daily', 'total')"


def _nanousd(name: str, *, default: str | None = None) -> Column[int]:
    return Column(
        name, BigInteger, nullable=False, server_default=None if default is None else text(default)
    )


def _text(name: str, *, default: str | None = None) -> Column[str]:
    return Column(
        name, Text, nullable=False, server_default=None if default is None else text(default)
    )


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    default = None if nullable else text("now()")
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


allowances = Table(
    "allowances",
    metadata,
    Column("user_id", Text, primary_key=True),
    _nanousd("amount_nanousd"),
    _nanousd("allocated_nanousd", default="0"),
    CheckConstraint("amount_nanousd >= 0", name="amount_not_negative"),
    CheckConstraint("allocated_nanousd >= 0", name="allocated_not_negative"),
)

allocations = Table(
    "allocations",
    metadata,
    _text("scope_kind"),
    _text("scope_id"),
    Column("owner_user_id", Text, ForeignKey("allowances.user_id"), nullable=False),
    _nanousd("cap_nanousd"),
    PrimaryKeyConstraint("scope_kind", "scope_id"),
    CheckConstraint(_SCOPE_KINDS, name="scope_kind_known"),
    CheckConstraint("cap_nanousd >= 0", name="cap_not_negative"),
)

# Monthly caps of teams and keys, and daily and total ones of everything. They give no money, so
# they count against no allowance. NULL where one was taken away.
caps = Table(
    "caps",
    metadata,
    _text("scope_kind"),
    _text("scope_id"),
    _text("period_kind"),
    Column("cap_nanousd", BigInteger, nullable=True),
    PrimaryKeyConstraint("scope_kind", "scope_id", "period_kind"),
    CheckConstraint(_SCOPE_KINDS, name="scope_kind_known"),
    CheckConstraint(_PERIOD_KINDS, name="period_kind_known"),
    CheckConstraint("cap_nanousd >= 0", name="cap_not_negative"),
    CheckConstraint("scope_kind <> 'project' OR period_kind <> 'monthly'", name="is_no_allocation"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("budget_id", BigInteger, Identity(always=True), primary_key=True),
    _text("scope_kind"),
    _text("scope_id"),
    # `YYYY-MM`, `YYYY-MM-DD` or `total`: the forms differ, so the period alone is unique.
    _text("period"),
    Column("period_kind", Text, nullable=False, server_default=text("'monthly'")),
    _nanousd("cap_nanousd"),
    _nanousd("reserved_nanousd", default="0"),
    _nanousd("posted_nanousd", default="0"),
    UniqueConstraint("scope_kind", "scope_id", "period"),
    CheckConstraint(_SCOPE_KINDS, name="scope_kind_known"),
    CheckConstraint(
        "CASE period_kind WHEN 'monthly' THEN period ~ '^[0-9]{4}-[0-9]{2}$' "
        "WHEN 'daily' THEN period ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' "
        "ELSE period_kind = 'total' AND period = 'total' END",
        name="period_is_of_its_kind",
    ),
    CheckConstraint("cap_nanousd >= 0", name="cap_not_negative"),
    CheckConstraint("reserved_nanousd >= 0", name="reserved_not_negative"),
    CheckConstraint("posted_nanousd >= 0", name="posted_not_negative"),
    # Each hold and each settlement changes these rows: room for new versions on the same page.
    postgresql_with={"fillfactor": 50},
)

holds = Table(
    "holds",
    metadata,
    Column("hold_id", Text, primary_key=True),
    _text("job_id"),
    _text("state"),
    # False: settled before it was ever placed. Such a row keeps it from being placed at all.
    Column("placed", Boolean, nullable=False),
    _nanousd("amount_nanousd"),
    _text("price_version"),
    _moment("created_at"),
    _moment("settled_at", nullable=True),
    CheckConstraint("state IN ('held', 'posted', 'voided')", name="state_known"),
    CheckConstraint("amount_nanousd >= 0", name="amount_not_negative"),
    CheckConstraint("(state = 'held') = (settled_at IS NULL)", name="settled_has_time"),
    CheckConstraint("placed OR state <> 'held'", name="held_was_placed"),
    Index(None, "job_id"),
    Index("ix_holds_open", "created_at", "hold_id", postgresql_where=text("state = 'held'")),
    postgresql_with={"fillfactor": 80},
)

hold_scopes = Table(
    "hold_scopes",
    metadata,
    Column("hold_id", Text, ForeignKey("holds.hold_id"), nullable=False),
    Column("budget_id", BigInteger, ForeignKey("budgets.budget_id"), nullable=False),
    PrimaryKeyConstraint("hold_id", "budget_id"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    # Who asks for a refund or surcharge names it; a post or void is known by its hold.
    Column("request_id", Text, nullable=True, unique=True),
    _text("hold_id"),
    _text("kind"),
    _nanousd("amount_nanousd"),
    # Asked for beyond the hold and not charged.
    _nanousd("excess_nanousd", default="0"),
    Column("budget_ids", ARRAY(BigInteger), nullable=False),
    _text("period"),
    _text("job_id"),
    _text("project_id"),
    _text("job_state"),
    _text("target"),
    _text("model"),
    Column("tokens_input", BigInteger, nullable=False),
    Column("tokens_output", BigInteger, nullable=False),
    _text("usage_source"),
    _nanousd("provider_cost_nanousd"),
    _text("price_version"),
    _moment("finished_at", nullable=True),
    _moment("created_at"),
    # Why there is a refund or surcharge.
    Column("reason", Text, nullable=False, server_default=text("''")),
    # Entries from before these were told, and those of services from before, hold the defaults.
    _text("job_type", default="''"),
    Column("complexity", BigInteger, nullable=True),
    Column("complexity_threshold", BigInteger, nullable=True),
    _text("team_id", default="''"),
    _text("api_key_id", default="''"),
    CheckConstraint("kind IN ('post', 'void', 'refund', 'surcharge')", name="kind_known"),
    CheckConstraint("amount_nanousd >= 0", name="amount_not_negative"),
    CheckConstraint("excess_nanousd >= 0", name="excess_not_negative"),
    CheckConstraint("kind <> 'void' OR amount_nanousd = 0", name="void_charges_nothing"),
    CheckConstraint(
        "kind IN ('post', 'void') OR request_id IS NOT NULL", name="correction_has_request"
    ),
    CheckConstraint("tokens_input >= 0 AND tokens_output >= 0", name="tokens_not_negative"),
    CheckConstraint("provider_cost_nanousd >= 0", name="provider_cost_not_negative"),
    # The decider: a hold is settled once, whatever else goes wrong.
    Index(
        "uq_ledger_settlement",
        "hold_id",
        unique=True,
        postgresql_where=text("kind IN ('post', 'void')"),
    ),
    Index("ix_ledger_project_id_created_at", "project_id", "created_at"),
    Index(
        "ix_ledger_team_id_created_at",
        "team_id",
        "created_at",
        postgresql_where=text("team_id <> ''"),
    ),
    Index("ix_ledger_created_at", "created_at"),
    Index(None, "job_id"),
)

# Each answers a repeated request with what it first did.
budget_top_ups = Table(
    "budget_top_ups",
    metadata,
    _text("scope_kind"),
    _text("scope_id"),
    _text("request_id"),
    _text("period_kind"),
    _text("period"),
    _nanousd("amount_nanousd"),
    _nanousd("cap_nanousd"),
    _nanousd("reserved_nanousd"),
    _nanousd("posted_nanousd"),
    _moment("created_at"),
    PrimaryKeyConstraint("scope_kind", "scope_id", "request_id"),
    CheckConstraint(_SCOPE_KINDS, name="scope_kind_known"),
    CheckConstraint(_PERIOD_KINDS, name="period_kind_known"),
    CheckConstraint("amount_nanousd > 0", name="amount_positive"),
    CheckConstraint("cap_nanousd >= amount_nanousd", name="amount_is_in_cap"),
    CheckConstraint("cap_nanousd >= 0", name="cap_not_negative"),
    CheckConstraint("reserved_nanousd >= 0", name="reserved_not_negative"),
    CheckConstraint("posted_nanousd >= 0", name="posted_not_negative"),
)

budget_alerts = Table(
    "budget_alerts",
    metadata,
    Column("alert_id", BigInteger, Identity(always=True), primary_key=True),
    Column("budget_id", BigInteger, ForeignKey("budgets.budget_id"), nullable=False),
    _text("level"),
    _nanousd("cap_nanousd"),
    _nanousd("posted_nanousd"),
    _moment("created_at"),
    # A level of a cap is told once, also where refunds take the spending below it again.
    UniqueConstraint("budget_id", "level", "cap_nanousd"),
    CheckConstraint("level IN ('warning', 'critical', 'exceeded')", name="level_known"),
    CheckConstraint("cap_nanousd > 0", name="cap_positive"),
    CheckConstraint("posted_nanousd > 0", name="posted_positive"),
)

price_versions = Table(
    "price_versions",
    metadata,
    Column("price_version", Text, primary_key=True),
    Column("valid_from", DateTime(timezone=True), nullable=False, unique=True),
    _text("note"),
    _moment("created_at"),
    # Who adds a version over the API names the request.
    Column("request_id", Text, nullable=True, unique=True),
)

prices = Table(
    "prices",
    metadata,
    Column("price_version", Text, ForeignKey("price_versions.price_version"), nullable=False),
    _text("target"),
    _text("model"),
    _nanousd("input_nanousd_per_million"),
    _nanousd("output_nanousd_per_million"),
    PrimaryKeyConstraint("price_version", "target", "model"),
    CheckConstraint(
        "input_nanousd_per_million >= 0 AND output_nanousd_per_million >= 0",
        name="price_not_negative",
    ),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    _moment("created_at"),
    _text("request_id"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    Column("details", JSONB, nullable=False),
)
