"""Price versions that can be added and never changed; why a correction was booked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "price_versions",
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now()"),
        ),
    )
    op.add_column("price_versions", sa.Column("request_id", sa.Text, nullable=True))
    op.create_unique_constraint("uq_price_versions_request_id", "price_versions", ["request_id"])
    op.add_column(
        "ledger", sa.Column("reason", sa.Text, nullable=False, server_default=sa.text("''"))
    )
    for table in ("price_versions", "prices"):
        refuse_changes(table)
    refuse_later_prices()


def refuse_changes(table: str) -> None:
    """Make every UPDATE, DELETE and TRUNCATE fail, by the function of the first migration."""
    op.execute(
        f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def refuse_later_prices() -> None:
    """Let prices in only with the transaction that adds their version: a version is whole."""
    op.execute(
        """
        CREATE FUNCTION stamp_price_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.created_at := now();
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER price_versions_stamp BEFORE INSERT ON price_versions "
        "FOR EACH ROW EXECUTE FUNCTION stamp_price_version()"
    )
    # now() is when the transaction began.
    op.execute(
        """
        CREATE FUNCTION refuse_later_price() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM price_versions
                WHERE price_version = NEW.price_version AND created_at = now()
            ) THEN
                RAISE EXCEPTION 'price version % is complete', NEW.price_version
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER prices_refuse_later BEFORE INSERT ON prices "
        "FOR EACH ROW EXECUTE FUNCTION refuse_later_price()"
    )


def downgrade() -> None:
    raise RuntimeError("the price book is not removed by a downgrade; restore a backup instead")
