"""What reports ask of the ledger: job type, complexity, team and API key of each entry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXTS = ("job_type", "team_id", "api_key_id")
NUMBERS = ("complexity", "complexity_threshold")


def upgrade() -> None:
    # Settlements wait meanwhile, and are sent again if they waited too long. It is not built
    # concurrently: that would wait for other migrations, which wait for this one.
    op.create_index("ix_ledger_created_at", "ledger", ["created_at"])
    # Constant defaults: no row is written, however many there are.
    for name in TEXTS:
        op.add_column(
            "ledger", sa.Column(name, sa.Text, nullable=False, server_default=sa.text("''"))
        )
    for name in NUMBERS:
        op.add_column("ledger", sa.Column(name, sa.BigInteger, nullable=True))
    op.create_index(
        "ix_ledger_team_id_created_at",
        "ledger",
        ["team_id", "created_at"],
        postgresql_where=sa.text("team_id <> ''"),
    )


def downgrade() -> None:
    raise RuntimeError("the ledger's columns are not removed by a downgrade")
