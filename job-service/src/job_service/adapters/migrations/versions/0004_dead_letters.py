"""Dead letters: which were purged, a list of them, and who decided about which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_dead_letters",
        "jobs",
        ["project_id", "completed_at", "job_id"],
        unique=False,
        postgresql_where=sa.text("state = 'dead_letter' AND purged_at IS NULL"),
    )
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_entries")),
    )
    _make_audit_append_only()


def _make_audit_append_only() -> None:
    """Take away the rights to change rows from every role that has them, the owner too.

    The triggers hold where somebody grants them again by habit ("ALL ON ALL TABLES").
    """
    op.execute(
        """
        DO $$
        DECLARE holder text;
        BEGIN
            FOR holder IN
                SELECT DISTINCT grantee FROM information_schema.role_table_grants
                WHERE table_schema = current_schema() AND table_name = 'audit_entries'
                  AND grantee <> 'PUBLIC'
            LOOP
                EXECUTE format(
                    'REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries FROM %I', holder
                );
            END LOOP;
        END $$
        """
    )
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON audit_entries FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR DELETE ON audit_entries "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_refuse_truncate BEFORE TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
