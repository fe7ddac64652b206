"""Scheduled runs, the count of a user's sessions, and an archive of the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_scheduled_runs()
    op.add_column(
        "users",
        sa.Column("active_sessions_count", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    _create_audit_archive()
    _let_archived_entries_go()
    _create_archiving()


def downgrade() -> None:
    op.execute("DROP FUNCTION archive_audit_entries")
    op.execute("DROP TRIGGER audit_entries_lose_nothing ON audit_entries")
    op.execute("DROP FUNCTION refuse_loss")
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries")
    op.execute(
        """
        CREATE TRIGGER audit_entries_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )
    op.execute("REVOKE DELETE ON audit_entries FROM CURRENT_USER")
    op.execute(
        """
        INSERT INTO audit_entries (entry_id, occurred_at, action, user_id, subject, request_id)
        SELECT entry_id, occurred_at, action, user_id, subject, request_id FROM audit_archive
        """
    )
    op.drop_table("audit_archive")
    op.drop_index("ix_sessions_expires_at", "sessions")
    op.drop_column("users", "active_sessions_count")
    op.drop_table("scheduled_runs")


def _create_scheduled_runs() -> None:
    op.create_table(
        "scheduled_runs",
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("token", _ID, nullable=False),
        sa.Column("claimed_by", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("lease_expires_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("duration_seconds", sa.Double),
        sa.Column("outcome", sa.Text),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("task", "due_at", name="pk_scheduled_runs"),
    )


def _create_audit_archive() -> None:
    """Make the archive: the service reads it, its owner adds to it, and nobody changes it."""
    op.create_table(
        "audit_archive",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("archived_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("entry_id", name="pk_audit_archive"),
    )
    op.create_index("ix_audit_archive_occurred_at", "audit_archive", ["occurred_at"])
    op.create_index("ix_audit_archive_user_id", "audit_archive", ["user_id"])
    op.execute(
        """
        DO $$
        DECLARE holder text;
        BEGIN
            FOR holder IN
                SELECT DISTINCT grantee FROM information_schema.role_table_grants
                WHERE table_schema = current_schema() AND table_name = 'audit_archive'
                  AND grantee <> 'PUBLIC'
            LOOP
                EXECUTE format(
                    'REVOKE UPDATE, DELETE, TRUNCATE ON audit_archive FROM %I', holder
                );
                IF holder <> current_user THEN
                    EXECUTE format('REVOKE INSERT ON audit_archive FROM %I', holder);
                END IF;
            END LOOP;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_archive_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_archive
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )


def _let_archived_entries_go() -> None:
    """Let the owner delete entries of the log, and nobody any that the archive does not hold.

    The trigger asks the archive, not who is there: what it lets go is kept, whoever it is.
    """
    op.execute("GRANT DELETE ON audit_entries TO CURRENT_USER")
    op.execute(
        """
        DO $body$
        BEGIN
            EXECUTE format($function$
                CREATE FUNCTION refuse_loss() RETURNS trigger LANGUAGE plpgsql
                SET search_path = %I, pg_temp AS $$
                BEGIN
                    IF EXISTS (
                        SELECT FROM gone WHERE NOT EXISTS (
                            SELECT FROM audit_archive AS kept
                            WHERE kept.entry_id = gone.entry_id
                              AND kept.occurred_at = gone.occurred_at
                              AND kept.action = gone.action
                              AND kept.user_id IS NOT DISTINCT FROM gone.user_id
                              AND kept.subject = gone.subject
                              AND kept.request_id = gone.request_id
                        )
                    ) THEN
                        RAISE EXCEPTION '%% is append-only: not in the archive', TG_TABLE_NAME
                            USING ERRCODE = 'insufficient_privilege';
                    END IF;
                    RETURN NULL;
                END $$
            $function$, current_schema());
        END $body$
        """
    )
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries")
    op.execute(
        """
        CREATE TRIGGER audit_entries_append_only
        BEFORE UPDATE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_entries_lose_nothing
        AFTER DELETE ON audit_entries REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_loss()
        """
    )


def _create_archiving() -> None:
    """Make the one way from the log to the archive, with the owner's rights.

    Who may add entries may call it. Two that run at once choose the same entries; the second
    waits for the first in the archive's primary key, and finds nothing left to move.
    """
    op.execute(
        """
        DO $body$
        DECLARE writer text;
        BEGIN
            EXECUTE format($function$
                CREATE FUNCTION archive_audit_entries(older_than timestamptz, at_most integer)
                RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
                SET search_path = %I, pg_temp AS $$
                DECLARE
                    chosen uuid[];
                    moved integer;
                BEGIN
                    SELECT array_agg(entry_id) INTO chosen FROM (
                        SELECT entry_id FROM audit_entries WHERE occurred_at < older_than
                        ORDER BY occurred_at, entry_id LIMIT at_most
                    ) AS oldest;
                    INSERT INTO audit_archive
                        (entry_id, occurred_at, action, user_id, subject, request_id)
                    SELECT entry_id, occurred_at, action, user_id, subject, request_id
                    FROM audit_entries WHERE entry_id = ANY (chosen) ORDER BY entry_id
                    ON CONFLICT (entry_id) DO NOTHING;
                    DELETE FROM audit_entries WHERE entry_id = ANY (chosen);
                    GET DIAGNOSTICS moved = ROW_COUNT;
                    RETURN moved;
                END $$
            $function$, current_schema());
            REVOKE ALL ON FUNCTION archive_audit_entries FROM PUBLIC;
            FOR writer IN
                SELECT DISTINCT grantee FROM information_schema.role_table_grants
                WHERE table_schema = current_schema() AND table_name = 'audit_entries'
                  AND privilege_type = 'INSERT' AND grantee <> 'PUBLIC'
            LOOP
                EXECUTE format(
                    'GRANT EXECUTE ON FUNCTION archive_audit_entries TO %I', writer
                );
            END LOOP;
        END $body$
        """
    )
