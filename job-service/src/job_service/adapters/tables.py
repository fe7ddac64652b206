"""The tables this service owns, and nothing else.

Attempts, events and settlements name their job without a foreign key: they are written in the
job's own transaction, and a settlement may concern a job that never was.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from service_kit.database import new_metadata

metadata = new_metadata()

NOW = text("now()")
ZERO = text("0")

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("priority", Integer, nullable=False, server_default=ZERO),
    # messages, sampling, residency, inputs
    Column("content", JSONB, nullable=False),
    Column("scopes", JSONB, nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("origin_request_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("admission", Integer, nullable=False, server_default=text("1")),
    Column("attempt", Integer, nullable=False, server_default=ZERO),
    Column("retry_count", Integer, nullable=False, server_default=ZERO),
    Column("lost_count", Integer, nullable=False, server_default=ZERO),
    Column("lease_token", Text),
    Column("lease_expires_at", DateTime(timezone=True)),
    Column("cancel_requested_at", DateTime(timezone=True)),
    Column("dispatched_target", Text),
    Column("client_task_id", Text),
    Column("available_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("next_retry_at", DateTime(timezone=True)),
    # what was agreed at admission
    Column("tokens_input_bound", BigInteger),
    Column("max_tokens", Integer),
    Column("hold_nanousd", BigInteger),
    Column("price_version", Text),
    Column("prices", JSONB(none_as_null=True)),
    Column("period", Text),
    # how far the attempt is
    Column("usage_counted", BigInteger, nullable=False, server_default=ZERO),
    Column("decision", JSONB(none_as_null=True)),
    Column("executed_target", Text),
    Column("executed_model", Text),
    # how it ended
    Column("failure_reason", Text),
    Column("last_error", Text),
    Column("result_text", Text),
    Column("finish_reason", Text),
    Column("tokens_input", BigInteger),
    Column("tokens_output", BigInteger),
    Column("tokens_input_cached", BigInteger),
    Column("usage_source", Text),
    Column("charge_nanousd", BigInteger),
    Column("provider_cost_nanousd", BigInteger, nullable=False, server_default=ZERO),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("started_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
    # the number of the job's latest lifecycle event
    Column("event_seq", Integer, nullable=False, server_default=text("1")),
    # the vectors of all inputs, one after the other: 32-bit floats, little-endian
    Column("result_embeddings", LargeBinary),
    # attempts in a row that nothing could take
    Column("waits", Integer, nullable=False, server_default=ZERO),
    # when a person removed what it contained
    Column("purged_at", DateTime(timezone=True)),
    # of the key it was submitted with; empty for a person
    Column("api_key_id", Text, nullable=False, server_default=text("''")),
    # since when its budget refuses it; stays when it goes on
    Column("blocked_at", DateTime(timezone=True)),
    CheckConstraint("kind IN ('queued', 'interactive')", name="kind_known"),
    CheckConstraint(
        "state IN ('admitting', 'blocked', 'pending', 'running', 'retrying',"
        " 'completed', 'failed', 'dead_letter', 'cancelled')",
        name="state_known",
    ),
    CheckConstraint(
        "state NOT IN ('admitting', 'running')"
        " OR (lease_token IS NOT NULL AND lease_expires_at IS NOT NULL)",
        name="lease_held",
    ),
    CheckConstraint("hold_nanousd > 0", name="hold_positive"),
    CheckConstraint("charge_nanousd BETWEEN 0 AND hold_nanousd", name="charge_within_hold"),
    CheckConstraint("provider_cost_nanousd >= 0", name="provider_cost_not_negative"),
)
# What has its hold and waits for a place, in the order in which each project's is claimed. The due
# time is there so that whatever is not due is passed over without a look at its row.
Index(
    "ix_jobs_queue",
    jobs.c.project_id,
    jobs.c.priority.desc(),
    jobs.c.created_at,
    jobs.c.available_at,
    postgresql_where=text("state IN ('pending', 'retrying') AND kind = 'queued'"),
)
Index(
    "ix_jobs_lease",
    jobs.c.lease_expires_at,
    postgresql_where=text("state IN ('admitting', 'running')"),
)
# What has no hold yet, in the order in which the blocked jobs of each budget are tried.
Index(
    "ix_jobs_unheld",
    jobs.c.state,
    jobs.c.project_id,
    jobs.c.api_key_id,
    jobs.c.priority.desc(),
    jobs.c.created_at,
    postgresql_where=text("state IN ('admitting', 'blocked') AND kind = 'queued'"),
)
Index("ix_jobs_page", jobs.c.project_id, jobs.c.created_at, jobs.c.job_id)
Index(
    "ix_jobs_dead_letters",
    jobs.c.project_id,
    jobs.c.completed_at,
    jobs.c.job_id,
    postgresql_where=text("state = 'dead_letter' AND purged_at IS NULL"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("admission", Integer, nullable=False),
    Column("target", Text),
    Column("model", Text),
    Column("client_task_id", Text),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("dispatched_at", DateTime(timezone=True)),
    Column("released_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("outcome", Text),
    Column("error", Text),
    Column("tokens_input", BigInteger),
    Column("tokens_output", BigInteger),
    Column("usage_source", Text),
    Column("provider_cost_nanousd", BigInteger, nullable=False, server_default=ZERO),
    PrimaryKeyConstraint("job_id", "attempt"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("project_id", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    PrimaryKeyConstraint("project_id", "route", "key"),
)
Index("ix_idempotency_job_id", idempotency.c.job_id)

settlements = Table(
    "settlements",
    metadata,
    Column("hold_id", Text, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_nanousd", BigInteger, nullable=False),
    Column("scopes", JSONB, nullable=False),
    Column("outcome", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("sent_at", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("last_error", Text),
    CheckConstraint("kind IN ('post', 'void')", name="kind_known"),
    CheckConstraint("amount_nanousd >= 0", name="amount_not_negative"),
    CheckConstraint("kind = 'post' OR amount_nanousd = 0", name="void_is_free"),
)
Index(
    "ix_settlements_outbox",
    settlements.c.next_attempt_at,
    postgresql_where=text("sent_at IS NULL"),
)
Index("ix_settlements_job_id", settlements.c.job_id)

# Rows of the next three are added and never changed: triggers refuse it.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("request_id", Text, nullable=False),
    # user:<id> or key:<id>
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("job_id", Text, nullable=False),
    # each has a charge of its own
    Column("admission", Integer, nullable=False),
    # the very bytes that were signed
    Column("statement", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    PrimaryKeyConstraint("job_id", "admission"),
)

receipt_keys = Table(
    "receipt_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

lifecycle_events = Table(
    "lifecycle_events",
    metadata,
    Column("job_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("details", JSONB, nullable=False),
    PrimaryKeyConstraint("job_id", "seq"),
)
