"""The tables this service owns, and nothing else."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from service_kit.database import new_metadata
from service_kit.scheduled_runs import scheduled_runs_table

metadata = new_metadata()

_Id = Uuid(as_uuid=False)
_Time = DateTime(timezone=True)

users = Table(
    "users",
    metadata,
    Column("user_id", _Id, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_canonical", Text, nullable=False, unique=True),
    Column("username", Text, nullable=False),
    Column("username_canonical", Text, nullable=False, unique=True),
    Column("full_name", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False, index=True),
    Column("created_at", _Time, nullable=False),
    Column("last_login_at", _Time),
    # As of the last recount.
    Column("active_sessions_count", Integer, nullable=False, server_default=text("0")),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", _Id, primary_key=True),
    Column("user_id", _Id, ForeignKey(users.c.user_id), nullable=False, index=True),
    Column("seed", LargeBinary, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("previous_token_hash", LargeBinary),
    Column("created_at", _Time, nullable=False),
    Column("rotated_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False, index=True),
    Column("revoked_at", _Time),
)

teams = Table(
    "teams",
    metadata,
    Column("team_id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner_user_id", _Id, ForeignKey(users.c.user_id), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("request_id", Text),
    UniqueConstraint("owner_user_id", "request_id"),
)

team_members = Table(
    "team_members",
    metadata,
    Column("team_id", _Id, ForeignKey(teams.c.team_id), primary_key=True),
    Column("user_id", _Id, ForeignKey(users.c.user_id), primary_key=True, index=True),
    Column("role", Text, nullable=False),
    Column("created_at", _Time, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("project_id", _Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner_user_id", _Id, ForeignKey(users.c.user_id), nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("request_id", Text),
    Column("archived_at", _Time),
    Column("team_id", _Id, ForeignKey(teams.c.team_id)),
    UniqueConstraint("owner_user_id", "request_id"),
    Index(
        "uq_projects_one_default", "owner_user_id", unique=True, postgresql_where=text("is_default")
    ),
)

members = Table(
    "members",
    metadata,
    Column("project_id", _Id, ForeignKey(projects.c.project_id), primary_key=True),
    Column("user_id", _Id, ForeignKey(users.c.user_id), primary_key=True, index=True),
    Column("role", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", _Id, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("user_id", _Id, ForeignKey(users.c.user_id), nullable=False),
    Column("project_id", _Id, ForeignKey(projects.c.project_id), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _Time, nullable=False),
    Column("expires_at", _Time),
    Column("last_used_at", _Time),
    Column("deleted_at", _Time),
    Column("request_id", Text),
    UniqueConstraint("user_id", "request_id"),
)

denials = Table(
    "denials",
    metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("denied_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False, index=True),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("entry_id", _Id, primary_key=True),
    Column("occurred_at", _Time, nullable=False, index=True),
    Column("action", Text, nullable=False),
    # No foreign key: the log outlives what it tells of.
    Column("user_id", _Id, index=True),
    Column("subject", Text, nullable=False),
    Column("request_id", Text, nullable=False),
)

audit_archive = Table(
    "audit_archive",
    metadata,
    Column("entry_id", _Id, primary_key=True),
    Column("occurred_at", _Time, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("user_id", _Id, index=True),
    Column("subject", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("archived_at", _Time, nullable=False, server_default=func.now()),
)

scheduled_runs = scheduled_runs_table(metadata)
