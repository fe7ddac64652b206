"""Users, sessions, projects, members, API keys, denials and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_users_and_sessions()
    _create_projects()
    _create_api_keys()
    _create_denials()
    _create_audit_entries()


def downgrade() -> None:
    for table in (
        "audit_entries",
        "denials",
        "api_keys",
        "members",
        "projects",
        "sessions",
        "users",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_change")


def _create_users_and_sessions() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_canonical", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("username_canonical", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_login_at", _TIME),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        sa.UniqueConstraint("email_canonical", name="uq_users_email_canonical"),
        sa.UniqueConstraint("username_canonical", name="uq_users_username_canonical"),
    )
    op.create_index("ix_users_role", "users", ["role"])
    op.create_table(
        "sessions",
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("seed", sa.LargeBinary, nullable=False),
        sa.Column("counter", sa.Integer, nullable=False),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("previous_token_hash", sa.LargeBinary),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("rotated_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_sessions_user_id_users"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])


def _create_projects() -> None:
    op.create_table(
        "projects",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner_user_id", _ID, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("archived_at", _TIME),
        sa.PrimaryKeyConstraint("project_id", name="pk_projects"),
        sa.ForeignKeyConstraint(
            ["owner_user_id"], ["users.user_id"], name="fk_projects_owner_user_id_users"
        ),
        sa.UniqueConstraint(
            "owner_user_id", "request_id", name="uq_projects_owner_user_id_request_id"
        ),
    )
    op.create_index(
        "uq_projects_one_default",
        "projects",
        ["owner_user_id"],
        unique=True,
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "members",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", name="pk_members"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.project_id"], name="fk_members_project_id_projects"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_members_user_id_users"),
    )
    op.create_index("ix_members_user_id", "members", ["user_id"])


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("last_used_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_api_keys_user_id_users"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.project_id"], name="fk_api_keys_project_id_projects"
        ),
        sa.UniqueConstraint("secret_hash", name="uq_api_keys_secret_hash"),
        sa.UniqueConstraint("user_id", "request_id", name="uq_api_keys_user_id_request_id"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])


def _create_denials() -> None:
    op.create_table(
        "denials",
        sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("denied_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_denials"),
    )
    op.create_index("ix_denials_expires_at", "denials", ["expires_at"])


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_id", _ID, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_occurred_at", "audit_entries", ["occurred_at"])
    op.create_index("ix_audit_entries_user_id", "audit_entries", ["user_id"])
    _make_audit_append_only()


def _make_audit_append_only() -> None:
    """Take away the rights to change rows from every role that has them, the owner too.

    The trigger holds where somebody grants them again by habit ("ALL ON ALL TABLES").
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
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_entries_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )
